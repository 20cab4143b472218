"""Runs written before items were numbered by a hash open for ever and say what they said.

``fixtures/old-bpr`` and ``fixtures/old-itemknn`` are of twelve items in catalogue order. They
must never be written anew.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmx.errors import RunError
from mmx.recommend.evaluation import evaluate_scorer
from mmx.recommend.fit import fit
from mmx.recommend.fuse import fuse
from mmx.recommend.job import TrainJob
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.recommendation import recommend, recommend_from
from mmx.recommend.run import Run, open_run, verify_run
from mmx.sql import open_sql

FIXTURES = Path(__file__).parent / "fixtures"
OLD = ["old-bpr", "old-itemknn"]


@pytest.fixture(params=OLD)
def run(request: pytest.FixtureRequest) -> Run:
    return open_run(FIXTURES / request.param)


def test_they_open_whole(run: Run) -> None:
    assert run.data.items.ids.to_pylist() == [f"i{n}" for n in range(12)]
    assert verify_run(run.path) == []
    assert len(run.data.users) == 8


@pytest.mark.parametrize("split", ["valid", "test"])
def test_they_measure_what_they_measured(run: Run, split: str) -> None:
    held_out = getattr(run.data, split)
    measured = evaluate_scorer(run.scorer, held_out, run.data.train).means
    if run.config["model"] == "bpr":
        assert measured == pytest.approx(run.metrics[split], abs=1e-12)
    else:  # its lists were filled with items of which it knows nothing; these are gone
        assert all(measured[name] <= run.metrics[split][name] for name in measured)
        assert measured["recall@5"] == run.metrics[split]["recall@5"]


def test_they_recommend(run: Run) -> None:
    table = recommend(run, ["u3"], RecommendOptions(k=3))
    assert table["rank"].to_pylist() == [1, 2, 3]
    assert recommend_from(run, ["i1", "i2"], RecommendOptions(k=2)).num_rows == 2


def test_two_of_them_fuse(tmp_path: Path) -> None:
    fused = fuse([FIXTURES / name for name in OLD], tmp_path / "fused")
    assert np.isfinite(fused.metrics["test"]["recall@5"])


def test_an_old_and_a_new_one_do_not_fuse(tmp_path: Path) -> None:
    """Their items have other numbers; the message says so and what to do."""
    old = open_run(FIXTURES / "old-itemknn")
    pq.write_table(old.items, tmp_path / "items.parquet")
    shutil.copy(old.path / "interactions.parquet", tmp_path)
    fit(TrainJob(tmp_path, "popularity"), tmp_path / "new")
    with pytest.raises(RunError, match=r"numbers its items in another order.*train"):
        fuse([FIXTURES / "old-itemknn", tmp_path / "new"], tmp_path / "never")


def test_sql_reads_them(tmp_path: Path) -> None:
    with open_sql(tmp_path, FIXTURES) as sql:
        found = sql.ask('select count(*) as n from "old-bpr".interactions')
    assert found["n"].to_pylist() == [48]
