"""Reading a dataset directory: what is accepted, and what each mistake says."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.data.dataset import Dropped, load_interactions, load_items
from mmx.errors import DataError, OptionError
from tests.catalogue import write_interactions, write_items

TWO = [{"item_id": "a", "text": "one"}, {"item_id": "b"}]


def test_items_keep_further_columns_and_order(tmp_path: Path) -> None:
    items = load_items(write_items(tmp_path, TWO, price=[3, 4]))
    assert items.table.column_names == ["item_id", "image", "text", "price"]
    assert items.ids.to_pylist() == ["a", "b"]
    assert items.table["text"].to_pylist() == ["one", None]


def test_items_without_image_and_text_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"item_id": [1, 2]}), tmp_path / "items.parquet")
    items = load_items(tmp_path)
    assert items.ids.to_pylist() == ["1", "2"]
    assert items.table["image"].null_count == 2


def test_csv_is_read_as_well(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,text\n7,seven\n8,\n")
    (tmp_path / "interactions.csv").write_text("user_id,item_id,rating\nu,7,5\n")
    items = load_items(tmp_path)
    assert load_interactions(tmp_path, items).to_pylist() == [
        {"user_id": "u", "item_id": "7", "rating": 5.0}
    ]


def test_fingerprint_follows_the_inputs_only(tmp_path: Path) -> None:
    first = load_items(write_items(tmp_path / "1", TWO, price=[1, 2])).fingerprint()
    same = load_items(write_items(tmp_path / "2", TWO, price=[9, 9])).fingerprint()
    other = load_items(write_items(tmp_path / "3", [TWO[0], {"item_id": "b", "text": ""}]))
    assert first == same != other.fingerprint()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"item_id": "a"}, {"item_id": "a"}], "not unique (a occur"),
        ([{"item_id": "a"}, {"item_id": ""}], "empty item_id"),
        ([{"item_id": "a"}, {"item_id": None}], "have no item_id"),
    ],
)
def test_bad_item_ids(tmp_path: Path, rows: list[dict], message: str) -> None:
    with pytest.raises(DataError) as caught:
        load_items(write_items(tmp_path, rows))
    assert message in str(caught.value)


def test_unreadable_tables(tmp_path: Path) -> None:
    write_items(tmp_path, TWO)
    whole = (tmp_path / "items.parquet").read_bytes()
    for broken in (b"", b"rubbish", whole[: len(whole) // 2]):
        (tmp_path / "items.parquet").write_bytes(broken)
        with pytest.raises(DataError, match="unreadable"):
            load_items(tmp_path)


def test_no_dataset_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dataset at"):
        load_items(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no items\.parquet"):
        load_items(tmp_path)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DataError, match="is a file"):
        load_items(file)


def test_unknown_items_are_an_error_or_dropped(tmp_path: Path) -> None:
    items = load_items(write_items(tmp_path, TWO))
    write_interactions(tmp_path, [("u", "a"), ("u", "x"), ("v", "b")])
    with pytest.raises(DataError, match=r"1 interactions name items .* --unknown-items drop"):
        load_interactions(tmp_path, items)
    kept = load_interactions(tmp_path, items, unknown="drop")
    assert kept["item_id"].to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"split": ["train", "dev"]}, "split holds dev"),
        ({"rating": ["good", "bad"]}, "rating is string"),
        ({"rating": [1.0, float("nan")]}, "NaN"),
        ({"timestamp": [1, None]}, "have no timestamp"),
    ],
)
def test_bad_interaction_columns(tmp_path: Path, columns: dict, message: str) -> None:
    items = load_items(write_items(tmp_path, TWO))
    write_interactions(tmp_path, [("u", "a"), ("u", "b")], **columns)
    with pytest.raises(DataError, match=message):
        load_interactions(tmp_path, items)


def test_fractional_ids_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"item_id": [1.0, 2.5]}), tmp_path / "items.parquet")
    with pytest.raises(DataError, match="fractions"):
        load_items(tmp_path)


def test_what_is_dropped_is_counted(tmp_path: Path) -> None:
    items = load_items(write_items(tmp_path, TWO))
    write_interactions(tmp_path, [("u", "a"), ("u", "x"), ("v", "b"), ("v", "x"), ("v", "y")])
    calls: list[Dropped] = []
    assert load_interactions(tmp_path, items, unknown="drop", dropped=calls.append).num_rows == 2
    assert calls == [Dropped(interactions=3, of=5, items=2)]
    assert str(calls[0]) == "dropped 3 of 5 interactions with 2 unknown items"
    assert str(Dropped(320, 9557, 12)) == "dropped 320 of 9,557 interactions with 12 unknown items"
    write_interactions(tmp_path, [("u", "a")])
    load_interactions(tmp_path, items, unknown="drop", dropped=calls.append)
    assert len(calls) == 1
    with pytest.raises(OptionError, match=r"--unknown-items eror is unknown; did you mean 'error'"):
        load_interactions(tmp_path, items, unknown="eror")
