"""Open a finished embedding store, and read vectors from it by item id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmx.cache.card import EncoderCard
from mmx.cache.decoding import decoding, opened, read_columns, read_group
from mmx.cache.joining import by_id
from mmx.cache.schema import OK, status_columns, store_schema
from mmx.cache.seal import read_footer
from mmx.data.quoting import quoted, quoted_name
from mmx.data.vocabulary import id_array
from mmx.errors import StoreError
from mmx.files import Place, as_place, parse_json, size_of
from mmx.kinds import must_be
from mmx.mapped import MEMORY, release
from mmx.renaming import set_aside

TEXTS = (pa.string(), pa.large_string(), pa.string_view(), pa.null())
LISTS = (pa.FixedSizeListType, pa.ListType, pa.LargeListType)  # what other tools make of vectors


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
    sealed: bool = False  # pages and footers carry checksums; without, flipped bits go unnoticed

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(map(size_of, self.files))

    def sql(self, *more: str) -> str:
        """A DuckDB query of all rows, ``more`` columns after their own.

        Vectors become arrays there, so that DuckDB's array_* functions take them. The connection
        needs ``attach`` for the files where they are remote.
        """
        names = {quoted_name(m): d for m, d in self.card.dimensions.items()}
        arrays = ", ".join(f"{name}::float[{d}] as {name}" for name, d in names.items())
        files = ", ".join(quoted(str(literal(file))) for file in self.files)
        columns = ", ".join([f"* replace ({arrays})", *more])
        return f"select {columns} from read_parquet([{files}])"

    def vectors(
        self,
        modality: str,
        ids: pa.Array | pa.ChunkedArray | Sequence[str],
        zeros: Callable[[int, int], np.ndarray] = MEMORY.zeros,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of the ids; the ids of one file and one row group are in memory.

        Returns (n, d) float32, zero where there is no vector, and (n,) bool which says where
        there is one. ``zeros`` makes the matrix (see ``mmx.mapped``). Raises StoreError when the
        store has no such modality, OptionError for ids that are not a list of texts, and
        DamagedError.
        """
        must_be("modality", modality, str)
        if modality not in self.card.dimensions:
            have = ", ".join(self.card.dimensions)
            raise StoreError(f"{self.path} has no {modality} vectors; it has {have}")
        wanted = id_array(ids)
        known = pc.unique(wanted)
        d = self.card.dimensions[modality]
        matrix = zeros(len(known), d)
        present = np.zeros(len(known), dtype=bool)
        for file in self.files:
            with opened(file, read_footer(file)[0]) as source:
                for rows, found in by_id(source, modality, d, known):
                    matrix[rows] = found
                    present[rows] = True
                    release(matrix)
        if len(known) == len(wanted):
            return matrix, present
        place = pc.index_in(wanted, value_set=known).to_numpy()  # some ids are repeated
        return matrix[place], present[place]

    def status_counts(self) -> dict[str, dict[str, int]]:
        """How often each status occurs in each status column, 'ok' first, then by number."""
        names = status_columns(self.card)
        found: dict[str, Counter[str]] = {name: Counter() for name in names}
        for file in self.files:
            with opened(file, read_footer(file)[0]) as source:
                table = read_columns(source, names)
            for name in names:
                for row in pc.value_counts(table[name].cast(pa.string())).to_pylist():
                    status = "null" if row["values"] is None else row["values"]
                    found[name][status] += row["counts"]
        return {name.removesuffix("_status"): _ordered(found[name]) for name in names}

    def batches(self, rows: int = 4096) -> Iterator[pa.RecordBatch]:
        """All rows, at most ``rows`` at a time; one row group is in memory."""
        for file in self.files:
            with opened(file, read_footer(file)[0]) as source:
                for group in range(source.num_row_groups):
                    yield from read_group(source, group).to_batches(max_chunksize=rows)

    def verify(self) -> list[str]:
        """Re-read everything; the problems found, an empty list where there are none.

        Raises DamagedError when bytes are not those that were written.
        """
        for file in self.files:
            with decoding(file), file.open("rb") as opened_file:
                if opened_file.read(4) != b"PAR1":
                    raise ValueError("its first bytes are not those of Parquet")
        found: Counter[str] = Counter()
        ids = []
        for batch in self.batches():
            ids.append(batch["item_id"].cast(pa.string()))
            for problem, rows in _problems(batch, self.card):
                found[problem] += rows
        problems = [f"{rows} {problem}" for problem, rows in found.items() if rows]
        if pc.count_distinct(pa.chunked_array(ids, pa.string())).as_py() != self.rows:
            problems.append("some item_id occurs more than once")
        return problems


def open_store(path: Place | str) -> Store:
    """Open a store by its path or URL.

    Raises StoreError when it is absent, unreadable or not one of ours, and DamagedError when its
    footer is not what was written.
    """
    path = as_place(path)
    files = _files(path)
    found = [read_footer(file) for file in files]
    footers = [footer for footer, _ in found]
    meta = own_entries(footers[0])
    if "mmx.card" not in meta:
        raise StoreError(
            f"{path} is Parquet but not an embedding store; make one with `mmx extract`"
        )
    shared = ("mmx.card", "mmx.dtype", "mmx.rows")
    if any(own_entries(other).get(key) != meta.get(key) for other in footers for key in shared):
        raise StoreError(f"the files in {path} are of different stores; extract it again")
    counts = tuple(footer.num_rows for footer in footers)
    with decoding(path):
        store = _store(path, files, meta, counts)
        whole = int(meta.get("mmx.rows", store.rows))
    for file, footer in zip(files, footers, strict=True):
        _check_columns(store, file, footer)
    if store.rows != whole:
        raise StoreError(
            f"{path} has lost files: {store.rows} of {whole} rows are there; restore them, "
            "or run `mmx extract` again with --overwrite"
        )
    return replace(store, sealed=all(sealed for _, sealed in found))


