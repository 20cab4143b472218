"""Random CSV files come as they were written, in tables and in views."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
from hypothesis import given, settings

from mmx.data.csvs.reader import view_of
from mmx.data.dataset import load_interactions, load_items
from tests.csv_logs import Log, write_log, written


@given(written())
@settings(max_examples=20, deadline=None)
def test_random_files(drawn: tuple[Log, int, str]) -> None:
    log, quoting, newline = drawn
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder, log, quoting, newline)
        items = load_items(folder)
        assert items.ids.to_pylist() == list(log.items)
        assert items.table["text"].to_pylist() == [text or None for text in log.texts]
        found = load_interactions(folder, items).select(["user_id", "item_id", "split"])
        assert [tuple(row.values()) for row in found.to_pylist()] == log.pairs
        shown = duckdb.sql(view_of(folder / "interactions.csv").sql).fetchall()
        assert shown == log.pairs
