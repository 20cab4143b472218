"""Which SQL is allowed: one statement that only reads.

DuckDB's settings are not enough: a directory that may be read may be written too, ``EXPLAIN
ANALYZE COPY`` copies, and so does ``WITH x AS (COPY … TO …) SELECT 1``, which DuckDB calls a
SELECT. So DuckDB's own parser gives the tree of the statement (``json_serialize_sql``), and every
node and every table function in it must be known here. SHOW, DESCRIBE, SUMMARIZE, UNPIVOT and a
PIVOT over named values are such trees. EXPLAIN is taken off before and put back after. A PIVOT over
values not known yet has no tree; its text may not contain any word of a statement that writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

from mmx.errors import QueryError
from mmx.kinds import must_be

NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
LOOKING = {  # table functions that only compute, or list the views
    *("range", "generate_series", "unnest", "repeat", "repeat_row", "summary", "histogram"),
    *("histogram_values", "json_each", "json_tree", "duckdb_columns", "duckdb_functions"),
    *("duckdb_keywords", "duckdb_tables", "duckdb_types", "duckdb_schemas", "pragma_version"),
    *("pragma_table_info", "pg_timezone_names"),
    *("icu_calendar_names", "test_all_types"),
    "nearest",  # our own, over attached stores
}
READING = {  # table functions that read the files they name, or say where files are
    *("duckdb_views", "duckdb_settings"),
    *("read_csv", "read_csv_auto", "sniff_csv", "read_parquet", "parquet_scan", "read_json"),
    *("read_json_auto", "read_json_objects", "read_json_objects_auto", "read_ndjson"),
    *("read_ndjson_auto", "read_ndjson_objects", "read_text", "read_blob", "glob"),
    *("parquet_metadata", "parquet_schema", "parquet_file_metadata", "parquet_kv_metadata"),
    *("parquet_full_metadata", "parquet_bloom_probe", "parquet_page_index"),
}
NEVER = {"write_log", "getenv", "nextval", "setval"}  # functions of a value that do more
GREEDY = {  # which can fill the memory, or sleep, past every limit
    *("repeat", "range", "generate_series", "lpad", "rpad", "list_resize", "array_resize"),
    *("sleep_ms", "printf", "format", "bar"),
}
HIDDEN = {"current_setting", "pg_settings"}  # which say where files are, as settings do
WRITING = {  # what could be in a PIVOT that has no tree
    *("alter", "attach", "call", "copy", "create", "delete", "detach", "drop", "execute"),
    *("export", "import", "insert", "install", "load", "merge", "pragma", "prepare", "set"),
    *("truncate", "update", "vacuum"),
}
DATABASES = (".db", ".duckdb", ".ddb")  # opening such a file may write it
HOW = "SELECT, PIVOT, DESCRIBE, SHOW, SUMMARIZE, and EXPLAIN of these"

_GAP = r"(?>\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*+"  # white space and comments, without going back
_OPTIONS = r"\(\s*((?:analyze|format)\b[\s\w,]*)\)"
_EXPLAIN = re.compile(
    rf"{_GAP}explain\b{_GAP}(?:(analyze|verbose)\b{_GAP})?(?:{_OPTIONS})?",
    re.IGNORECASE | re.DOTALL,
)
_PIVOT = re.compile(
    rf"{_GAP}[\s(]*(?:pivot|pivot_wider|with|select|from|describe|desc|summarize)\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Statement:
    """What may be run, and the names in it that may be files."""

    sql: str
    names: tuple[str, ...] = ()


def checked(
    connection: duckdb.DuckDBPyConnection, query: str, *, files: bool, views: set[str]
) -> Statement:
    """The query as it may be run.

    ``files`` says whether it may name files; ``views`` are names of views. Raises QueryError
    when it is not one statement, or one that does more than read; duckdb.Error when it is not
    SQL.
    """
    explain, rest = _without_explain(query)
    serialize = "select json_serialize_sql(?::varchar, skip_null := true, skip_empty := true)"
    try:
        tree = json.loads(connection.execute(serialize, [rest]).fetchall()[0][0])
    except RecursionError as error:
        raise QueryError("SQL: nested more than some 400 levels deep; use fewer") from error
    if tree["error"]:
        return _without_tree(connection, query, rest, files)
    if len(tree["statements"]) != 1:
        raise QueryError(f"SQL: {len(tree['statements'])} statements; give one")
    names = tuple(_inspected(tree, files, views))
    return Statement(explain + rest, names)


def _without_explain(query: str) -> tuple[str, str]:
    """``EXPLAIN …``, to be put back later, and the rest; empty where there is none."""
    must_be("query", query, str)
    found = _EXPLAIN.match(query)
    if not found:
        return "", query
    options = f"({found[2]}) " if found[2] else ""
    return f"explain {found[1] or ''} {options}", query[found.end() :]


def _inspected(tree: Any, files: bool, views: set[str]) -> Iterator[str]:
    """Names in the tree that may be files. Raises QueryError at what is not allowed."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            _check_node(node, files, views)
            yield from _names_in(node)
            pending.extend(_inside(node))
        elif isinstance(node, list):
            pending.extend(node)


