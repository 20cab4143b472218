"""New stores of rows of finished ones: several merged, or one filtered. Nothing is encoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.atomic import Claim, claimed
from mmx.bounds import check_options, whole
from mmx.cache.kind import STORE
from mmx.cache.merge import ROW_GROUP, RowSource, merge
from mmx.cache.plan import locate
from mmx.cache.schema import metadata, store_schema
from mmx.cache.store import Store, open_store, read_through
from mmx.data.csvs.format import PLAIN, CsvFormat, refuse_unused
from mmx.data.dataset import ON_UNKNOWN
from mmx.data.id_lists import read_ids
from mmx.data.vocabulary import repeated
from mmx.errors import OptionError, QueryError, StoreError, first_few, first_line, one_of
from mmx.files import as_path, as_paths

KEPT = ("last", "first", "error")  # what happens to an item that several stores hold


@dataclass(frozen=True)
class Target:
    """Where a new store goes, and how it is laid out."""

    path: Path
    overwrite: bool = False
    max_file_rows: int | None = None  # rows of one file; mmx.cache.merge.MAX_FILE_ROWS when None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", as_path(self.path))

    @contextmanager
    def claimed(self) -> Iterator[Claim]:
        """Hold the place for this process; raises before any work, see ``mmx.atomic.claimed``."""
        check_options(self, max_file_rows=whole(1))
        with claimed(self.path, STORE, overwrite=self.overwrite) as claim:
            if self.path.with_name(f"{self.path.name}.parts").exists():
                raise StoreError(
                    f"there is an unfinished extraction next to {self.path}; finish it by the same "
                    "`mmx extract`, or set --out elsewhere"
                )
            yield claim


def unite(
    paths: Sequence[Path | str],
    target: Target,
    duplicates: str = "last",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write the rows of several stores of one encoder as one store; the number of its rows.

    Items are in the order of their first appearance. Of an item that occurs several times,
    ``duplicates`` keeps the "last" or the "first" row; "error" refuses. Raises StoreError when
    the stores are of different encoders or precisions of storage.
    """
    one_of("--on-duplicate", duplicates, KEPT)
    paths = as_paths(paths)
    with target.claimed() as claim:
        stores = [open_store(path) for path in paths]
        for other in stores[1:]:
            _one_encoder(stores[0], other)
        source = _source(stores)
        finished = source.columns(["item_id"])
        ids = pc.unique(finished["item_id"])
        twice = repeated(finished["item_id"]) if duplicates == "error" else []
        if twice:
            raise StoreError(
                f"{len(twice)} items occur more than once ({first_few(twice)}); "
                "--on-duplicate first or last keeps one row of each"
            )
        if duplicates == "first":
            rows = pc.index_in(ids, value_set=finished["item_id"]).to_numpy().astype(np.int64)
        else:
            rows = locate(pa.chunked_array([ids]), finished)
        _write(claim, target.max_file_rows, stores, source, rows, progress)
        return len(rows)


