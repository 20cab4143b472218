"""The grid: resumed, isolated, and chosen by validation alone."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.errors import OptionError, RunError, TargetError
from mmx.experiments import Grid, GridProgress, report
from mmx.experiments.journal import Journal
from mmx.experiments.outcome import Outcome
from mmx.locks import locked
from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.experiments.tiny import tiny_plan

VALID = "valid_recall@20"
diverges = pytest.mark.filterwarnings("ignore:.* encountered in matmul:RuntimeWarning")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The tiny plan, run once."""
    out = tmp_path_factory.mktemp("whole")
    return out, Grid(tiny_plan(), out).run()


def moments(paths: Sequence[Path]) -> dict[str, int]:
    """When each was last changed."""
    return {path.name: path.stat().st_mtime_ns for path in paths}


def test_every_cell_is_there_once(whole: tuple[Path, Outcome]) -> None:
    out, outcome = whole
    assert [one.cell.name for one in outcome.finished] == [
        "tiny-none-bpr-s3", "tiny-none-bpr-s4", "tiny-image-vbpr-s3", "tiny-image-vbpr-s4",
        "tiny-both-vbpr-s3", "tiny-both-vbpr-s4", "tiny-none-ease-s3",
    ]  # fmt: skip
    assert len(list((out / "runs").iterdir())) == 9  # and the two points that lost
    assert len(list((out / "cache").glob("*.parquet"))) == 1  # image and both share the store
    assert outcome.failures == []
    configs = [json.loads((one.path / "config.json").read_text()) for one in outcome.finished]
    assert {config["split"]["seed"] for config in configs} == {0}
    assert [c["training"]["seed"] for c in configs if c["training"]] == [3, 4] * 3
    modalities = [[f["modality"] for f in config["features"]] for config in configs]
    assert modalities == [[], [], *[["image"]] * 2, *[["image", "text"]] * 2, []]


def test_again_runs_nothing(whole: tuple[Path, Outcome]) -> None:
    out, outcome = whole
    before = moments([*(out / "runs").iterdir(), *(out / "cache").iterdir()])
    told: list[int] = []
    again = Grid(tiny_plan(), out, progress=lambda state: told.append(state.done)).run()
    assert moments([*(out / "runs").iterdir(), *(out / "cache").iterdir()]) == before
    assert [one.path for one in again.finished] == [one.path for one in outcome.finished]
    assert told[-1] == 9


def test_the_search_looks_at_validation_only(whole: tuple[Path, Outcome]) -> None:
    _, outcome = whole
    for features in ("image", "both"):
        rows = [row for row in outcome.tried if row["features"] == features]
        (chosen,) = [row for row in rows if row["chosen"]]
        assert chosen[VALID] == max(row[VALID] for row in rows)
        used = {one.cell.point for one in outcome.finished if one.cell.features == features}
        assert used == {chosen["point"]}
    assert not [name for row in outcome.tried for name in row if "test" in name]


@pytest.mark.parametrize(
    ("reached", "wins"), [((0.2, 0.3), 1), ((0.3, 0.2), 0), ((0.2, 0.2), 0), ((math.nan, 0.1), 1)]
)
def test_the_best_on_validation_wins(
    whole: tuple[Path, Outcome], tmp_path: Path, reached: tuple[float, float], wins: int
) -> None:
    """With validation figures set by hand, and test figures that say the opposite."""
    out = tmp_path / "copy"
    shutil.copytree(whole[0], out)
    grid = Grid(tiny_plan(), out)
    trials = grid.groups[1].trials  # vbpr with image
    for cell, value in zip(trials, reached, strict=True):
        path = grid.path(cell) / "metrics.json"
        metrics = json.loads(path.read_text())
        metrics["valid"]["recall@20"], metrics["test"]["recall@20"] = value, 1 - value
        path.write_text(json.dumps(metrics))
    finished = grid.gather().finished
    first = next(one for one in finished if one.cell.name == "tiny-image-vbpr-s3")
    assert first.cell == trials[wins]
    assert first.path == grid.path(trials[wins])  # its run is the first seed's


