"""The table of ``--histories``: what is read, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from mmx.data.csvs.format import CsvFormat
from mmx.errors import DataError
from mmx.recommend.api import top_k
from mmx.recommend.diversity import pool_size
from mmx.recommend.histories import read_histories
from mmx.recommend.run import open_run

FIXTURES = Path(__file__).parent / "fixtures"


def test_ids_are_texts_and_other_columns_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("when;item_id;user_id\n3;007;01\n4;8;2\n")
    expected = pa.table({"user_id": ["01", "2"], "item_id": ["007", "8"]})
    assert read_histories(file, CsvFormat(delimiter=";")).equals(expected)
    assert read_histories(expected.append_column("when", pa.array([3, 4]))).equals(expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user_id,item_id\n", "new.csv has no rows; user_id and item_id"),
        ("user_id,thing\na,b\n", r"new.csv.*item_id"),
        ("user_id,item_id\na,b\n,c\n", r"new.csv.*user_id"),
        (None, "--histories .*new.csv: no such file"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "new.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DataError, match=said):
        read_histories(file)


def test_a_table_in_memory_is_called_by_the_option() -> None:
    with pytest.raises(DataError, match=r"^--histories"):
        read_histories(pa.table({"user_id": ["a"]}))


def test_how_many_candidates_diversity_has() -> None:
    assert [pool_size(k) for k in (1, 20, 21, 100)] == [100, 100, 105, 500]


def test_a_file_of_histories_has_its_own_marks(tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("user_id;item_id\nx;i1\nx;i2\ny;i3\n")
    run = open_run(FIXTURES / "old-bpr")
    table = read_histories(file, CsvFormat(delimiter=";"))
    expected = top_k(run, histories=table, k=3)
    assert top_k(run, histories=file, k=3, csv=CsvFormat(delimiter=";")).equals(expected)
    assert expected["user_id"].to_pylist() == ["x"] * 3 + ["y"] * 3
