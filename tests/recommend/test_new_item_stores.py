"""Which items of the named stores are new, and which of their vectors count."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmx.errors import StoreError
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.new_items import with_new_items
from mmx.recommend.run import Run
from tests.cache.stores import make_store
from tests.catalogue import random_log, write_interactions, write_items


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of items i0 to i9."""
    place = tmp_path_factory.mktemp("run")
    write_items(place / "data", [{"item_id": f"i{n}"} for n in range(10)])
    write_interactions(place / "data", random_log(8, 10, 6))
    store = make_store(place / "s.parquet", 10).path
    return fit(TrainJob(place / "data", "itemknn-cbf", store), place / "run", log=lambda line: None)


def store_of(path: Path, ids: list[str], image: list, text: list) -> Path:
    statuses = {
        f"{name}_status": ["missing" if vector is None else "ok" for vector in vectors]
        for name, vectors in (("image", image), ("text", text))
    }
    return make_store(path, ids, image=image, text=text, **statuses).path


def present(run: Run, modality: str) -> dict[str, bool]:
    """Which of the new items have a vector."""
    assert run.vectors is not None
    there = run.vectors[modality].present.tolist()
    return dict(list(zip(run.data.items.ids.to_pylist(), there, strict=True))[10:])


def test_items_without_a_vector_are_not_new(run: Run, tmp_path: Path) -> None:
    one, two = [1.0, 2.0, 3.0], [1.0, 2.0]
    path = store_of(tmp_path / "a.parquet", ["a", "none", "b", "i3"],
                    [one, None, None, one], [None, None, two, two])  # fmt: skip
    found = with_new_items(run, path)
    assert present(found, "image") == {"a": True, "b": False}
    assert present(found, "text") == {"a": False, "b": True}
    with pytest.raises(StoreError, match="no item with vectors of image or text"):
        with_new_items(run, store_of(tmp_path / "b.parquet", ["none"], [None], [None]))


def test_a_store_may_be_of_one_modality_and_another_of_other_items(
    run: Run, tmp_path: Path
) -> None:
    one, two = [1.0, 2.0, 3.0], [1.0, 2.0]
    first, second = (store_of(tmp_path / f"{name}.parquet", [name], [one], [two]) for name in "ab")
    found = with_new_items(run, [f"{first}:image", second])
    assert present(found, "image") == {"a": True, "b": True}
    assert present(found, "text") == {"a": False, "b": True}


def test_an_absurd_vector_of_a_new_item_is_refused(run: Run, tmp_path: Path) -> None:
    inf = [1.0, float("inf"), 0.0]
    path = store_of(tmp_path / "a.parquet", ["a"], [inf], [[1.0, 2.0]])
    with pytest.raises(StoreError, match="the image vector of item a is not finite"):
        with_new_items(run, path)
