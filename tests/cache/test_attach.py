"""Remote files under DuckDB, which reads one open file from several threads."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from mmx.cache.attach import SharedFile, attach
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
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    fsspec.register_implementation("slow", Slow, clobber=True)
    with duckdb.connect() as opened:
        opened.execute("set threads = 8")
        attach(opened, [RemotePath(f"slow://{tmp_path}/x")])
        yield opened


def test_threads_do_not_read_at_each_others_places(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    draw, file = np.random.default_rng(0), tmp_path / "t.parquet"
    columns = {name: draw.integers(0, 1 << 40, 4000) for name in "abc"}
    pq.write_table(pa.table(columns), file, row_group_size=200)
    query = "select sum(a), sum(b), sum(c) from read_parquet('{}')"
    expected = connection.sql(query.format(file)).fetchall()
    for _ in range(5):
        assert connection.sql(query.format(f"slow://{file}")).fetchall() == expected


def test_threads_read_on_where_another_ended(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    file = tmp_path / "t.csv.gz"
    rows = "".join(f"u{n},{n * 7919}\n" for n in range(200_000))
    file.write_bytes(gzip.compress(f"a,b\n{rows}".encode(), 1))
    small = "buffer_size = 200000, max_line_size = 1000"  # several buffers
    query = f"select count(distinct a), sum(b) from read_csv('{{}}', {small})"
    expected = connection.sql(query.format(file)).fetchall()
    assert connection.sql(query.format(f"slow://{file}")).fetchall() == expected


def test_a_seek_that_another_reads_on_from_is_spent(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    with (tmp_path / "f").open("rb") as opened, ThreadPoolExecutor(1) as other:
        file = SharedFile(opened)
        file.seek(2)
        assert other.submit(file.read, 3).result() == b"234"
        assert file.read(2) == b"56"
        assert file.tell() == 7
