"""The folders in which other tools keep vectors, opened; ``export`` says how they look."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from mmx.cache.export import EMBEDDINGS, MISSED, MMREC
from mmx.cache.matrices import Matrix, open_npy, open_safetensors
from mmx.cache.schema import MODALITIES
from mmx.data.tables import id_column
from mmx.errors import StoreError

KNOWN = {  # columns of a store that a table of ids may have as well
    **{f"{modality}_status": pa.string() for modality in MODALITIES},
    "text_tokens": pa.int32(),
    "text_truncated": pa.bool_(),
    "content_hash": pa.string(),
}


@dataclass
class Piece:
    """Rows of one table and of the matrices beside it."""

    rows: pa.Table  # item_id, and what else of a store's columns is known
    matrices: dict[str, Matrix]
    missing: dict[str, np.ndarray] = field(default_factory=dict)  # modality → row numbers


def _npy(folder: Path, id_name: str | None) -> list[Piece]:
    """image.npy, text.npy … and a table of ids."""
    matrices = {m: open_npy(p) for m in MODALITIES if (p := folder / f"{m}.npy").exists()}
    return [Piece(_ids(folder, id_name), matrices)]


def _safetensors(folder: Path, id_name: str | None) -> list[Piece]:
    """One .safetensors file and a table of ids."""
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        raise StoreError(f"{folder} holds {len(files)} .safetensors files; one is expected")
    found = open_safetensors(files[0])
    return [Piece(_ids(folder, id_name), {m: found[m] for m in MODALITIES if m in found})]


def _mmrec(folder: Path, id_name: str | None) -> list[Piece]:
    """MMRec's features and its item map: row n belongs to itemID n."""
    path = folder / "i_id_mapping.csv"
    try:
        ids = _id_map(path, id_name)
        missing = {m: _numbers(p) for m, n in MISSED.items() if (p := folder / n).exists()}
    except (OSError, ValueError, IndexError) as error:
        raise StoreError(f"{path}: {error}; columns asin and itemID are expected") from error
    rows = pa.table({"item_id": pa.chunked_array([pa.array(ids, pa.string())])})
    if (folder / "ids.parquet").exists():  # beside MMRec's own files in what ``export`` writes
        known = _rows(folder / "ids.parquet", None)
        if not known["item_id"].equals(rows["item_id"]):
            raise StoreError(f"{path} and ids.parquet name other items; delete ids.parquet")
        rows = known
    matrices = {m: open_npy(p) for m, n in MMREC.items() if (p := folder / n).exists()}
    return [Piece(rows, matrices, missing)]


def _embeddings(folder: Path, id_name: str | None) -> list[Piece]:
    """Folders of numbered files, as clip-retrieval writes them."""
    tables = _numbered(folder / "metadata", "parquet")
    found = {m: _numbered(folder / name, "npy") for m, name in EMBEDDINGS.items()}
    found = {m: files for m, files in found.items() if files}
    if not tables or any(files.keys() != tables.keys() for files in found.values()):
        counts = {"metadata": len(tables), **{EMBEDDINGS[m]: len(f) for m, f in found.items()}}
        listed = ", ".join(f"{number} in {name}" for name, number in counts.items())
        raise StoreError(f"{folder}: the numbered files do not match ({listed}); copy it anew")
    return [
        Piece(_rows(path, id_name), {m: open_npy(files[number]) for m, files in found.items()})
        for number, path in sorted(tables.items())
    ]


READERS: dict[str, Callable[[Path, str | None], list[Piece]]] = {
    "npy": _npy,
    "safetensors": _safetensors,
    "mmrec": _mmrec,
    "embeddings": _embeddings,
}


def _numbered(folder: Path, suffix: str) -> dict[int, Path]:
    """Files by the number at the end of their names."""
    found = {path: re.search(r"(\d+)$", path.stem) for path in folder.glob(f"*.{suffix}")}
    return {int(match[1]): path for path, match in found.items() if match}


def _id_map(path: Path, id_name: str | None) -> list[str]:
    """External ids in the order of their itemID, which must count from 0 on."""
    with path.open(newline="", encoding="utf-8") as file:
        header = file.readline()
        delimiter = "\t" if "\t" in header else ","
        names = next(csv.reader([header.rstrip("\r\n")], delimiter=delimiter))
        rows = list(csv.reader(file, delimiter=delimiter))
    number = names.index("itemID")
    name = names.index(id_name) if id_name else 1 - min(number, 1)
    ids = {int(row[number]): row[name] for row in rows}
    if ids.keys() != set(range(len(rows))):
        raise ValueError(f"itemID must count from 0 to {len(rows) - 1}")
    return [ids[n] for n in range(len(rows))]


def _numbers(path: Path) -> np.ndarray:
    return np.array([int(line) for line in path.read_text().split()], dtype=np.int64)


def _ids(folder: Path, id_name: str | None) -> pa.Table:
    """ids.parquet, ids.csv, or ids.txt with one id a line."""
    for name in ("ids.parquet", "ids.csv"):
        if (folder / name).exists():
            return _rows(folder / name, id_name)
    path = folder / "ids.txt"
    if not path.exists():
        raise StoreError(f"{folder} holds no ids.parquet, ids.csv or ids.txt; say what items it is")
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    table = pa.table({"item_id": pa.array([line.removesuffix("\r") for line in lines])})
    return pa.table({"item_id": id_column(table, "item_id", path)})


def _rows(path: Path, id_name: str | None) -> pa.Table:
    """The ids of a table, as text, and those of its columns that a store has."""
    name = id_name or "item_id"
    try:
        table = _csv(path, name) if path.suffix == ".csv" else _parquet(path, name)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path} is unreadable: {str(error).splitlines()[0]}") from error
    if name not in table.column_names:
        raise StoreError(
            f"{path} has no column {name}; --ids names the one that holds the ids: "
            f"{', '.join(table.column_names)}"
        )
    known = [n for n, kind in KNOWN.items() if n in table.column_names and table[n].type == kind]
    return pa.table({"item_id": id_column(table, name, path), **{n: table[n] for n in known}})


def _csv(path: Path, name: str) -> pa.Table:
    text = pa.csv.ConvertOptions(column_types={name: pa.string()})  # 007 is no number
    return pa.csv.read_csv(path, convert_options=text)


def _parquet(path: Path, name: str) -> pa.Table:
    schema = pq.read_schema(path)
    if name not in schema.names:
        return schema.empty_table()
    columns = [n for n in (name, *KNOWN) if n in schema.names]
    return pq.read_table(path, columns=columns, page_checksum_verification=True)
