"""A plan is read strictly: every mistake is an error that says where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmx.errors import OptionError
from mmx.experiments.plan import load_plan, parse_plan
from tests.experiments.tiny import tiny_content, tiny_plan

PLANS = Path(__file__).parents[2] / "plans"
SAMPLE = {"sample": {}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": [1]}, "plan: unknown key 'seed'; did you mean 'seeds'?"),
        (
            {"datasets": {"d": {"sampel": {}}}},
            "plan.datasets.d: unknown key 'sampel'; did you mean",
        ),
        ({"datasets": {"d": {"sample": {"itens": 3}}}}, "plan.datasets.d.sample: unknown key"),
        ({"datasets": {"d": {}}}, "plan.datasets.d: give either 'data: DIR' or 'sample: {}'"),
        ({"datasets": {"d": {"data": "x", "sample": {}}}}, "give either"),
        ({"datasets": {"d": {**SAMPLE, "split": "randon"}}}, "did you mean 'random'"),
        ({"datasets": {"d": {**SAMPLE, "k_core": 2.5}}}, "plan.datasets.d.k_core: int is expected"),
        ({"datasets": {"d": {**SAMPLE, "k_core": True}}}, "k_core: int is expected, not True"),
        ({"datasets": {}}, "datasets: there are none"),
        ({"datasets": {"a/b": SAMPLE}}, "the name 'a/b' has other than letters"),
        ({"features": {"f": {"extract": [{"weights": "w"}]}}}, "extract[0]: 'model' is missing"),
        ({"features": {"f": {"extract": {"model": "toy"}}}}, "extract: a list is expected"),
        ({"features": {"f": {"finetune": {"model": "clip", "epoch": 3}}}}, "did you mean 'epochs'"),
        (
            {"features": {"f": {"finetune": {"model": "clip", "epochs": 0}}}},
            "--epochs 0: at least 1",
        ),
        (
            {"features": {"f": {"end_to_end": {"encoder": "clip", "refresh": "no"}}}},
            "plan.features.f.end_to_end: --refresh no is unknown",
        ),
        (
            {"features": {"f": {"stores": ["a"], "end_to_end": {"encoder": "clip"}}}},
            "end_to_end goes alone",
        ),
        ({"recommenders": {"vbpr": {"search": {"reg": 0.1}}}}, "search.reg: a list is expected"),
        ({"baseline": "imgae"}, "baseline: no features 'imgae'; did you mean 'image'?"),
        ({"metrics": ["recall@15"]}, "metrics: no 'recall@15'"),
        ({"seeds": [1, 1]}, "seeds: give at least one, none twice"),
        ({"seeds": []}, "seeds: give at least one, none twice"),
    ],
)
def test_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        tiny_plan(**changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_plan_at_all() -> None:
    with pytest.raises(OptionError, match="keys and values are expected"):
        parse_plan(["datasets"], Path())
    with pytest.raises(OptionError, match="'datasets' is missing"):
        parse_plan({}, Path())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds: [1]\nseeds: [2]\n", "line 2: 'seeds' is there twice"),
        ("seeds: [1\n", "is not YAML"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(OptionError, match=said):
        load_plan(tmp_path / "p.yaml")
    with pytest.raises(OptionError, match="cannot read"):
        load_plan(tmp_path / "absent.yaml")


def test_paths_are_relative_to_the_plan(tmp_path: Path) -> None:
    text = """
    datasets: {d: {data: ../shop, min_rating: 4}}
    features:
      none: none
      ready: {stores: ["cache/{dataset}.parquet:image,text", /abs/b.parquet]}
      tuned: {finetune: {model: clip, weights: w.pt, lr: 1e-4, objectives: [itc, mlm]}}
    recommenders: {bpr: , mine: {model: vbpr}}
    """
    (tmp_path / "p.yaml").write_text(text)
    plan = load_plan(tmp_path / "p.yaml")
    assert plan.datasets["d"].data == tmp_path.parent / "shop"
    assert plan.datasets["d"].rule.min_rating == 4.0
    assert plan.features["none"].empty
    ready = plan.features["ready"].stores
    assert ready == (f"{tmp_path}/cache/{{dataset}}.parquet:image,text", "/abs/b.parquet")
    tuned = plan.features["tuned"].finetune
    assert tuned is not None
    assert tuned.weights == tmp_path / "w.pt"
    assert tuned.options.lr == 1e-4  # which YAML reads as a word
    assert tuned.options.objectives == ("itc", "mlm")
    assert [r.model for r in plan.recommenders.values()] == ["bpr", "vbpr"]
    moved = load_plan(tmp_path / "p.yaml", data={"d": Path("here")}, base=Path("/elsewhere"))
    assert moved.datasets["d"].data == Path("here")
    assert moved.features["ready"].stores[0].startswith("/elsewhere/cache/")
    with pytest.raises(OptionError, match="no such dataset"):
        load_plan(tmp_path / "p.yaml", data={"e": Path("here")})


def test_defaults() -> None:
    plan = parse_plan({**tiny_content(), "baseline": None}, Path())
    assert plan.metrics == ("recall@10", "ndcg@10", "recall@20", "ndcg@20")
    assert plan.datasets["tiny"].rule.seed == 0


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_plans_make_cells(path: Path) -> None:
    from mmx.experiments.cells import groups

    plan = load_plan(path)
    firsts = [group.trials[0] for group in groups(plan)]
    assert {trial.dataset for trial in firsts} == set(plan.datasets)
    assert {trial.features for trial in firsts} == set(plan.features)
    assert {trial.recommender for trial in firsts} == set(plan.recommenders)