def test_tables(whole: tuple[Path, Outcome]) -> None:
    out, outcome = whole
    made = report(Grid(tiny_plan(), out), outcome)
    results = pq.read_table(out / "results.parquet").to_pylist()
    assert results == made.results
    first = json.loads((out / results[2]["run"] / "metrics.json").read_text())
    for split in ("valid", "test"):
        for name, value in first[split].items():
            assert results[2][f"{split}_{name}"] == value
    rows = {(row["recommender"], row["features"]): row for row in made.table}
    assert {key: row["seeds"] for key, row in rows.items()} == {
        ("bpr", "none"): 2, ("vbpr", "image"): 2, ("vbpr", "both"): 2, ("ease", "none"): 1,
    }  # fmt: skip
    a, b = (row["test_ndcg@10"] for row in results[2:4])
    spread = abs(a - b) / 2**0.5  # the deviation of two
    assert rows["vbpr", "image"]["ndcg@10"] == f"{(a + b) / 2:.4f} ± {spread:.4f}"
    assert "±" not in rows["ease", "none"]["recall@20"]
    assert {t["features"] for t in made.significance} == {"both"}
    assert pq.read_table(out / "significance.parquet").to_pylist() == made.significance
    assert pq.read_table(out / "search.parquet").to_pylist() == outcome.tried
    assert [row["features"] for row in made.embeddings] == ["image", "both"]
    text = (out / "table.md").read_text()
    assert "| tiny | vbpr | image | 2 |" in text
    assert "uniformity_image" in text


def test_a_changed_plan_makes_other_runs(whole: tuple[Path, Outcome]) -> None:
    out, _ = whole
    grid = Grid(tiny_plan(training={"epochs": 3}), out)
    states = {row["cell"]: row["state"] for row in grid.listing()}
    assert states["tiny-none-bpr-s3"] == "to do"
    assert states["tiny-none-ease-s3"] == "finished"  # which has no epochs
    same = Grid(tiny_plan(seeds=[3, 4, 5], training={"epochs": 2, "device": "cpu"}), out)
    states = {row["cell"]: row["state"] for row in same.listing()}
    assert (states["tiny-none-bpr-s4"], states["tiny-none-bpr-s5"]) == ("finished", "to do")


@pytest.mark.parametrize("what", ["items", "interactions", "store", "min_rating"])
def test_a_run_of_other_contents_is_another(tmp_path: Path, what: str) -> None:
    data = plain_catalogue(tmp_path / "d", items=30)
    write_interactions(data, random_log(20, 30, 8))
    store = tmp_path / "s.parquet"
    store.write_bytes(b"one")

    def path(**rule: Any) -> Path:
        plan = tiny_plan(
            datasets={"d": {"data": str(data), **rule}},
            features={"image": {"stores": [str(store)]}},
            recommenders={"vbpr": None},
        )
        grid = Grid(plan, tmp_path / "out")
        return grid.path(grid.groups[0].trials[0])

    before = path()
    assert path() == before
    if what == "items":
        plain_catalogue(data, items=31)
    elif what == "interactions":
        write_interactions(data, random_log(20, 30, 9))
    elif what == "store":
        store.write_bytes(b"two")
    assert path(**({"min_rating": 4} if what == "min_rating" else {})) != before


def test_dry_run_touches_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = Grid(tiny_plan(), out).listing()
    assert not out.exists()
    assert [row["state"] for row in rows].count("to do") == 7
    assert [row["search"] for row in rows].count("as the best") == 2


def broken_plan() -> Any:
    """Two features entries that fail, one recommender that does, and one that is fine."""
    return tiny_plan(
        features={
            "none": "none",
            "image": {"stores": ["nowhere.parquet"]},
            "both": {"extract": [{"model": "clip:mini", "weights": "nowhere.pt"}]},
        },
        recommenders={
            "vbpr": None,
            "wild": {"model": "bpr", "training": {"lr": 1e30, "epochs": 50}},
            "bpr": None,
        },
    )


