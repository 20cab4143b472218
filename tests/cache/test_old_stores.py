"""Stores of the first format, without checksums, open for ever.

``fixtures/old.parquet`` and ``fixtures/old-folder.parquet`` (float16) were written before there
were any, by ``make_store`` with the items i0 … i5. They must never be written again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmx.cache.adopt import Adoption, adopt
from mmx.cache.diff import diff
from mmx.cache.export import export
from mmx.cache.store import open_store
from mmx.cache.tools import Target, filter_store, unite
from mmx.sql import open_sql
from tests.cache.stores import CARD, rows, rows_of

FIXTURES = Path(__file__).parent / "fixtures"
OLD = [("old.parquet", "float32"), ("old-folder.parquet", "float16")]


@pytest.mark.parametrize(("name", "dtype"), OLD)
def test_they_open_and_read(name: str, dtype: str) -> None:
    store = open_store(FIXTURES / name)
    assert (store.card, store.dtype, store.rows) == (CARD, dtype, 6)
    assert (store.items_fingerprint, store.sealed) == ("fingerprint", False)
    assert store.versions["mmx"] == "0.1.0"
    assert store.verify() == []
    assert store.status_counts()["image"] == {"ok": 5, "corrupt": 1}
    expected = rows_of([f"i{n}" for n in range(6)], dtype=dtype)
    assert {k: [row[k] for row in rows(store)] for k in expected} == expected
    matrix, present = store.vectors("image", pa.array(["i5", "i1", "no", "i0"]))
    assert present.tolist() == [True, False, False, True]
    np.testing.assert_array_equal(
        matrix[[0, 3]], np.float32([expected["image"][n] for n in (5, 0)])
    )


@pytest.mark.parametrize(("name", "dtype"), OLD)
def test_they_convert(tmp_path: Path, name: str, dtype: str) -> None:
    old = FIXTURES / name
    export(old, "npy", tmp_path / "out")
    adopt(tmp_path / "out", Adoption("npy"), Target(tmp_path / "back.parquet"))
    unite([old], Target(tmp_path / "copy.parquet"))
    for new in ("back", "copy"):
        found = open_store(tmp_path / f"{new}.parquet")
        assert found.sealed
        assert rows(found) == rows(open_store(old))
        assert diff(old, found.path).equal
    assert filter_store(old, Target(tmp_path / "few.parquet"), where="image is null") == (1, 0)


@pytest.mark.parametrize(("name", "dtype"), OLD)
def test_they_are_queried(tmp_path: Path, name: str, dtype: str) -> None:
    view = name.removesuffix(".parquet")
    sql = open_sql(tmp_path, tmp_path, stores=[FIXTURES / name])
    found = sql.ask(f'select count(image) as n from "{view}" where image[1] < 9')
    assert found.to_pylist() == [{"n": 5}]
