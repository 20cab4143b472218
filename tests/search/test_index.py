"""FAISS indexes: what they find is scored exactly, never too little, and follows the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmx.cache.card import EncoderCard
from mmx.errors import OptionError
from mmx.search import index as module
from mmx.search.index import KINDS, with_index
from mmx.search.searcher import Searcher, open_searcher
from tests.cache.stores import make_store

CARD = EncoderCard("fake", "mmx", "fake", "none", {"image": 8}, False, "float32")
ITEMS = 1100


def clustered(path: Path, seed: int = 0) -> Searcher:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(30, 8))
    vectors = centres[rng.integers(30, size=ITEMS)] + 0.3 * rng.normal(size=(ITEMS, 8))
    rows = vectors.astype(np.float32).tolist()
    made = make_store(path, ITEMS, card=CARD, block=500, image=rows, image_status=["ok"] * ITEMS)
    return open_searcher(made)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEW", 0)
    exact = clustered(tmp_path / "s.parquet")
    said: list[str] = []
    found = with_index(exact, kind, log=said.append)
    file = tmp_path / f"s.parquet.image.{kind}.index"
    recall = float(said[-1].split("finds ")[1].split(" ")[0])
    assert recall > 0.8
    assert file.exists()
    assert len(said) == 3
    some = exact.ids.to_pylist()[:40]
    scores = {(r["item_id"], r["similar_id"]): r["score"] for r in
              exact.similar(some, 300).to_pylist()}  # fmt: skip
    rows = found.similar(some, 10).to_pylist()
    assert len(rows) == 400
    assert all(scores[row["item_id"], row["similar_id"]] == row["score"] for row in rows)
    shared = {(r["item_id"], r["similar_id"]) for r in exact.similar(some, 10).to_pylist()}
    assert len(shared & {(r["item_id"], r["similar_id"]) for r in rows}) > 0.8 * 400
    for few in (0, 1, 9, 10, 11, 60):  # scattered, so that the first probes miss most of them
        among = exact.ids.to_pylist()[:: ITEMS // few][:few] if few else []
        near = found.similar("i1", 10, among=among)
        assert near.num_rows == min(10, len({*among} - {"i1"}))
        assert {*near["similar_id"].to_pylist()} <= {*among}
        if few in (1, 9, 10, 11):
            assert near.equals(exact.similar("i1", 10, among=among))
    again: list[str] = []
    with_index(exact, kind, log=again.append)
    assert again == said[-1:]  # read, not built
    file.write_bytes(file.read_bytes()[:-100])
    with_index(exact, kind, log=again.append)
    assert len(again) == 4
    with_index(clustered(tmp_path / "s.parquet", seed=1), kind, log=again.append)
    assert len(again) == 7  # the store has changed


def test_what_gets_no_index(tmp_path: Path) -> None:
    small = open_searcher(make_store(tmp_path / "s.parquet", 5))
    with pytest.raises(OptionError, match=r"--index hnsw: 4 items are searched exactly at once"):
        with_index(small, "hnsw")
    with pytest.raises(OptionError, match=r"--index hsnw is unknown; did you mean 'hnsw'"):
        with_index(small, "hsnw")


def test_an_index_is_of_its_kind_and_leaves_the_searcher_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And there is one for so many items, but not for one less."""
    exact, said = clustered(tmp_path / "s.parquet"), list[str]()
    monkeypatch.setattr(module, "LEAST", ITEMS + 1)
    with pytest.raises(OptionError, match=f"an index is for {ITEMS + 1} and more"):
        with_index(exact, "hnsw")
    monkeypatch.setattr(module, "LEAST", ITEMS)
    found = with_index(exact, "hnsw", log=said.append)
    assert (found._nearest.exact, exact._nearest.exact) == (False, True)
    kept = tmp_path / "s.parquet.image.hnsw.index"
    kept.rename(tmp_path / "s.parquet.image.ivf.index")
    said.clear()
    assert with_index(exact, "ivf", log=said.append)._nearest.index.kind == "ivf"  # type: ignore[attr-defined]
    assert said[0].startswith("building the ivf index")


def test_a_folder_that_cannot_be_written_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searcher = clustered(tmp_path / "s.parquet")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_arrays", full)
    said: list[str] = []
    found = with_index(searcher, "ivf", log=said.append)
    assert "not kept" in said[1]
    assert found.similar("i1", 3).num_rows == 3
    assert [path.name for path in tmp_path.iterdir()] == ["s.parquet"]


def test_what_an_index_does_not_find_is_searched_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = clustered(tmp_path / "s.parquet")
    monkeypatch.setattr(module, "FEW", 0)
    found = with_index(exact, "ivf", log=lambda line: None)
    widths: list[int] = []

    def blind(index: object, units: np.ndarray, count: int, width: int, _: object) -> np.ndarray:
        widths.append(width)
        return np.full((len(units), count), -1)

    monkeypatch.setattr(module.Index, "search", blind)
    assert found.similar("i1", 10).equals(exact.similar("i1", 10))
    assert widths[0] < widths[1] <= widths[-1] == ITEMS // 39  # all lists, in the end