def _store(
    path: Place, files: tuple[Place, ...], meta: dict[str, str], counts: tuple[int, ...]
) -> Store:
    """The store that the metadata describes. Raises ValueError where it is wrong."""
    dtype, versions = meta.get("mmx.dtype", "float32"), parse_json(meta.get("mmx.versions", "{}"))
    if not isinstance(versions, dict) or not all(isinstance(v, str) for v in versions.values()):
        raise ValueError("mmx.versions in it is not an object of texts")
    try:
        card = EncoderCard.from_json(meta["mmx.card"])
        store_schema(card, dtype)
    except StoreError as error:
        raise ValueError(str(error)) from error
    return Store(path, files, card, dtype, sum(counts), meta.get("mmx.items", ""), versions, counts)


def _check_columns(store: Store, file: Place, footer: pq.FileMetaData) -> None:
    """Raise StoreError unless the file has each column of its card once, with a fitting type."""
    with decoding(file):
        schema = footer.schema.to_arrow_schema()
    own = store_schema(store.card, store.dtype)
    absent = set(own.names) - set(schema.names)
    if absent:
        raise StoreError(f"{file} lacks its columns {', '.join(sorted(absent))}; extract it again")
    twice = [name for name in own.names if schema.names.count(name) > 1]
    if twice:
        raise StoreError(f"{file} has the columns {', '.join(twice)} twice; extract it again")
    with decoding(file):
        for modality, d in store.card.dimensions.items():
            kind = schema.field(modality).type
            if not isinstance(kind, LISTS) or getattr(kind, "list_size", d) != d:
                raise ValueError(f"{modality} is {kind}, and of {d} numbers by the card")
            if not pa.types.is_floating(kind.value_type):
                raise ValueError(f"{modality} is {kind}, numbers with fractions are expected")
        for field in own:
            kind = schema.field(field.name).type
            if field.type == pa.string() and not _is_text(kind):
                raise ValueError(f"{field.name} is {kind}, text is expected")


def _is_text(kind: pa.DataType) -> bool:
    """Whether a column holds texts, as we write them or as another tool would."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return kind in TEXTS


def read_through(file: Place) -> None:
    """Read a store's file to its end. Raises DamagedError when it is not what was written."""
    with opened(file, read_footer(file)[0]) as source:
        for group in range(source.num_row_groups):
            read_group(source, group)


def is_store(path: Place) -> bool:
    """Whether the path can be opened as a store."""
    try:
        open_store(path)
    except StoreError:
        return False
    return True


def literal(path: Place) -> Place:
    """The path as a pattern of DuckDB that only it matches: ``a*b`` is a name too."""
    return Path(escape(str(path))) if isinstance(path, Path) else path


def own_entries(found: pq.FileMetaData) -> dict[str, str]:
    """Our own entries of a file's metadata."""
    entries = (found.metadata or {}).items()
    ours = ((key, value) for key, value in entries if key.startswith(b"mmx."))
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in ours}


def _files(path: Place) -> tuple[Place, ...]:
    if path.is_file():
        return (path,)
    if path.is_dir():
        files = tuple(path / name for name in sorted(f.name for f in path.glob("*.parquet")))
        if not files:
            raise StoreError(f"{path} is a directory without Parquet files, not a store")
        return files
    raise StoreError(f"no store at {path}; {_fix_absence(path)}")


def _fix_absence(path: Place) -> str:
    if not isinstance(path, Path):
        return "make it by `mmx extract`"
    if set_aside(path).exists():  # killed while a folder was replaced, on a system without swap
        return f"a kill left the old one at {set_aside(path)}; the same command puts it back"
    unfinished = path.with_name(f"{path.name}.parts").exists()
    return "finish it by the same `mmx extract`" if unfinished else "make it by `mmx extract`"


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda row: (row[0] != OK, -row[1], row[0])))


def _problems(batch: pa.RecordBatch, card: EncoderCard) -> Iterator[tuple[str, int]]:
    """What can be wrong with rows, and for how many of them it is."""
    for modality, d in card.dimensions.items():
        column = batch[modality]
        there = column.is_valid().to_numpy(zero_copy_only=False)
        statuses = batch[f"{modality}_status"].cast(pa.string())
        said = pc.fill_null(pc.equal(statuses, OK), False).to_numpy(zero_copy_only=False)
        yield f"rows whose {modality}_status contradicts {modality}", int((there != said).sum())
        values = column.drop_null().flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        vectors = values.reshape(-1, d)
        finite = np.isfinite(vectors).all(axis=1)
        yield f"{modality} vectors not finite", int((~finite).sum())
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.linalg.norm(vectors, axis=1)
        if card.normalised:
            off = np.abs(norms - 1) > 5e-3
            yield f"{modality} vectors not of norm 1 although the card says so", int(off.sum())
        yield f"{modality} vectors are zero", int((norms == 0).sum())
        large = finite & np.isinf(norms)
        yield f"{modality} vectors too large to sum their squares", int(large.sum())
