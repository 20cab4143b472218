"""What became of a store's rows."""

from __future__ import annotations

from mmx.cache.health import Affected, Condition, health
from mmx.cache.store import open_store
from tests.cache.small_store import store
from tests.cache.stores import make_store


def test_a_small_store(tmp_path) -> None:
    found = health(open_store(store(tmp_path / "s.parquet")))
    assert found.rows == 3
    assert found.modalities == {
        "image": Condition(2, Affected(), {"file not found": Affected(1, ["b"])}),
        "text": Condition(2, Affected(1, ["c"]), {}),
    }
    assert found.truncated == Affected(1, ["b"])
    assert found.modalities["image"].failures == 1
    assert found.as_dict()["modalities"]["image"]["failed"]["file not found"]["examples"] == ["b"]


def test_several_files_reasons_by_number_and_few_examples(tmp_path) -> None:
    statuses = ["ok" if n % 2 else ("corrupt" if n % 6 else "<b>gone</b>") for n in range(40)]
    statuses[1] = None
    vectors = [[1.0, 2, 3] if s == "ok" else None for s in statuses]
    where = tmp_path / "s.parquet"
    made = make_store(where, 40, max_file_rows=16, image=vectors, image_status=statuses)
    found = health(made, examples=3).modalities["image"]
    assert list(found.failed) == ["corrupt", "<b>gone</b>", "null"]
    assert found.failed["corrupt"] == Affected(13, ["i2", "i4", "i8"])
    assert found.failed["<b>gone</b>"].examples == ["i0", "i6", "i12"]
    assert found.ok + found.failures == 40