@diverges
def test_a_failure_stops_no_other_cell(tmp_path: Path) -> None:
    outcome = Grid(broken_plan(), tmp_path).run()
    assert [one.cell.name for one in outcome.finished] == ["tiny-none-bpr-s3", "tiny-none-bpr-s4"]
    reasons = {row["cell"]: row["reason"] for row in outcome.failures}
    assert len(reasons) == 6
    assert "nowhere.parquet: No such file" in reasons["tiny-image-vbpr-s3"]
    assert "nowhere.pt" in reasons["tiny-both-vbpr-s4"]
    assert "lower --lr" in reasons["tiny-none-wild-s3"]
    assert json.loads((tmp_path / "failures.json").read_text()) == outcome.failures
    assert json.loads((tmp_path / "started.json").read_text()) == {}
    made = report(Grid(broken_plan(), tmp_path), outcome)
    assert len(made.table) == 1
    again = Grid(broken_plan(), tmp_path).run()  # failed cells are tried again
    assert again.failures == outcome.failures


@diverges
def test_a_point_that_fails_does_not_win(tmp_path: Path) -> None:
    search = {"search": {"lr": [1e30, 0.01]}, "training": {"epochs": 50}}
    outcome = Grid(tiny_plan(recommenders={"bpr": search}), tmp_path).run()
    assert [one.cell.point for one in outcome.finished] == ["lr=0.01"] * 2
    assert [row["cell"] for row in outcome.failures] == ["tiny-none-bpr-s3 lr=1e+30"]
    assert [row["chosen"] for row in outcome.tried] == [False, True]
    worse = {"search": {"lr": [1e30, 1e31]}, "training": {"epochs": 50}}
    outcome = Grid(tiny_plan(recommenders={"bpr": worse}), tmp_path / "worse").run()
    assert outcome.finished == []
    assert "no point of its search" in outcome.failures[-1]["reason"]


