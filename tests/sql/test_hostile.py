"""SQL that would do more than read: nothing changes, nothing is made, nobody is called."""

from __future__ import annotations

from pathlib import Path

import duckdb
import fsspec
import pyarrow as pa
import pytest

from mmx.errors import QueryError
from mmx.sql import Sql, open_sql
from tests.sql.conftest import Trap

# R is the folder of everything, P the port of a server that must not be called. W stands for a
# file that is there and S for a store.
WRITING = """
copy fake to 'R/new.csv'
copy fake to 'W'
copy (from fake) to 'S' (format parquet, use_tmp_file false)
copy (from fake) to 'R/shop/items.parquet'
copy (from fake) to 'R/parts' (format parquet, partition_by (item_id))
explain analyze copy fake to 'R/new.csv' (use_tmp_file false)
EXPLAIN /* x */ ANALYZE /* y */ (format json) copy fake to 'R/new.csv' (use_tmp_file false)
explain (analyze) copy fake to 'W' (use_tmp_file false)
explain copy fake to 'R/new.csv'
with x as (copy fake to 'R/new.csv') select 1
with x as (copy (from fake) to 'W' (use_tmp_file false)) select * from x
with y as (with x as (copy fake to 'R/new.csv') select 1) from y
select (with x as (copy fake to 'R/new.csv') select 1)
explain analyze with x as (copy fake to 'W' (use_tmp_file false)) from x
from (with x as (copy fake to 'R/new.csv') from x)
summarize with x as (copy fake to 'R/new.csv') from x
select * from fake where exists (with x as (copy fake to 'W') select 1)
pivot (with x as (copy fake to 'R/new.csv') select 1 as a) on a using count(*)
with x as (copy fake to 'R/new.csv'), p as (pivot fake on item_id using count(*)) from p
copy (pivot fake on item_id using count(*)) to 'R/new.csv'
create table t as pivot fake on item_id using count(*)
prepare p as copy fake to 'R/new.csv'
prepare p as select 1
execute p
select 1; copy fake to 'R/new.csv'
copy fake to 'R/new.csv'; select 1
select 1;;copy fake to 'W';
export database 'R/exported'
import database 'R/shop'
attach 'R/new.duckdb'
attach 'R/new.duckdb' as other (type duckdb)
attach 'http://127.0.0.1:P/x.duckdb'
create table t as select 1
create or replace view fake as select 1
create secret (type s3, key_id 'a', secret 'b')
create persistent secret (type http)
create macro m() as 1
create sequence s
create type e as enum ('a')
insert into fake values ('z')
with x as (insert into fake values ('z') returning *) from x
update fake set item_id = 'z'
delete from fake
with x as (delete from fake returning *) from x
merge into fake using fake as o on true when matched then delete
truncate fake
drop view fake
alter view fake rename to other
comment on view fake is 'x'
install httpfs
force install httpfs from 'http://127.0.0.1:P'
install 'http://127.0.0.1:P/x.duckdb_extension'
load httpfs
load 'R/evil.duckdb_extension'
set threads = 1
set lock_configuration = false
set enable_external_access = true
set allowed_directories = ['/']
set temp_directory = 'R/spill'
set home_directory = 'R'
set secret_directory = 'R'
set log_query_path = 'R/log'
set profiling_output = 'R/profile'
set variable x = (with x as (copy fake to 'R/new.csv') select 1)
reset lock_configuration
pragma enable_profiling
pragma profiling_output = 'R/profile'
pragma database_list
pragma import_database('R/shop')
call enable_logging(storage = 'file', storage_path = 'R/log')
call enable_profiling(save_location = 'R/profile')
call force_checkpoint()
checkpoint
vacuum
begin
use main
detach memory
from enable_logging(storage := 'file', storage_path := 'R/log')
from enable_profiling(save_location := 'R/profile')
select * from fake, enable_logging(storage := 'file', storage_path := 'R/log')
pivot (from enable_logging(storage := 'file', storage_path := 'R/log')) on scope using count(*)
from force_checkpoint()
from checkpoint()
from add_grammar_extension('x')
from truncate_duckdb_logs()
from query('select 1')
from query('with x as (copy fake to ''R/new.csv'') select 1')
from query_table('fake')
from json_execute_serialized_sql(json_serialize_sql('select 1'))
from read_duckdb('R/data.duckdb', table_name := 't')
from 'R/data.duckdb'
from 'R/data.db'
from arrow_scan(0, 0, 0)
from python_map_function(1)
from duckdb_secrets()
from which_secret('s3://x', 's3')
select write_log('x')
select getenv('HOME')
select nextval('s')
from 'http://127.0.0.1:P/x.parquet'
from 'https://127.0.0.1:P/x.csv'
from read_csv('http://127.0.0.1:P/x.csv')
from read_parquet(['S', 'http://127.0.0.1:P/x.parquet'])
from read_text('http://127.0.0.1:P/secret')
from read_blob('https://127.0.0.1:P/secret')
from read_json('http://127.0.0.1:P/x.json')
from glob('http://127.0.0.1:P/*')
from 's3://127.0.0.1:P/x.parquet'
from 'gcs://x/y.parquet'
from 'hf://datasets/x/y.parquet'
from sniff_csv('http://127.0.0.1:P/x.csv')
from parquet_metadata('http://127.0.0.1:P/x.parquet')
from secret_table
from 'x.xlsx'
""".strip().splitlines()

