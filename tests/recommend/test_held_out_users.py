"""--split users: nobody of valid and test trains, and each is scored by what is folded in."""

from pathlib import Path

import numpy as np
import pytest

from mmx.data.splits import SplitRule
from mmx.errors import OptionError, RunError
from mmx.recommend import fit as fitting
from mmx.recommend.api import evaluate, top_k
from mmx.recommend.fit import fit
from mmx.recommend.fuse import fuse, learned_weights
from mmx.recommend.inductive import newcomers, with_held_out
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions
from mmx.recommend.run import Run, open_run
from mmx.recommend.scoring import Factors
from tests.catalogue import random_log, write_interactions, write_items

USERS = SplitRule("users")


def trained(folder: Path, model: str, split: SplitRule = USERS) -> Run:
    data = folder / "data"
    if not data.exists():
        write_items(data, [{"item_id": f"i{n}", "text": "a"} for n in range(20)])
        write_interactions(data, random_log(40, 20, 6))
    training = TrainOptions(epochs=2)
    return fit(TrainJob(data, model, split=split, training=training), folder / model)


@pytest.mark.parametrize("model", ["ease", "ials", "bpr"])
def test_held_out_users_are_scored_as_new_ones(tmp_path: Path, model: str) -> None:
    made = trained(tmp_path, model)
    run = open_run(made.path)
    data = run.data
    assert data.fold_in is not None
    held = np.flatnonzero(data.fold_in.counts)
    assert len(held) == 8
    assert not data.train.counts[held].any()
    new = newcomers(run.scorer, data.train, data.fold_in.rows(held))
    np.testing.assert_allclose(
        run.scorer.scores(held), new.scores(np.arange(len(held))), rtol=1e-4, atol=1e-5
    )
    assert run.metrics["counts"]["test_users"] == 4
    assert run.metrics["counts"]["test_users_without_training"] == 0
    assert evaluate(run).means["recall@10"] == pytest.approx(run.metrics["test"]["recall@10"])
    one = data.users.externals(held[:1])[0].as_py()
    mine = data.items.externals(data.fold_in.rows(held[:1]).indices).to_pylist()
    known = top_k(run, one, 5, seen="train")
    assert not set(known["item_id"].to_pylist()) & set(mine)
    as_new = top_k(run, items_from=mine, k=5)
    assert known["item_id"].to_pylist() == as_new["item_id"].to_pylist()
    assert not set(top_k(run, one, 20)["item_id"].to_pylist()) & set(
        data.items.externals(data.seen.rows(held[:1]).indices).to_pylist()
    )


def test_a_fusion_scores_them_too(tmp_path: Path) -> None:
    runs = [trained(tmp_path, model) for model in ("ease", "bpr")]
    fused = fuse(runs, tmp_path / "fused")
    assert fused.metrics["counts"]["test_users"] == 4
    again = open_run(fused.path)
    assert evaluate(again).means == again.metrics["test"]
    poor = Factors(-runs[1].scorer.users, runs[1].scorer.items)  # type: ignore[attr-defined]
    good, bad = learned_weights([runs[1].scorer, poor], again.data)
    assert good > bad  # by validation users, who are all held out
    other = fit(
        TrainJob(tmp_path / "data", "ease", split=SplitRule("users", seed=1)), tmp_path / "other"
    )
    with pytest.raises(RunError, match="different"):
        fuse([runs[0], other], tmp_path / "not")


def test_without_held_out_users_nothing_changes(tmp_path: Path) -> None:
    run = trained(tmp_path, "ease", SplitRule("random"))
    assert run.data.fold_in is None
    assert run.data.known is run.data.train
    assert with_held_out(run.scorer, run.data) is run.scorer
    assert run.config["split"] == {"rule": "random", "min_rating": None, "k_core": 0, "seed": 0}


def test_a_model_that_cannot_score_new_users_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from mmx.recommend.models import MODELS

    bound = replace(MODELS["ease"], new_users=False)
    monkeypatch.setattr(fitting.TrainJob, "record", property(lambda job: bound))
    with pytest.raises(OptionError, match="ease cannot score users it was not trained with"):
        trained(tmp_path, "ease")
    assert not (tmp_path / "ease").exists()


def test_new_items_do_not_lose_them(tmp_path: Path) -> None:
    data = trained(tmp_path, "bpr").data
    assert data.fold_in is not None
    import pyarrow as pa

    more = data.with_items(pa.array(["new"]))
    assert more.fold_in is not None
    assert more.fold_in.n_items == data.fold_in.n_items + 1
    assert len(more.known.indices) == len(data.known.indices)
