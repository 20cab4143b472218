"""What became of a store's rows."""

from __future__ import annotations

from mmx.cache.card import EncoderCard
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


def test_equally_frequent_reasons_by_name_and_texts_that_may_be_absent(tmp_path) -> None:
    statuses = ["z", "ok", "a", "missing", "z", "a", "m", "missing"]
    vectors = [[1.0, 2, 3] if one == "ok" else None for one in statuses]
    made = make_store(tmp_path / "s.parquet", 8, image=vectors, image_status=statuses,
                      text_truncated=[True, None, False, True, None, True, False, True],
                      max_file_rows=4)  # fmt: skip
    found = health(made, examples=3)
    image = found.modalities["image"]
    assert list(image.failed.items()) == [
        ("a", Affected(2, ["i2", "i5"])), ("z", Affected(2, ["i0", "i4"])),
        ("m", Affected(1, ["i6"])),
    ]  # fmt: skip
    assert (image.ok, image.missing, image.failures) == (1, Affected(2, ["i3", "i7"]), 5)
    assert found.truncated == Affected(4, ["i0", "i3", "i5"])
    none = health(made, examples=0)
    assert none.modalities["image"].failed["a"] == Affected(2)
    assert none.truncated == Affected(4)
    card = EncoderCard("fake", "mmx", "fake", "none", {"image": 3}, False, "float32")
    pictures = health(make_store(tmp_path / "p.parquet", 3, card=card))
    assert pictures.truncated is None
    assert list(pictures.modalities) == ["image"]
