"""Open a finished embedding store, and read vectors from it by item id."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmx.atomic import set_aside
from mmx.cache.attach import attach
from mmx.cache.card import EncoderCard
from mmx.cache.schema import OK, status_columns, store_schema
from mmx.errors import StoreError
from mmx.files import Place, readable, size_of, where


@dataclass(frozen=True)
class Store:
    """A finished store: one Parquet file, or a directory of them under one name."""

    path: Place
    files: tuple[Place, ...]
    card: EncoderCard
    dtype: str  # "float32" or "float16"
    rows: int
    items_fingerprint: str
    versions: dict[str, str]
    file_rows: tuple[int, ...] = ()  # rows of each file

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(map(size_of, self.files))

    def relation(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """The store as a DuckDB relation."""
        attach(connection, self.files)
        return connection.read_parquet([str(file) for file in self.files])

    def sql(self, *more: str) -> str:
        """A DuckDB query of all rows, ``more`` columns behind their own.

        Vectors become arrays there, so that DuckDB's array_* functions take them. The connection
        needs ``attach`` for the files where they are elsewhere.
        """
        arrays = ", ".join(f"{m}::float[{d}] as {m}" for m, d in self.card.dimensions.items())
        files = ", ".join(quoted(str(file)) for file in self.files)
        columns = ", ".join([f"* replace ({arrays})", *more])
        return f"select {columns} from read_parquet([{files}])"

    def vectors(self, modality: str, ids: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of the ids, joined by item_id in DuckDB.

        Returns (n, d) float32, zero where there is no vector, and (n,) bool which says where
        there is one. Raises StoreError when the store has no such modality.
        """
        if modality not in self.card.dimensions:
            have = ", ".join(self.card.dimensions)
            raise StoreError(f"{self.path} has no {modality} vectors; it has {have}")
        d = self.card.dimensions[modality]
        matrix = np.zeros((len(ids), d), dtype=np.float32)
        present = np.zeros(len(ids), dtype=bool)
        with duckdb.connect() as connection:
            place = pa.array(np.arange(len(ids)))
            connection.register("wanted", pa.table({"item_id": ids, "place": place}))
            self.relation(connection).create_view("store")
            reader = connection.sql(
                f"select place, {modality}::float[{d}] as vector "
                f"from store join wanted using (item_id) where {modality} is not null"
            ).to_arrow_reader()
            for batch in reader:
                rows = batch["place"].to_numpy()
                matrix[rows] = batch["vector"].flatten().to_numpy().reshape(-1, d)
                present[rows] = True
        return matrix, present

    def status_counts(self) -> dict[str, dict[str, int]]:
        """How often each status stands in each status column."""
        counts = {}
        with duckdb.connect() as connection:
            self.relation(connection).create_view("store")
            for name in status_columns(self.card):
                rows = connection.sql(
                    f"select coalesce({name}, 'null') as status, count(*) from store group by 1 "
                    f"order by status != '{OK}', count(*) desc, status"
                ).fetchall()
                counts[name.removesuffix("_status")] = dict(rows)
        return counts

    def batches(self, rows: int = 4096) -> Iterator[pa.RecordBatch]:
        """All rows, at most ``rows`` at a time; one row group is in memory."""
        for file in self.files:
            with readable(file) as source, pq.ParquetFile(source) as opened:
                for group in range(opened.num_row_groups):
                    yield from opened.read_row_group(group).to_batches(max_chunksize=rows)

    def verify(self) -> list[str]:
        """Re-read every vector; the problems found, none when the store is sound."""
        found: Counter[str] = Counter()
        for batch in self.batches():
            for problem, rows in _problems(batch, self.card):
                found[problem] += rows
        problems = [f"{rows} {problem}" for problem, rows in found.items() if rows]
        with duckdb.connect() as connection:
            self.relation(connection).create_view("store")
            distinct = connection.sql("select count(distinct item_id) from store").fetchall()
        if distinct[0][0] != self.rows:
            problems.append("some item_id occurs more than once")
        return problems


