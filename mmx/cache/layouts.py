"""The folders in which other tools keep vectors, opened; ``export`` says how they look."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmx.cache.export import MISSED, MMREC, SHORT, embeddings_folder
from mmx.cache.matrices import Matrix, open_npy, open_safetensors
from mmx.cache.modality import in_order, names_fault
from mmx.data.columns import id_column
from mmx.data.csvs.format import PLAIN, CsvFormat, is_csv, refuse_unused
from mmx.data.csvs.reader import read_csv
from mmx.data.id_lists import read_lines
from mmx.data.tables import require
from mmx.errors import StoreError, first_line

T = TypeVar("T")
KNOWN = {  # columns of a store that a table of ids may have too, apart from statuses
    "text_tokens": pa.int32(),
    "text_truncated": pa.bool_(),
    "content_hash": pa.string(),
}


@dataclass
class VectorFiles:
    """A table of ids and the matrices whose rows belong to it."""

    rows: pa.Table  # item_id, and what else of a store's columns is known
    matrices: dict[str, Matrix]
    missing: dict[str, np.ndarray] = field(default_factory=dict)  # modality → row numbers


def _npy(folder: Path, id_name: str | None, csv: CsvFormat) -> list[VectorFiles]:
    """image.npy, NAME.npy … and a table of ids."""
    visible = [path for path in folder.glob("*.npy") if not path.name.startswith(".")]
    files = _named({path.stem: path for path in visible}, folder)
    return [VectorFiles(_ids(folder, id_name, csv), {m: _vectors(p) for m, p in files.items()})]


def _safetensors(folder: Path, id_name: str | None, csv: CsvFormat) -> list[VectorFiles]:
    """One .safetensors file and a table of ids."""
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        raise StoreError(f"{folder} holds {len(files)} .safetensors files; one is expected")
    found = _named(open_safetensors(files[0]), files[0])
    return [VectorFiles(_ids(folder, id_name, csv), found)]


def _mmrec(folder: Path, id_name: str | None, csv: CsvFormat) -> list[VectorFiles]:
    """MMRec's features and its item map: row n belongs to itemID n."""
    path = folder / "i_id_mapping.csv"
    rows = pa.table({"item_id": _id_map(path, id_name, csv)})
    missing = {m: _numbers(p) for m, n in MISSED.items() if (p := folder / n).exists()}
    if (folder / "ids.parquet").exists():  # which ``export`` adds to MMRec's own files
        known = _rows(folder / "ids.parquet", None, PLAIN)
        if not known["item_id"].equals(rows["item_id"]):
            raise StoreError(f"{path} and ids.parquet name other items; delete ids.parquet")
        rows = known
    matrices = {m: open_npy(p) for m, n in MMREC.items() if (p := folder / n).exists()}
    return [VectorFiles(rows, matrices, missing)]


def _embeddings(folder: Path, id_name: str | None, csv: CsvFormat) -> list[VectorFiles]:
    """Folders of numbered files, as clip-retrieval writes them."""
    tables = _numbered(folder / "metadata", "parquet")
    refuse_unused(csv, list(tables.values()))
    long = {short: name for name, short in SHORT.items()}
    names = [path.name.removesuffix("_emb") for path in folder.glob("?*_emb")]
    found = {long.get(n, n): _numbered(folder / f"{n}_emb", "npy") for n in names}
    found = _named({m: files for m, files in found.items() if files}, folder)
    if not tables or any(files.keys() != tables.keys() for files in found.values()):
        counts = {
            "metadata": len(tables),
            **{embeddings_folder(m): len(f) for m, f in found.items()},
        }
        listed = ", ".join(f"{number} in {name}" for name, number in counts.items())
        raise StoreError(f"{folder}: the numbered files do not match ({listed}); copy it again")
    return [
        VectorFiles(
            _rows(path, id_name, csv), {m: open_npy(files[number]) for m, files in found.items()}
        )
        for number, path in sorted(tables.items())
    ]


READERS: dict[str, Callable[[Path, str | None, CsvFormat], list[VectorFiles]]] = {
    "npy": _npy,
    "safetensors": _safetensors,
    "mmrec": _mmrec,
    "embeddings": _embeddings,
}


def _named(found: dict[str, T], path: Path) -> dict[str, T]:
    """By modality, in store order. Raises StoreError when a name is not valid."""
    fault = names_fault(found)
    if fault:
        raise StoreError(f"{path}: {fault}; rename it, or move it elsewhere")
    return {name: found[name] for name in in_order(found)}


