"""Macros of every connection: ``cosine(a, b)`` and ``nearest(store, item, k)``.

To both, NULL, NaN and zero vectors are nothing to compare: such a similarity is NULL and such an
item is in no list. ``nearest`` finds a store by the name of its view in a list that is written
into the macro; a name that is not in it is an error, so that no file can be named. It reads the
vectors once, keeps one number for each item, and hashes only the ids of those that are at least
as similar as the K-th.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import duckdb
import pyarrow as pa

from mmx.data.id_order import hashes
from mmx.data.quoting import quoted, quoted_name
from mmx.errors import first_few
from mmx.sql_views import View

K = 10  # of nearest, where none is given
HASH = "mmx_id_hash"
COSINE = """
create macro cosine(a, b) as nullif(
    case when a is not null and b is not null
        then list_cosine_similarity(a::float[], b::float[]) end,
    'nan'::float
)
"""
NEAREST = """
create macro nearest(store, item, k := {k}, modality := null) as table
with found as not materialized (
    from query(coalesce(
        map({keys}, {queries})[lower(store) || '/' || lower(coalesce(modality, ''))],
        error('nearest: ' || coalesce(
            map({stores}, {have})[lower(store)] || ', not ' || modality,
            'no store ' || coalesce(store, 'NULL') || {known}
        ))
    ))
),
wanted as materialized (
    select case
        when k is null then error('nearest: k is NULL; a whole number is expected')
        when count(*) = 0 then error('nearest: no item ' || coalesce(item::varchar, 'NULL')
            || ' in this store')
        when count(v) = 0 then error('nearest: item ' || item
            || ' has no vector of this modality')
        when any_value(isnan(array_cosine_similarity(v, v))) then error('nearest: the vector of '
            || 'item ' || item || ' is zero or not finite')
        else any_value(v) end as v
    from found where item_id = item::varchar
),
compared as materialized (
    select item_id, array_cosine_similarity(v, (select v from wanted)) as similarity
    from found where item_id <> item::varchar
),
enough as (
    select min(similarity) as least from (
        select similarity from compared where not isnan(similarity)
        order by similarity desc limit k
    )
)
select item_id, similarity from compared
where not isnan(similarity) and similarity >= (select least from enough)
    and (select v is not null from wanted)  -- else no item at all would mean no error
order by similarity desc, {hash}(item_id) limit k
"""


def add_macros(connection: duckdb.DuckDBPyConnection, views: Sequence[View]) -> None:
    """Make the macros in a connection that has the views."""
    connection.create_function(HASH, _hashed, ["VARCHAR"], "UBIGINT", type="arrow")  # type: ignore[call-overload]
    connection.execute(COSINE)
    connection.execute(_nearest([view for view in views if view.modalities]))


def _hashed(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    """(n,) uint64 of n ids, by which items of one similarity are ordered."""
    return pa.array(hashes(ids))


def _nearest(stores: Sequence[View]) -> str:
    """The statement that makes ``nearest``; without ``modality`` it takes a store's first."""
    queries: dict[str, str] = {}
    for store in stores:
        for modality in ("", *store.modalities):
            column = quoted_name(modality or store.modalities[0])
            table = f"memory.main.{quoted_name(store.name)}"  # which no CTE of a query hides
            key = f"{store.name}/{modality}".lower()  # no name of a file has a slash in it
            queries[key] = f"select item_id, {column} as v from {table}"
    have = {s.name.lower(): f"{s.name} has {', '.join(s.modalities)} vectors" for s in stores}
    known = first_few([store.name for store in stores], 10) or "none"
    return NEAREST.format(
        k=K, hash=HASH, known=quoted(f"; known: {known}"),
        keys=_texts(queries), queries=_texts(queries.values()),
        stores=_texts(have), have=_texts(have.values()),
    )  # fmt: skip


def _texts(values: Iterable[str]) -> str:
    return f"[{', '.join(map(quoted, values))}]::varchar[]"
