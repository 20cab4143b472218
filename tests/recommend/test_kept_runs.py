"""Runs of every other kind that mmx writes, kept as files: they open for ever, with these numbers.

``fixtures/old-vbpr`` has features, ``old-end-to-end`` an encoder (a VLMo of width 8 and one
block), ``old-fused`` is an ensemble of the two, with weights set to 3 : 1. All are of twelve
items, one without a picture and one without a text, and were written by mmx 0.1.0 at commit
b3aafef. They must never be written again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import mmx
from mmx.recommend.fuse import fuse
from mmx.recommend.run import Run, verify_run

FIXTURES = Path(__file__).parent / "fixtures"
VOCABULARY = Path(__file__).parents[1] / "extract/fixtures/vocab.txt"
BEST = {  # the first three of user 003 with their scores; of someone new who took i1 and i2
    "old-vbpr": (["i7", "i9", "i8"], [0.8824517, 0.3373115, -0.2311110], ["i5", "i11", "i10"]),
    "old-end-to-end": (["i7", "i5", "i2"], [0.6705654, 0.2661931, 0.2549710], ["i5", "i11", "i8"]),
    "old-fused": (["i7", "i9", "i3"], [1.0306119, -0.0905533, -0.7139718], ["i5", "i11", "i8"]),
}
NDCG = {"old-vbpr": 0.4903699, "old-end-to-end": 0.3521912, "old-fused": 0.4794140}  # @5 on test


@pytest.fixture(params=BEST)
def run(request: pytest.FixtureRequest) -> Run:
    return mmx.open_run(FIXTURES / request.param)


def test_they_open_whole(run: Run) -> None:
    assert verify_run(run.path) == []
    assert sorted(run.data.users.ids.to_pylist()) == [f"00{n}" for n in range(8)]
    assert {*run.items["item_id"].to_pylist()} == {f"i{n}" for n in range(12)}
    assert run.items.column_names == ["item_id", "image", "text"]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_they_measure_what_they_measured(run: Run, split: str) -> None:
    measured = mmx.evaluate(run, split).means
    assert measured == pytest.approx(run.metrics[split], abs=1e-5)
    if split == "test":
        assert measured["ndcg@5"] == pytest.approx(NDCG[run.path.name], abs=1e-5)


def test_they_recommend_what_they_recommended(run: Run) -> None:
    items, scores, new = BEST[run.path.name]
    found = mmx.top_k(run, "003", k=3)
    assert found["item_id"].to_pylist() == items
    assert found["score"].to_pylist() == pytest.approx(scores, abs=1e-5)
    assert mmx.top_k(run, items_from=["i1", "i2"], k=3)["item_id"].to_pylist() == new


def test_they_work_from_another_place(run: Run, tmp_path: Path) -> None:
    moved = shutil.copytree(run.path, tmp_path / "elsewhere" / "run of mine")
    assert mmx.top_k(str(moved), "003").equals(mmx.top_k(run, "003"))


def test_they_fuse(tmp_path: Path) -> None:
    fused = fuse([FIXTURES / name for name in BEST], tmp_path / "fused")
    assert np.isfinite(fused.metrics["test"]["recall@5"])


def test_the_trained_encoder_encodes_as_it_did() -> None:
    """By its folder, and the run's store of its vectors is read by item id."""
    store = mmx.open_store(FIXTURES / "old-end-to-end/features.parquet")
    statuses = {"ok": 11, "missing": 1}
    assert store.status_counts() == {"image": statuses, "text": statuses}
    encoder = mmx.open_encoder(
        "vlmo", weights=FIXTURES / "old-end-to-end/encoder", tokenizer=VOCABULARY
    )
    assert encoder.card.parameters_sha256 == store.card.parameters_sha256
    pixels = np.full((1, 8, 8, 3), (27, 228, 21), np.uint8)  # item i3's picture, of one colour
    kept, _ = store.vectors("image", ["i3"])
    np.testing.assert_allclose(encoder.encode_image(pixels), kept, atol=1e-5)
    kept, _ = store.vectors("text", ["i3"])
    np.testing.assert_allclose(
        encoder.encode_text(encoder.tokenize(["the hand bag"])), kept, atol=1e-5
    )