def _names_in(node: dict[str, Any]) -> Iterator[str]:
    literal = node.get("literal")
    if isinstance(node.get("table_name"), str):
        yield node["table_name"]
    if isinstance(literal, dict) and literal.get("kind") == "STRING":
        yield str(literal.get("text", ""))


def _inside(node: dict[str, Any]) -> list[Any]:
    """The nodes below; of a table function its arguments, as its name is checked with it."""
    inner = dict(node)
    if node.get("type") == "TABLE_FUNCTION":
        inner["function"] = {**(node.get("function") or {}), "function_name": ""}
    return list(inner.values())


def _check_node(node: dict[str, Any], files: bool, views: set[str]) -> None:
    kind, name = str(node.get("type", "")), str(node.get("function_name", "")).lower()
    if kind.endswith("_NODE") and kind not in NODES:
        raise _refusal(kind.removesuffix("_NODE").removesuffix("_QUERY"), files)
    if kind == "TABLE_FUNCTION":
        called = str((node.get("function") or {}).get("function_name", "")).lower()
        if called not in LOOKING | (READING if files else set()):
            raise _refusal(f"{called}()", files)
    if name in NEVER or (not files and name in GREEDY | HIDDEN):
        raise _refusal(f"{name}()", files)
    table = str(node.get("table_name", "")).lower()
    if not files and table in HIDDEN:
        raise _refusal(table, files)
    if kind == "BASE_TABLE" and table.endswith(DATABASES) and table not in views:
        raise _refusal(f"the database file {table}", files)


def _without_tree(
    connection: duckdb.DuckDBPyConnection, query: str, rest: str, files: bool
) -> Statement:
    """What cannot be serialised: refused, except a PIVOT over values not known yet."""
    kinds = [statement.type.name for statement in connection.extract_statements(query)]
    if len(kinds) != 1:
        raise QueryError(f"SQL: {len(kinds) or 'no'} statements; give one")
    if kinds != ["MULTI"] or not _PIVOT.match(rest):
        names = {"EXPLAIN": "EXPLAIN of anything else", "MULTI": "anything around a PIVOT"}
        raise _refusal(names.get(kinds[0], kinds[0].replace("_", " ")), files)
    there = "select distinct function_name from duckdb_functions() where function_type = 'table'"
    functions = {str(row[0]).lower() for row in connection.execute(there).fetchall()}
    allowed = LOOKING | (READING if files else set())
    words = {*WRITING, *NEVER, *(functions - allowed), *(() if files else GREEDY | HIDDEN)}
    for word in re.findall(r"\w+", query.lower()):
        if word in words or word in ("db", "duckdb", "ddb"):
            raise QueryError(
                f"SQL: a PIVOT over all values may not contain the word {word}, not even as a "
                "name; list the values: PIVOT … ON column IN (…)"
            )
    return Statement(query)


def _refusal(what: str, files: bool) -> QueryError:
    fix = "; --unsafe takes any SQL" if files else ""
    return QueryError(f"SQL: {what} is not allowed; what reads is: {HOW}{fix}")