def _vectors(path: Path) -> Matrix:
    try:
        return open_npy(path)
    except StoreError as error:
        hint = "each NAME.npy must hold vectors; move other files elsewhere"
        raise StoreError(f"{error}; {hint}") from error


def _numbered(folder: Path, suffix: str) -> dict[int, Path]:
    """Files by the number at the end of their names."""
    found = {path: re.search(r"(\d+)$", path.stem) for path in folder.glob(f"*.{suffix}")}
    return {int(match[1]): path for path, match in found.items() if match}


def _id_map(path: Path, id_name: str | None, csv: CsvFormat) -> pa.ChunkedArray:
    """External ids in the order of their itemID, which must count from 0 on."""
    table = read_csv(path, _tab_or_comma(path, csv), text=None)
    others = [name for name in table.column_names if name != "itemID"]
    name = id_name or (others[0] if others else "asin")
    require(table, (name, "itemID"), path)
    try:
        numbers = table["itemID"].cast(pa.int64()).to_numpy()
    except pa.ArrowException as error:
        raise StoreError(f"{path}: itemID: {first_line(error)}") from error
    order = np.argsort(numbers)
    if not np.array_equal(numbers[order], np.arange(len(order))):
        raise StoreError(f"{path}: itemID must count from 0 to {len(order) - 1}")
    return id_column(table, name, path).take(order)


def _tab_or_comma(path: Path, csv: CsvFormat) -> CsvFormat:
    """MMRec writes tabs into a file that is called .csv."""
    if csv.delimiter is not None or not path.is_file():
        return csv
    with path.open(encoding=csv.encoding or "utf-8", errors="replace") as file:
        return replace(csv, delimiter="\t") if "\t" in file.readline() else csv


def _numbers(path: Path) -> np.ndarray:
    try:
        return np.array([int(line) for line in read_lines(path) if line], dtype=np.int64)
    except ValueError as error:
        raise StoreError(f"{path}: {error}; one itemID a line is expected") from error


def _ids(folder: Path, id_name: str | None, csv: CsvFormat) -> pa.Table:
    """ids.parquet, ids.csv, or ids.txt with one id a line."""
    names = ("ids.parquet", "ids.csv", "ids.txt")
    path = next((folder / name for name in names if (folder / name).exists()), None)
    if path is None:
        raise StoreError(
            f"{folder} holds no ids.parquet, ids.csv or ids.txt; one must name the items"
        )
    refuse_unused(csv, [path])
    if path.suffix != ".txt":
        return _rows(path, id_name, csv)
    table = pa.table({"item_id": pa.array(read_lines(path, csv), pa.string())})
    return pa.table({"item_id": id_column(table, "item_id", path)})


def _rows(path: Path, id_name: str | None, csv: CsvFormat) -> pa.Table:
    """The ids of a table, as text, and those of its columns that a store has."""
    name = id_name or "item_id"
    try:
        table = _csv(path, name, csv) if is_csv(path) else _parquet(path, name)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path} is unreadable: {first_line(error)}") from error
    if name not in table.column_names:
        raise StoreError(
            f"{path} has no column {name}; --ids names the one that holds the ids: "
            f"{', '.join(table.column_names)}"
        )
    known = [n for n in table.column_names if n != name and table[n].type == _kind(n)]
    return pa.table({"item_id": id_column(table, name, path), **{n: table[n] for n in known}})


def _kind(name: str) -> pa.DataType | None:
    """The type of a store's column that a table of ids may have as well; None for others."""
    return pa.string() if name.endswith("_status") else KNOWN.get(name)


def _csv(path: Path, name: str, csv: CsvFormat) -> pa.Table:
    """All columns as text, those of a store in its types."""
    table = read_csv(path, csv, text=None)
    for known in set(KNOWN) & set(table.column_names) - {name}:
        column = table[known].cast(KNOWN[known])
        table = table.set_column(table.column_names.index(known), known, column)
    return table


def _parquet(path: Path, name: str) -> pa.Table:
    schema = pq.read_schema(path)
    if name not in schema.names:
        return schema.empty_table()
    columns = [name, *(n for n in schema.names if n != name and _kind(n))]
    return pq.read_table(path, columns=columns, page_checksum_verification=True)
