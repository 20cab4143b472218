"""Runs under a control: what they rank by, that they repeat and resume, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from mmx.errors import OptionError, RunError
from mmx.recommend import checkpoint
from mmx.recommend.controls import Control, controlled
from mmx.recommend.end_to_end import EndToEndJob
from mmx.recommend.features import Features
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.models import MODELS, bpr, vbpr
from mmx.recommend.new_items import with_new_items
from mmx.recommend.options import TrainOptions, TrainProgress
from mmx.recommend.protocol import World
from mmx.recommend.run import Run, open_run
from tests.recommend import kit
from tests.recommend.toy import N_ITEMS, N_USERS, toy_features, toy_train, triples

ARMS = ("shuffle", "noise", "constant", "drop:0.3")


def whole(control: str | None) -> World:
    """The toy world with a vector for every item."""
    rng = np.random.default_rng(3)
    everywhere = {
        name: Features(rng.normal(size=f.matrix.shape).astype(np.float32), np.ones(N_ITEMS, bool))
        for name, f in toy_features("image", "text").items()
    }
    changed = everywhere if control is None else controlled(everywhere, Control.parse(control), 0)
    return World(toy_train(), changed)


def rankings_after_a_step(control: str | None, *, normalise: bool) -> tuple[np.ndarray, np.ndarray]:
    """Of MF-BPR and of VBPR with the same id weights, each after one step in float64."""
    generator = torch.Generator().manual_seed(1)
    world = whole(control)
    plain = bpr.Model(bpr.Config(dim=3, reg=0.05), world, generator).double()
    rich = vbpr.Model(
        vbpr.Config(dim=3, content_dim=2, reg=0.05, normalise=normalise), world, generator
    ).double()
    with torch.no_grad():
        for name in ("user", "item", "bias"):
            values = torch.randn(getattr(plain, name).shape, generator=generator).double()
            getattr(plain, name).copy_(values)
            getattr(rich, name).copy_(values)
        for name, parameter in rich.named_parameters():
            if name not in ("user", "item", "bias"):
                parameter.add_(torch.randn(parameter.shape, generator=generator).double())
    found = []
    for model in (plain, rich):
        model.loss(*triples()).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.sub_(0.5 * parameter.grad)
            users, items = model.factors()
        scores = (users.double() @ items.double().T).numpy()
        assert scores.shape == (N_USERS, N_ITEMS)
        found.append(np.argsort(-scores, axis=1))
    return found[0], found[1]


@pytest.mark.parametrize("normalise", [True, False])
def test_vbpr_with_constant_features_ranks_as_bpr(normalise: bool) -> None:
    plain, rich = rankings_after_a_step("constant", normalise=normalise)
    np.testing.assert_array_equal(plain, rich)


@pytest.mark.parametrize("control", [None, "shuffle", "noise"])
def test_with_other_features_it_does_not(control: str | None) -> None:
    plain, rich = rankings_after_a_step(control, normalise=True)
    assert not np.array_equal(plain, rich)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> kit.Place:
    return kit.write_place(tmp_path_factory.mktemp("place"))


def job(place: kit.Place, control: str | None, **changes: Any) -> TrainJob:
    options = TrainOptions(epochs=3, batch_size=128, seed=changes.pop("seed", 0))
    work = TrainJob(place.data, "vbpr", place.store, ["dim=8"], training=options, control=control)
    return replace(work, **changes)


def config(run: Run) -> dict[str, Any]:
    return dict(json.loads((run.path / "config.json").read_text()))


@pytest.mark.parametrize("control", ARMS)
def test_a_run_keeps_its_control_and_repeats(
    place: kit.Place, tmp_path: Path, control: str
) -> None:
    lines: list[str] = []
    one = fit(job(place, control), tmp_path / "one", log=lines.append)
    again = fit(job(place, control), tmp_path / "again", log=lambda line: None)
    np.testing.assert_array_equal(kit.all_scores(one), kit.all_scores(again))
    drawn = {} if control == "constant" else {"seed": 0}
    assert config(one)["control"] == {"arm": control, **drawn}
    assert one.config["control"] == config(one)["control"]
    changed = {"drop:0.3": 28, "shuffle": 92}.get(control, 94)  # two are alone with what they lack
    said = f"control {control}: the vectors of {changed} of 94 items are not their own"
    assert said in lines


def test_without_a_control_nothing_is_said_of_one(place: kit.Place, tmp_path: Path) -> None:
    lines: list[str] = []
    plain = fit(job(place, None), tmp_path / "plain", log=lines.append)
    assert "control" not in plain.config
    assert not [line for line in lines if "control" in line]
    shuffled = fit(job(place, "shuffle"), tmp_path / "shuffled")
    assert not np.array_equal(kit.all_scores(plain), kit.all_scores(shuffled))


def test_what_is_left_after_a_drop_is_recorded(place: kit.Place, tmp_path: Path) -> None:
    lines: list[str] = []
    run = fit(job(place, "drop:0.3"), tmp_path / "run", log=lines.append)
    for found in run.config["features"]:
        left = found["items_with_vector"]
        assert 55 <= left <= 70
        assert f"{found['modality']}: {left} of 95 items have a vector" in lines


@pytest.mark.parametrize("model", ["itemknn-cbf", "ease-content"])
def test_a_closed_form_is_of_the_seed_too(place: kit.Place, tmp_path: Path, model: str) -> None:
    closed = replace(job(place, "shuffle"), model=model, settings=[])
    seeded = replace(closed, training=TrainOptions(seed=5))
    one, other = fit(closed, tmp_path / "one"), fit(seeded, tmp_path / "other")
    assert [run.config["control"]["seed"] for run in (one, other)] == [0, 5]
    assert [run.config["training"] for run in (one, other)] == [None, None]
    assert not np.array_equal(kit.all_scores(one), kit.all_scores(other))


def epochs_after_a_kill(first: TrainJob, then: TrainJob, out: Path) -> list[int]:
    def kill(state: TrainProgress) -> None:
        if state.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(first, out, progress=kill)
    epochs: list[int] = []
    fit(then, out, progress=lambda state: epochs.append(state.epoch))
    return epochs


@pytest.mark.parametrize(
    ("control", "then", "epochs"),
    [("shuffle", "shuffle", [3]), ("noise", "noise", [3]), ("shuffle", "noise", [1, 2, 3]),
     ("drop:0.3", "drop:0.4", [1, 2, 3]), (None, "shuffle", [1, 2, 3])],
)  # fmt: skip
def test_a_killed_run_resumes_with_its_control_only(
    place: kit.Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    control: str | None, then: str, epochs: list[int],
) -> None:  # fmt: skip
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    out = tmp_path / "run"
    assert epochs_after_a_kill(job(place, control), job(place, then), out) == epochs


def test_a_default_name_has_the_control(place: kit.Place) -> None:
    assert job(place, "drop:0.3").name == "vbpr-toy-drop-0.3"
    assert job(place, None).name == "vbpr-toy"


def alone(place: kit.Place, work: TrainJob) -> TrainJob:
    """A store with vectors of one item."""
    table = pq.read_table(place.store)
    path = place.store.with_name("alone.parquet")
    pq.write_table(table.slice(0, 1), path)
    return replace(work, features=path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p, w: replace(w, model="bpr"), "bpr uses no features; drop --features"),
        (
            lambda p, w: replace(w, model="bpr", features=()),
            "bpr uses no features; drop --control, or --model vbpr",
        ),
        (lambda p, w: replace(w, features=()), "vbpr needs item features: give --features"),
        (
            lambda p, w: replace(w, features=(), end_to_end=EndToEndJob("clip:mini")),
            "--control is for features that are ready; drop --end-to-end, or it",
        ),
        (alone, "--control shuffle changes no vector: 1 items have one"),
        (lambda p, w: replace(alone(p, w), control="noise"), "--control noise changes no vector"),
        (lambda p, w: replace(alone(p, w), control="constant"), "constant changes no vector"),
        (lambda p, w: replace(w, control="drop:0.001"), "drop:0.001 changes no vector: 94 items"),
        (lambda p, w: replace(w, control="drop:0.999"), "leaves no item with a vector of"),
        (lambda p, w: replace(w, control=3), "control is a int; text is expected"),
        (lambda p, w: replace(w, control=""), "--control '' is unknown"),
        (lambda p, w: replace(w, control="Shuffle"), "did you mean 'shuffle'?"),
    ],
)
def test_refused_in_one_line(
    place: kit.Place, tmp_path: Path, change: Callable[[kit.Place, TrainJob], TrainJob], said: str
) -> None:
    with pytest.raises(OptionError) as caught:
        fit(change(place, job(place, "shuffle")), tmp_path / "run")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("control", ["shuffle", "drop:0.3"])
def test_new_items_are_refused(place: kit.Place, tmp_path: Path, control: str) -> None:
    run = fit(job(place, control), tmp_path / "run")
    with pytest.raises(RunError, match=f"was trained with --control {control}, and its vectors"):
        with_new_items(run, place.store)


@pytest.mark.slow
@pytest.mark.parametrize("control", ARMS)
@pytest.mark.parametrize("model", [n for n, r in MODELS.items() if r.features == "required"])
def test_every_model_trains_under_every_control(
    place: kit.Place, tmp_path: Path, model: str, control: str
) -> None:
    record = MODELS[model]
    settings = [] if record.closed_form else ["dim=8"]
    options = TrainOptions(epochs=2, batch_size=128)
    work = TrainJob(place.data, model, place.store, settings, training=options, control=control)
    run = fit(work, tmp_path / "run")
    scores = kit.all_scores(run)
    assert not np.isnan(scores).any()
    nothing = (model, control) == ("itemknn-cbf", "constant")  # all it knows are contents
    assert np.isfinite(scores).any() != nothing


@pytest.mark.slow
def test_contents_help_and_controls_do_not(place: kit.Place, tmp_path: Path) -> None:
    """Items of a club that nobody took are found by their contents, and by nothing else."""

    def share_of_own_club(control: str | None) -> float:
        options = TrainOptions(epochs=40, batch_size=128, lr=0.02, patience=40)
        settings = ["dim=8", "cold=prior", "reg=0.01"]
        work = TrainJob(place.data, "vbpr", place.store, settings, training=options,
                        control=control)  # fmt: skip
        run = fit(work, tmp_path / f"run-{control}")
        scores = kit.all_scores(run)
        cold = run.data.items.numbers(list(kit.COLD))
        best = scores[:, cold].argmax(1)
        clubs = [int(kit.club_of(user)[1]) for user in run.data.users.ids.to_pylist()]
        return float((best == clubs).mean())

    assert share_of_own_club(None) > 0.9
    for control in ("shuffle", "noise", "constant"):
        assert share_of_own_club(control) < 0.6


@pytest.mark.parametrize("control", ["shuffle", "drop:0.3"])
def test_the_order_of_the_tables_changes_nothing(tmp_path: Path, control: str) -> None:
    found = []
    for name in ("one", "turned"):
        (tmp_path / name).mkdir()
        place = kit.write_place(tmp_path / name)
        for path in (place.data / "items.parquet", place.store) if name == "turned" else ():
            table = pq.read_table(path)
            pq.write_table(table.take(np.arange(len(table))[::-1]), path)
        work = replace(job(place, control), model="itemknn-cbf", settings=[])
        found.append(kit.all_scores(fit(work, tmp_path / name / "run")))
    np.testing.assert_array_equal(*found)


def test_a_damaged_record_of_a_control_is_one_line(place: kit.Place, tmp_path: Path) -> None:
    run = fit(replace(job(place, "noise"), model="itemknn-cbf", settings=[]), tmp_path / "run")
    path = run.path / "config.json"
    path.write_text(json.dumps({**config(run), "control": "noise"}))
    with pytest.raises(RunError, match=r"config.json has str for control, dict is expected"):
        open_run(run.path)
    path.write_text(json.dumps({**config(run), "control": {}}))
    with pytest.raises(RunError, match="was trained with --control None, and its vectors"):
        with_new_items(open_run(run.path), place.store)
