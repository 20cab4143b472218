"""What an answer looks like, and what a mistake says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from mmx.errors import OptionError, QueryError
from mmx.sql import BATCH, ROWS, Sql
from tests.sql.places import Places, make_places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return make_places(tmp_path)


def test_columns_of_one_name_get_names_of_their_own(places: Places) -> None:
    opened = places.open()
    table = opened.ask("select a.item_id, b.item_id, 7 as item_id_1 from fake a, fake b limit 1")
    assert table.to_pylist() == [{"item_id": "a", "item_id_2": "a", "item_id_1": 7}]
    joined = opened.ask("select a.*, b.* from fake a join fake b using (item_id)")
    assert len(set(joined.column_names)) == 2 * len(opened.ask("from fake").column_names)
    assert opened.ask("select 1 as a, 2 as a, 3 as a").column_names == ["a", "a_1", "a_2"]


def test_a_mistake_says_what_duckdb_says(places: Places) -> None:
    opened = places.open()
    with pytest.raises(QueryError) as error:
        opened.ask("select *\nfrom fakes")
    first, *more = str(error.value).splitlines()
    assert first.startswith("SQL: Catalog Error: Table with name fakes does not exist; views: ")
    assert 'Did you mean "fake"?' in more
    assert more[-2:] == ["LINE 2: from fakes", "             ^^^^^"]
    with pytest.raises(QueryError, match=r'(?s)Candidate bindings: "item_id".*LINE 1: .*\^'):
        opened.ask("select itm_id from fake")
    with pytest.raises(QueryError, match=r"(?s)^SQL: Parser Error.*LINE 1: selec 1\n"):
        opened.ask("selec 1")
    with pytest.raises(QueryError, match="Conversion Error"):  # while rows come
        opened.ask("select item_id::int from fake")


@pytest.mark.parametrize(
    ("query", "written"),
    [
        ("from clip-mini", '"clip-mini"'),
        ("select * from vbpr-fake.items", '"vbpr-fake"'),
        ("select count(*) from fake join CLIP-MINI using (item_id)", '"clip-mini"'),
        ("from both.items", '"both"'),
    ],
)
def test_names_that_need_quotes_are_shown_with_them(
    places: Places, query: str, written: str
) -> None:
    places.run("both")
    with pytest.raises(QueryError, match=f"write {written} in double quotes"):
        places.open().ask(query)


def test_rows_come_in_batches_and_threads_ask_at_once(places: Places) -> None:
    opened = places.open()
    rows = opened.stream(f"from range({3 * BATCH})")
    first = next(rows.batches)
    assert first.num_rows <= BATCH
    assert opened.ask("from fake").num_rows == 3  # while another answer is under way
    assert first.num_rows + sum(batch.num_rows for batch in rows.batches) == 3 * BATCH
    counts: list[int] = []
    threads = [
        Thread(target=lambda: counts.append(opened.ask("from fake, range(5000)").num_rows))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [15_000] * 4


def test_what_is_served_is_bounded(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    served = places.open(level="served")
    table = served.ask(f"from range({ROWS + 1})")
    assert (table.num_rows, table.schema.metadata) == (ROWS, {b"mmx.cut": b"10000"})
    table = served.ask(f"from range({ROWS})")
    assert (table.num_rows, table.schema.metadata) == (ROWS, None)
    assert places.open().ask(f"from range({ROWS + 1})").num_rows == ROWS + 1
    for setting, value in (("temp_directory", ""), ("max_memory", "953.6 MiB")):
        asked = f"select current_setting('{setting}')"
        assert served._connection.execute(asked).fetchall() == [(value,)]
        with pytest.raises(QueryError, match="current_setting"):  # others say where files are
            served.ask(asked)
    with pytest.raises(QueryError, match="pg_settings is not allowed"):
        served.ask("from pg_catalog.pg_settings")
    monkeypatch.setattr("mmx.sql.SECONDS", 0.2)
    with pytest.raises(QueryError, match="exceeded maximum execution time"):
        places.open(level="served").ask(
            "select sum(a * b) from range(1e6::int) x(a), range(1e6::int) y(b)"
        )
    monkeypatch.setattr("mmx.sql.SECONDS", 60)
    monkeypatch.setattr("mmx.sql.MEMORY", "50MB")
    with pytest.raises(QueryError, match="Out of Memory"):
        places.open(level="served").ask("select md5(range::text) from range(5e6::int) order by 1")


def test_large_sorts_spill_and_leave_nothing(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill = tmp_path / "temporary"
    spill.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spill))
    usual = Sql._config
    small = {"memory_limit": "60MB", "threads": 1}
    monkeypatch.setattr(Sql, "_config", lambda self: {**usual(self), **small})
    before = sorted(tmp_path.rglob("*"))
    with places.open() as opened:
        rows = opened.stream("select md5(range::text) as m from range(2e6::int) order by m")
        first = next(rows.batches)["m"].to_pylist()
        assert first == sorted(first)
        assert any(path.is_file() for path in spill.rglob("*"))
    assert sorted(tmp_path.rglob("*")) == before


def test_levels_are_two(places: Places) -> None:
    with pytest.raises(OptionError, match="known: local, served"):
        places.open(level="shared")
    with pytest.raises(OptionError):
        places.open(level="served", unsafe=True)


def test_unsafe_takes_anything(places: Places, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    opened = places.open(unsafe=True)
    assert opened.ask(f"copy (from fake) to '{out}'; create table t as select 1 as a").num_rows == 1
    assert out.exists()
    assert opened.ask("from t").num_rows == 1


def test_no_torch_is_loaded() -> None:
    script = "import sys, mmx.sql, mmx.cli.table_files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
