"""The items table beside a search: conditions in SQL, and columns of what was found."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.data.csvs.format import CsvFormat
from mmx.errors import DataError, MmxError, OptionError, QueryError
from mmx.search import catalogue as module
from mmx.search.catalogue import ItemsTable
from tests.cache.stores import make_store


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "items.csv").write_text(
        "item_id;title;price\ni0;zero;5\n007;'spy';7\ni2;;9\n\"it's\";x;11\n", encoding="utf-8"
    )
    make_store(tmp_path / "clip.parquet", 3)
    return tmp_path


def test_conditions_and_columns(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    with ItemsTable(data, [data / "clip.parquet"], csv=CsvFormat(None, ";")) as items:
        assert items.columns == ["item_id", "title", "price"]
        assert items.matching("price > 6 -- dear").to_pylist() == ["007", "i2", "it's"]
        assert items.matching("item_id in (select item_id from clip)").to_pylist() == ["i0", "i2"]
        assert len(items.matching("price is null or false")) == 0
        ids = pa.array(["it's", "unknown", "i0", "007", "i0"])
        shown = items.shown(ids)
        assert shown.to_pydict() == {"title": ["x", None, "zero", "'spy'", "zero"]}
        assert items.shown(ids, ["price", "item_id"])["price"].to_pylist()[0] == 11
        assert items.shown(ids[:0]).num_rows == 0
        for wrong in ("prize > 3", "price >", "true); select (1", "copy items to 'x'",
                      "item_id in (select * from read_csv('x')"):  # fmt: skip
            with pytest.raises(QueryError, match=r"^--where: ") as caught:
                items.matching(wrong)
            assert "\n" not in str(caught.value)
        for empty in ("", " \n", 3, None):
            with pytest.raises(OptionError, match=r"--where is empty"):
                items.matching(empty)  # type: ignore[arg-type]
        twice = items.shown(ids, ["price", "title", "price"])
        assert twice.column_names == ["price", "title"]
        with pytest.raises(OptionError, match=r"--show titel: .* did you mean 'title'"):
            items.shown(ids, ["titel"])


def test_what_is_shown_of_items_without_a_title(tmp_path: Path) -> None:
    for columns, shown in (("text,size", ["text"]), ("size,colour", [])):
        (tmp_path / "items.csv").write_text(f"item_id,{columns}\na,b,c\n")
        with ItemsTable(tmp_path) as items:
            assert items.shown(pa.array(["a"])).column_names == shown
            assert isinstance(items.matching("true"), pa.Array)


def test_what_is_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dataset at"):
        ItemsTable(tmp_path / "nowhere")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for place in (tmp_path, tmp_path / "other.csv"):
        with pytest.raises(MmxError) as caught:
            ItemsTable(place)
        assert "\n" not in str(caught.value)


def test_a_row_without_an_id_is_no_item(tmp_path: Path) -> None:
    pq.write_table(pa.table({"item_id": ["a", None], "size": [1, 2]}), tmp_path / "items.parquet")
    with ItemsTable(tmp_path) as items:
        assert items.matching("size > 0").to_pylist() == ["a"]