def test_a_search_is_taken_over(tmp_path: Path) -> None:
    image = {"extract": [{"model": "toy", "use": ["image"]}]}
    both = {"extract": [{"model": "toy"}], "search_as": "image"}
    search = {"vbpr": {"search": {"lr": [1e-5, 0.05]}}}
    plan = tiny_plan(features={"image": image, "both": both}, recommenders=search)
    rows = [(row["cell"], row["search"]) for row in Grid(plan, tmp_path).listing()]
    assert rows[3:] == [("tiny-both-vbpr-s3", "as image"), ("tiny-both-vbpr-s4", "as image")]
    outcome = Grid(plan, tmp_path, only="*both*").run()
    assert len(outcome.failures) == 2  # nothing was chosen for image yet
    outcome = Grid(plan, tmp_path).run()
    (chosen,) = [row["point"] for row in outcome.tried if row["chosen"]]
    assert [one.cell.point for one in outcome.finished] == [chosen] * 4
    assert len(list((tmp_path / "runs").iterdir())) == 5  # one point lost
    assert [one.cell.name for one in outcome.finished if one.cell.features == "both"] == [
        "tiny-both-vbpr-s3", "tiny-both-vbpr-s4",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_three_paradigms(tmp_path: Path) -> None:
    """Refresh by epoch alone has the figures of the frozen encoder; the others differ."""
    end = {"encoder": "clip:mini", "tune": "projection", "encoder_lr": 0.01}
    tuning = {"model": "clip:mini", "epochs": 1, "batch_size": 8, "objectives": ["co-interaction"]}
    features = {
        "pre": {"extract": [{"model": "clip:mini"}]},
        "epoch": {"end_to_end": {**end, "refresh": "epoch"}},
        "batch": {"end_to_end": end},
        "tuned": {"finetune": tuning},
    }
    plan = tiny_plan(features=features, recommenders={"vbpr": None}, seeds=[1], baseline="pre")
    grid = Grid(plan, tmp_path)
    outcome = grid.run()
    assert outcome.failures == []
    made = report(grid, outcome)
    whole = {one.cell.features: one.metrics("valid") | one.metrics("test") for one in
             outcome.finished}  # fmt: skip
    assert whole["epoch"] == pytest.approx(whole["pre"], abs=1e-6)
    assert whole["batch"] != whole["pre"]
    assert {t["p_t_holm"] for t in made.significance if t["features"] == "epoch"} == {1.0}
    facts = {row["features"]: row["alignment"] for row in made.embeddings}
    assert list(facts) == ["pre", "epoch (vbpr)", "batch (vbpr)", "tuned"]
    assert facts["epoch (vbpr)"] == pytest.approx(facts["pre"], abs=1e-4)
    assert abs(facts["batch (vbpr)"] - facts["pre"]) > 1e-4
    assert abs(facts["tuned"] - facts["pre"]) > 1e-4
    kept = [*tmp_path.glob("cache/*.parquet"), *tmp_path.glob("finetuned/*/model.safetensors")]
    before = moments(kept)
    assert len(before) == 3
    assert Grid(plan, tmp_path).run().finished == outcome.finished
    assert moments(kept) == before


@pytest.mark.slow
def test_pictures_elsewhere(tmp_path: Path) -> None:
    """The plan names their folder, for extraction and for training end to end."""
    data = plain_catalogue(tmp_path / "shop", items=12)
    write_interactions(data, random_log(10, 12, 6))
    (data / "images").rename(tmp_path / "pictures")
    table = pq.read_table(data / "items.parquet").drop_columns(["image"])
    names = pa.array([f"{n}.png" for n in range(12)])
    pq.write_table(table.append_column("image", names), data / "items.parquet")
    end = {"encoder": "clip:mini", "tune": "projection"}
    plan = tiny_plan(
        datasets={"shop": {"data": str(data), "images": str(tmp_path / "pictures")}},
        features={"pre": {"extract": [{"model": "toy"}]}, "end": {"end_to_end": end}},
        recommenders={"vbpr": None}, seeds=[1], baseline="pre",
        training={"epochs": 1},
    )  # fmt: skip
    outcome = Grid(plan, tmp_path / "out").run()
    assert outcome.failures == []
    for one in outcome.finished:
        config = json.loads((one.path / "config.json").read_text())
        found = {f["modality"]: f["items_with_vector"] for f in config["features"]}
        found |= (config["end_to_end"] or {}).get("items_with_vector", {})
        assert found["image"] == 12


def test_started_twice_and_never_finished(tmp_path: Path) -> None:
    plan = tiny_plan(recommenders={"bpr": None})
    grid = Grid(plan, tmp_path)
    first = grid.path(grid.groups[0].trials[0])
    (tmp_path / "started.json").write_text(json.dumps({first.name: 2}))
    outcome = Grid(plan, tmp_path).run()
    assert [one.cell.name for one in outcome.finished] == ["tiny-none-bpr-s4"]
    (failure,) = outcome.failures
    assert failure["cell"] == "tiny-none-bpr-s3"
    assert "started 2 times" in failure["reason"]
    assert "--retry-failed" in failure["reason"]
    outcome = Grid(plan, tmp_path, retry_failed=True).run()
    assert len(outcome.finished) == 2
    assert outcome.failures == []


def test_the_journal_counts_only_ends_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "started.json"

    def counts() -> dict[str, int]:
        return Journal(path).started

    def fail() -> None:
        with Journal(path).attempt("work"):
            assert counts() == {"work": 1}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert counts() == {}
    path.write_text('{"work": 1}')
    with Journal(path).attempt("work") as advanced:
        assert counts() == {"work": 2}
        advanced()  # were the process killed now, it would be for the first time
        assert counts() == {"work": 1}
    path.write_text('{"work": 2}')
    with pytest.raises(RunError, match="started 2 times"), Journal(path).attempt("work"):
        pass
    assert counts() == {"work": 2}


def test_only(tmp_path: Path) -> None:
    plan = tiny_plan()
    outcome = Grid(plan, tmp_path, only="*-image-vbpr-s4").run()
    assert [one.cell.name for one in outcome.finished] == [
        "tiny-image-vbpr-s3", "tiny-image-vbpr-s4",
    ]  # fmt: skip  # its search ran the first seed
    outcome = Grid(plan, tmp_path, only="*-bpr-s3").run()
    names = [one.cell.name for one in outcome.finished]
    assert names == ["tiny-none-bpr-s3", "tiny-image-vbpr-s3", "tiny-image-vbpr-s4"]
    assert outcome.failures == []
    with pytest.raises(OptionError, match="matches no cell"):
        Grid(plan, tmp_path, only="nothing")
    cells = {row["cell"] for row in Grid(plan, tmp_path, only=("*-bpr-s3", "nothing")).listing()}
    cells |= {row["cell"] for row in Grid(plan, tmp_path, only="*-vbpr-s4").listing()}
    both = Grid(plan, tmp_path, only=("*-bpr-s3", "*-vbpr-s4")).listing()
    assert {row["cell"] for row in both} == cells


def test_gathering_runs_nothing(tmp_path: Path) -> None:
    assert Grid(tiny_plan(), tmp_path / "out").gather() == Outcome()
    assert not (tmp_path / "out").exists()
    Grid(tiny_plan(), tmp_path, only="*-image-*").run()
    before = moments([*tmp_path.iterdir(), *(tmp_path / "runs").iterdir()])
    with locked(tmp_path):  # another process may be at work
        found = Grid(tiny_plan(), tmp_path).gather()
    assert [one.cell.name for one in found.finished] == ["tiny-image-vbpr-s3", "tiny-image-vbpr-s4"]
    assert len(found.tried) == 2
    assert found.failures == []
    assert moments([*tmp_path.iterdir(), *(tmp_path / "runs").iterdir()]) == before


def test_two_processes_do_not_meet(tmp_path: Path) -> None:
    grid = Grid(tiny_plan(), tmp_path)
    with locked(tmp_path), pytest.raises(TargetError, match="another process"):
        grid.run()


def test_progress_says_what_is_done(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    def progress(state: GridProgress) -> None:
        told.append((state.cell, state.detail))

    Grid(tiny_plan(recommenders={"bpr": None}), tmp_path, progress=progress).run()
    details = [detail for cell, detail in told if cell == "tiny-none-bpr-s3"]
    assert any(detail.startswith("epoch 2  recall@20 ") for detail in details)


def strangers(folder: Path) -> Path:
    """A dataset whose validation users took nothing in training."""
    folder.mkdir()
    pq.write_table(pa.table({"item_id": [f"i{n}" for n in range(9)]}), folder / "items.parquet")
    rows = [(f"u{u}", f"i{(u + n) % 9}", part) for u in range(6)
            for n, part in enumerate(["train", "train", "test"])]  # fmt: skip
    rows += [("new", "i0", "valid"), ("newer", "i1", "valid")]
    names = ("user_id", "item_id", "split")
    log = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    pq.write_table(log, folder / "interactions.parquet")
    return folder


def test_where_nothing_validates_nothing_is_chosen_and_it_is_said(tmp_path: Path) -> None:
    changes = {"datasets": {"odd": {"data": str(strangers(tmp_path / "data"))}}, "seeds": [3],
               "features": {"none": "none"}, "baseline": None,
               "recommenders": {"bpr": {"search": {"reg": [0.01, 0.1]}},
                                "lightgcn": None}}  # fmt: skip
    grid = Grid(tiny_plan(**changes), tmp_path / "out")
    outcome = grid.run()
    (failure,) = outcome.failures
    assert failure["reason"].startswith("nothing validates: no validation user has training")
    assert not any(row["chosen"] for row in outcome.tried)
    (one,) = outcome.finished
    assert one.cell.recommender == "lightgcn"
    assert not one.validated
    report(grid, outcome)
    said = "In odd no validation user has training interactions: the last epoch counts"
    assert said in (tmp_path / "out" / "table.md").read_text()


def test_a_device_that_is_none_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--device gpu is none of torch's"):
        Grid(tiny_plan(), tmp_path / "out", device="gpu")
    assert not (tmp_path / "out").exists()
