"""SQL of every kind that reads is answered, at both levels, and changes nothing."""

from __future__ import annotations

import pytest

from mmx.sql import Sql
from tests.sql.conftest import Trap

ANSWERED = """
select item_id from fake
SELECT 1;
select 1 -- a remark;
/* a remark; */ select 'a;b' as "ü", '-- no remark' as x ;;
from fake
from fake select item_id limit 1
with x as (select 1 as a), y as (from x) select * from x, y
with recursive r as (select 1 as n union all select n + 1 from r where n < 5) from r
select 1 union all select 2 order by 1
(select 1) except (select 2)
values (1, 'a'), (2, 'b')
table fake
from range(3) as t(i)
select unnest([1, 2, 3])
select * from fake a left join items b using (item_id) where a.image is not null
select item_id, array_cosine_similarity(image, [1, 0, 0]::float[3]) as s from fake order by s
select list_transform([1, 2], lambda x: x + 1), {'a': 1}.a, map {'k': 1}['k']
select count(*) filter (text_truncated), avg(text_tokens) over () from fake group by text_tokens
pivot fake on text_status using count(*)
pivot fake on text_status in ('ok', 'missing') using count(*)
select * from (pivot fake on text_status using count(*)) limit 1
with p as (pivot fake on text_status using count(*)) from p
explain pivot fake on text_status using count(*)
unpivot (select 1 as a, 2 as b) on a, b
unpivot (select 1 as a, 2 as b) on columns(*) into name n value v
describe fake
desc fake
describe select 1 as a
describe "vbpr-fake".items
show tables
show all tables
show databases
show fake
summarize fake
summarize select 1 as a
explain select * from fake
explain analyze select * from fake
EXPLAIN (FORMAT json) from fake
explain (analyze, format json) from fake
/* why */ explain -- then
explain summarize fake
from information_schema.tables
from duckdb_columns() select table_name, column_name
select 'copy x to y; drop table z' as copy
select "update" from (select 1 as "update")
select * exclude (image), columns('text_.*') from fake
from fake using sample 2 rows
select current_date, version()
""".strip().splitlines()


@pytest.mark.parametrize("statement", ANSWERED)
def test_what_reads_is_answered(trap: Trap, opened: Sql, statement: str) -> None:
    statement = statement.replace("-- then", "-- then\nselect 1")
    before = trap.state()
    assert opened.ask(statement).num_columns
    assert trap.state() == before


NAMING = """
from duckdb_views()
from duckdb_settings()
from 'W'
from 'work.csv'
from './shop/../work.csv'
from '../parents.csv'
from 'file://R/unattached.parquet'
from read_csv('W', all_varchar := true)
from read_text('W')
from read_blob('S')
from read_parquet('R/cache/*.parquet')
from read_parquet(['S', 'R/unattached.parquet'])
from glob('R/*')
from sniff_csv('W')
from parquet_metadata('R/unattached.parquet')
pivot 'R/unattached.parquet' on item_id using count(*)
pivot (from read_text('W')) on content using count(*)
summarize 'R/unattached.parquet'
describe 'W'
explain analyze from 'W'
select * from fake join 'R/unattached.parquet' using (item_id)
""".strip().splitlines()


@pytest.mark.parametrize("statement", NAMING)
def test_files_of_this_machine_are_read(trap: Trap, local: Sql, statement: str) -> None:
    before = trap.state()
    assert local.ask(trap.filled(statement)).num_rows
    assert trap.state() == before