def open_store(path: Place | str) -> Store:
    """Open a store by its path or URL.

    Raises StoreError when it is absent, unreadable or not one of ours.
    """
    path = where(path)
    files = _files(path)
    try:
        footers = [footer(file) for file in files]
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{path} is unreadable: {str(error).splitlines()[0].rstrip('.')}; "
            "run `mmx extract` again with --overwrite"
        ) from error
    meta = _own(footers[0])
    if "mmx.card" not in meta:
        raise StoreError(f"{path} is Parquet but no embedding store; make one with `mmx extract`")
    card = EncoderCard.from_json(meta["mmx.card"])
    dtype = meta.get("mmx.dtype", "float32")
    absent = set(store_schema(card, dtype).names) - set(footers[0].schema.to_arrow_schema().names)
    if absent:
        raise StoreError(f"{path} lacks its columns {', '.join(sorted(absent))}; extract it anew")
    shared = ("mmx.card", "mmx.dtype", "mmx.rows")
    if any(_own(other).get(key) != meta.get(key) for other in footers for key in shared):
        raise StoreError(f"the files in {path} are of different stores; extract it anew")
    rows = sum(one.num_rows for one in footers)
    if rows != int(meta.get("mmx.rows", rows)):
        raise StoreError(
            f"{path} has lost files: {rows} of {meta['mmx.rows']} rows are there; restore them, "
            "or run `mmx extract` again with --overwrite"
        )
    versions = json.loads(meta.get("mmx.versions", "{}"))
    counts = tuple(one.num_rows for one in footers)
    return Store(path, files, card, dtype, rows, meta.get("mmx.items", ""), versions, counts)


def footer(file: Place) -> pq.FileMetaData:
    """What a Parquet file says of itself."""
    with readable(file) as source:
        return pq.read_metadata(source)


def is_store(path: Place) -> bool:
    """Whether the path can be opened as a store."""
    try:
        open_store(path)
    except StoreError:
        return False
    return True


def quoted(text: str) -> str:
    """A string as one writes it in SQL."""
    return "'" + text.replace("'", "''") + "'"


def _own(found: pq.FileMetaData) -> dict[str, str]:
    """Our own entries of a file's metadata."""
    entries = (found.metadata or {}).items()
    return {key.decode(): value.decode() for key, value in entries if key.startswith(b"mmx.")}


def _files(path: Place) -> tuple[Place, ...]:
    if path.is_file():
        return (path,)
    if path.is_dir():
        files = tuple(path / name for name in sorted(f.name for f in path.glob("*.parquet")))
        if not files:
            raise StoreError(f"{path} is a directory without Parquet files, not a store")
        return files
    raise StoreError(f"no store at {path}; {_mend_absence(path)}")


def _mend_absence(path: Place) -> str:
    if not isinstance(path, Path):
        return "make it by `mmx extract`"
    if set_aside(path).exists():  # killed while a folder was replaced, where nothing can swap
        return f"a kill left the old one at {set_aside(path)}: rename it back"
    unfinished = path.with_name(f"{path.name}.parts").exists()
    return "finish it by the same `mmx extract`" if unfinished else "make it by `mmx extract`"


def _problems(batch: pa.RecordBatch, card: EncoderCard) -> Iterator[tuple[str, int]]:
    """What can be wrong with rows, and how many of these it is."""
    for modality, d in card.dimensions.items():
        column = batch[modality]
        there = column.is_valid().to_numpy(zero_copy_only=False)
        said = pc.equal(batch[f"{modality}_status"], OK).to_numpy(zero_copy_only=False)
        yield f"rows whose {modality}_status contradicts {modality}", int((there != said).sum())
        values = column.drop_null().flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        vectors = values.reshape(-1, d)
        finite = np.isfinite(vectors).all(axis=1)
        yield f"{modality} vectors not finite", int((~finite).sum())
        norms = np.linalg.norm(vectors, axis=1)
        if card.normalised:
            off = np.abs(norms - 1) > 5e-3
            yield f"{modality} vectors not of norm 1 although the card says so", int(off.sum())
        yield f"{modality} vectors are zero", int((norms == 0).sum())
