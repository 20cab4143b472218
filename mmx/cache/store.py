"""Open a finished embedding store, and read vectors from it by item id."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmx.cache.card import EncoderCard
from mmx.cache.schema import OK, status_columns, store_schema
from mmx.errors import StoreError


@dataclass(frozen=True)
class Store:
    """A finished store: one Parquet file, or a directory of them under one name."""

    path: Path
    files: tuple[Path, ...]
    card: EncoderCard
    dtype: str  # "float32" or "float16"
    rows: int
    items_fingerprint: str
    versions: dict[str, str]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.files)

    def relation(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """The store as a DuckDB relation."""
        return connection.read_parquet([str(file) for file in self.files])

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
        for name in status_columns(self.card):
            values = pa.chunked_array(
                [c for f in self.files for c in pq.read_table(f, columns=[name])[name].chunks]
                or [pa.array([], pa.string())]
            )
            pairs = pc.value_counts(values).to_pylist()
            ranked = sorted(pairs, key=lambda p: (p["values"] != OK, -p["counts"], p["values"]))
            counts[name.removesuffix("_status")] = {p["values"]: p["counts"] for p in ranked}
        return counts

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, a row group at a time."""
        for file in self.files:
            yield from pq.ParquetFile(file).iter_batches()

    def verify(self) -> list[str]:
        """Re-read every vector; the problems found, none when the store is sound."""
        problems = [p for batch in self.batches() for p in _problems(batch, self.card)]
        ids = pa.chunked_array([b["item_id"] for b in self.batches()] or [pa.array([], "string")])
        if pc.count_distinct(ids).as_py() != len(ids):
            problems.append("some item_id occurs more than once")
        return problems


def open_store(path: Path | str) -> Store:
    """Open a store. Raises StoreError when it is absent, unreadable or not one of ours."""
    path = Path(path)
    files = _files(path)
    try:
        footers = [pq.ParquetFile(file) for file in files]
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{path} is unreadable: {str(error).splitlines()[0].rstrip('.')}; "
            "run `mmx extract` again with --overwrite"
        ) from error
    meta = {k.decode(): v.decode() for k, v in (footers[0].metadata.metadata or {}).items()
            if k.startswith(b"mmx.")}  # fmt: skip
    if "mmx.card" not in meta:
        raise StoreError(f"{path} is Parquet but no embedding store; make one with `mmx extract`")
    card = EncoderCard.from_json(meta["mmx.card"])
    dtype = meta.get("mmx.dtype", "float32")
    absent = set(store_schema(card, dtype).names) - set(footers[0].schema_arrow.names)
    if absent:
        raise StoreError(f"{path} lacks its columns {', '.join(sorted(absent))}; extract it anew")
    rows = sum(footer.metadata.num_rows for footer in footers)
    versions = json.loads(meta.get("mmx.versions", "{}"))
    return Store(path, files, card, dtype, rows, meta.get("mmx.items", ""), versions)


def is_store(path: Path) -> bool:
    """Whether the path can be opened as a store."""
    try:
        open_store(path)
    except StoreError:
        return False
    return True


def _files(path: Path) -> tuple[Path, ...]:
    if path.is_dir():
        files = tuple(sorted(path.glob("*.parquet")))
        if not files:
            raise StoreError(f"{path} is a directory without Parquet files, not a store")
        return files
    if not path.exists():
        unfinished = path.with_name(f"{path.name}.parts").exists()
        mend = "finish it by the same `mmx extract`" if unfinished else "make it by `mmx extract`"
        raise StoreError(f"no store at {path}; {mend}")
    return (path,)


def _problems(batch: pa.RecordBatch, card: EncoderCard) -> Iterator[str]:
    for modality, d in card.dimensions.items():
        column = batch[modality]
        there = column.is_valid().to_numpy(zero_copy_only=False)
        said = pc.equal(batch[f"{modality}_status"], OK).to_numpy(zero_copy_only=False)
        if (there != said).any():
            count = int((there != said).sum())
            yield f"{count} rows whose {modality}_status contradicts {modality}"
        values = column.drop_null().flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        vectors = values.reshape(-1, d)
        if not np.isfinite(vectors).all():
            yield f"{int((~np.isfinite(vectors)).any(axis=1).sum())} {modality} vectors not finite"
        norms = np.linalg.norm(vectors, axis=1)
        if card.normalised and np.abs(norms - 1).max(initial=0) > 5e-3:
            yield f"{modality} vectors not of norm 1 although the card says normalised"
        if (norms == 0).any():
            yield f"{int((norms == 0).sum())} {modality} vectors are zero"