READING = """
from 'W'
from 'R/shop/items.csv'
from read_csv('W')
from read_csv(['S', 'W'])
from read_text('W')
from read_text('/etc/passwd')
from read_blob('S')
from read_parquet('R/cache/*.parquet')
from glob('R/*')
from glob('*')
from sniff_csv('W')
from parquet_metadata('R/unattached.parquet')
from 'R/unattached.parquet'
from 'R/cache/../unattached.parquet'
from 'cache/../unattached.parquet'
from 'file://R/unattached.parquet'
pivot 'R/unattached.parquet' on item_id using count(*)
pivot (from read_text('W')) on content using count(*)
summarize 'R/unattached.parquet'
describe 'W'
explain analyze from 'W'
select * from fake where item_id in (select content from read_text('W'))
select sleep_ms(60000)
select repeat('x', 2000000000)
select len(range(4000000000))
select lpad('x', 2000000000, 'y')
from (select unnest(generate_series(1, 10000000000)))
""".strip().splitlines()


def refused(trap: Trap, opened: Sql, statement: str) -> None:
    before, calls = trap.state(), len(trap.calls)
    secret_table = pa.table({"a": [1]})  # which SQL must not see
    with pytest.raises(QueryError):
        opened.ask(trap.filled(statement))
    assert secret_table.num_rows == 1
    assert trap.state() == before
    assert trap.calls[calls:] == []


@pytest.mark.parametrize("statement", WRITING)
def test_nothing_changes_and_nobody_is_called(trap: Trap, opened: Sql, statement: str) -> None:
    refused(trap, opened, statement)


@pytest.mark.parametrize("statement", READING)
def test_nothing_but_what_was_attached_is_served(trap: Trap, served: Sql, statement: str) -> None:
    refused(trap, served, statement)


def test_whether_a_file_exists_is_not_shown(trap: Trap, served: Sql) -> None:
    messages = []
    for name in ("work.csv", "absent.csv", "unattached.parquet", "absent.parquet"):
        with pytest.raises(QueryError) as error:
            served.ask(f"from '{trap.root.as_posix()}/{name}'")
        messages.append(str(error.value).replace(name, "it"))
    assert len(set(messages)) == 1


def test_the_trap_would_spring(trap: Trap, tmp_path: Path) -> None:
    """Without the guard such statements do write, and do call."""
    calls = len(trap.calls)
    with duckdb.connect() as bare:
        bare.execute(f"with x as (copy (select 1 as a) to '{tmp_path}/a.csv') select 1").fetchall()
        with pytest.raises(duckdb.Error):
            bare.execute("install httpfs from 'http://extensions.invalid'")
    assert (tmp_path / "a.csv").exists()
    assert len(trap.calls) > calls


def test_a_remote_place_is_read_if_it_was_attached(trap: Trap, tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    for name in ("far.parquet", "other.parquet"):
        fs.pipe(f"/bucket/{name}", (trap.root / "cache/fake.parquet").read_bytes())
    before = {path: fs.cat(path) for path in fs.find("/")}
    for level in ("local", "served"):
        with open_sql(
            tmp_path, tmp_path, stores=["memory://bucket/far.parquet"], level=level
        ) as far:
            assert far.ask("from far").num_rows == 3
            for statement in (
                "from 'memory://bucket/other.parquet'",
                "from 'memory://bucket/*.parquet'",
                "from glob('memory://bucket/*')",
                "copy (from far) to 'memory://bucket/far.parquet'",
                "with x as (copy far to 'memory://bucket/new.csv') select 1",
            ):
                with pytest.raises(QueryError):
                    far.ask(statement)
    assert {path: fs.cat(path) for path in fs.find("/")} == before
