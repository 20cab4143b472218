"""Remote files under DuckDB, which reads one open file from several threads."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from mmx.cache.attach import attach
from mmx.files import RemotePath


class Slow(LocalFileSystem):
    """Files that let other threads in after each seek, as a busy machine does."""

    protocol = "slow"

    def open(self, path: str, mode: str = "rb", **_: object) -> Any:
        file = super().open(self._strip_protocol(path), mode)
        seek = file.seek

        def slow_seek(*place: int) -> int:
            found: int = seek(*place)
            time.sleep(0.002)
            return found

        file.seek = slow_seek
        return file


@pytest.fixture
def table(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    columns = {name: draw.integers(0, 1 << 40, 4000) for name in "abc"}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=200)
    return tmp_path / "t.parquet"


def test_threads_do_not_read_at_each_others_places(table: Path) -> None:
    fsspec.register_implementation("slow", Slow, clobber=True)
    query = "select sum(a), sum(b), sum(c) from read_parquet('{}')"
    with duckdb.connect() as connection:
        connection.execute("set threads = 8")
        attach(connection, [RemotePath(f"slow://{table}")])
        expected = connection.sql(query.format(table)).fetchall()
        for _ in range(5):
            assert connection.sql(query.format(f"slow://{table}")).fetchall() == expected