def filter_store(
    path: Path | str,
    target: Target,
    *,
    where: str | Sequence[str] = (),
    items: Path | str | None = None,
    csv: CsvFormat = PLAIN,
    unknown: str = "error",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[int, int]:
    """Write the rows that meet all conditions and are listed, in the store's order.

    ``where`` is a SQL condition, or several, over the store's columns; ``items`` is a file of
    item ids (see ``read_ids``), written as ``csv`` says. ``unknown`` says what a listed item
    means that the store lacks: "error" or "drop". Returns how many rows are written and how many
    listed items were dropped. Raises QueryError when DuckDB refuses a condition and StoreError
    when no row is left.
    """
    path, items = as_path(path), None if items is None else as_path(items)
    if not where and items is None:
        raise OptionError("say which rows: --where CONDITION, --items FILE, or both")
    conditions = [where] if isinstance(where, str) and where else where
    if not all(condition.strip() for condition in conditions):
        raise OptionError('--where is empty; give a condition such as "text is not null"')
    one_of("--unknown-items", unknown, ON_UNKNOWN)
    if items is None and unknown != "error":
        raise OptionError("--unknown-items needs --items; give both or neither")
    refuse_unused(csv, [items] if items else [])
    with target.claimed() as claim:
        store = open_store(path)
        source = _source([store])
        chosen, dropped = np.ones(store.rows, dtype=bool), 0
        for condition in conditions:
            chosen &= _meeting(store, condition)
        if items is not None:
            wanted, ids = read_ids(items, csv), source.columns(["item_id"])["item_id"]
            listed, dropped = _listed(ids, wanted.unique(), items, path, unknown)
            chosen &= listed
        if not chosen.any():
            raise StoreError(f"no row of {path} is left; widen --where or --items")
        _write(claim, target.max_file_rows, [store], source, np.flatnonzero(chosen), progress)
        return int(chosen.sum()), dropped


def _one_encoder(first: Store, other: Store) -> None:
    """Raise StoreError unless the rows of both can be in one store."""
    if first.card.modalities != other.card.modalities:
        names = [", ".join(store.card.modalities) for store in (first, other)]
        raise StoreError(
            f"{first.path} holds {names[0]}, {other.path} holds {names[1]}: a store is of one "
            "encoder; leave them apart and give each to `mmx train` as --features"
        )
    differing = first.card.differences(other.card)
    if differing:
        raise StoreError(
            f"{first.path} ({first.card.name}) and {other.path} ({other.card.name}) differ in "
            f"{', '.join(differing)}: their vectors cannot be compared; extract one of them again"
        )
    if first.dtype != other.dtype:
        raise StoreError(
            f"{first.path} holds {first.dtype}, {other.path} {other.dtype}; "
            f"extract one of them again with --dtype"
        )


def _meeting(store: Store, where: str) -> np.ndarray:
    """(rows,) bool: where the condition holds."""
    numbered = store.sql("file_index as mmx_file", "file_row_number as mmx_row")
    with duckdb.connect() as connection:
        try:
            found = connection.sql(
                f"select mmx_file, mmx_row from ({numbered}) where ({where}\n)"
            ).to_arrow_table()
        except duckdb.Error as error:
            for file in store.files:  # the condition may be right, and the store damaged
                read_through(file)
            columns = ", ".join(store_schema(store.card, store.dtype).names)
            raise QueryError(f"--where: {first_line(error)}; columns: {columns}") from error
    starts = np.cumsum([0, *store.file_rows])
    chosen = np.zeros(store.rows, dtype=bool)
    chosen[starts[found["mmx_file"].to_numpy()] + found["mmx_row"].to_numpy()] = True
    return chosen


def _listed(
    ids: pa.ChunkedArray, wanted: pa.Array, items: Path, path: Path, unknown: str
) -> tuple[np.ndarray, int]:
    """(rows,) bool: which ids are in the file; and how many of the file the store lacks."""
    lost = wanted.filter(pc.invert(pc.is_in(wanted, value_set=pc.unique(ids))))
    if len(lost) and unknown == "error":
        raise StoreError(
            f"{items} lists {len(lost)} items that {path} lacks ({first_few(lost.to_pylist())}); "
            "take them out, or --unknown-items drop"
        )
    return pc.is_in(ids, value_set=wanted).to_numpy().astype(bool), len(lost)


def _source(stores: Sequence[Store]) -> RowSource:
    files = [file for store in stores for file in store.files]
    return RowSource(files, store_schema(stores[0].card, stores[0].dtype))


def _write(
    claim: Claim,
    max_file_rows: int | None,
    stores: Sequence[Store],
    source: RowSource,
    rows: np.ndarray,
    progress: Callable[[int, int], None],
) -> None:
    """Write the rows as a store, which does not belong to an items table."""
    facts = metadata(stores[0].card, stores[0].dtype, "")
    facts["mmx.versions"] = json.dumps(_versions(stores), sort_keys=True)
    merge(
        claim, source, rows, facts, block=ROW_GROUP, max_file_rows=max_file_rows,
        progress=lambda done: progress(done, len(rows)),
    )  # fmt: skip


def _versions(stores: Sequence[Store]) -> dict[str, str]:
    """The library versions the rows were made with; several where the stores disagree."""
    names = sorted({name for store in stores for name in store.versions})
    return {
        name: " and ".join(sorted({s.versions[name] for s in stores if name in s.versions}))
        for name in names
    }
