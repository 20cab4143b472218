"""What the column ``image`` holds where the table itself does not name files.

photos/12.jpg    found for item 12 in the folder of --images
12.*             no file there has that name
12.{jpg,png}     several are
#17              the bytes in row 17 of the Parquet table itself
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmx.data.columns import is_bytes
from mmx.errors import DataError
from mmx.files import Place, RemotePath, readable

EXTENSIONS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif")


def by_item_id(ids: pa.ChunkedArray, folder: Place) -> pa.ChunkedArray:
    """The picture of each item: the file in ``folder`` or below whose name is the id."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in _files(folder):
        stem, dot, extension = name.rpartition(".")
        if dot and extension.lower() in EXTENSIONS:
            found[stem].append(extension)
    return pa.chunked_array([pa.array([_named(i, found.get(i, ())) for i in ids.to_pylist()])])


def _named(item: str, extensions: list[str] | tuple[()]) -> str:
    if len(extensions) == 1:
        return f"{item}.{extensions[0]}"
    return f"{item}.{{{','.join(sorted(extensions))}}}" if extensions else f"{item}.*"


def _files(folder: Place) -> list[str]:
    """All files below a folder, by their path from there."""
    if isinstance(folder, RemotePath):
        start = len(folder.url) + 1
        return [path.url[start:] for path in folder.glob("**") if path.url != folder.url]
    if not folder.is_dir():
        raise DataError(f"no folder at {folder}; --images takes the folder of the pictures")
    names = []
    for directory, _, files in os.walk(folder):
        inner = Path(directory).relative_to(folder)
        names += [(inner / name).as_posix() for name in files]
    return names


def has_bytes(table: Place) -> bool:
    """Whether the column ``image`` of a Parquet table holds encoded pictures.

    Binary of any kind, or a struct of ``bytes`` and ``path`` as Hugging Face's datasets write it.
    Raises DataError for such a struct whose fields are of other types.
    """
    if table.suffix != ".parquet":
        return False
    try:
        with readable(table) as file:
            schema = pq.read_schema(file)
    except (pa.ArrowException, OSError):
        return False  # reading it raises the error
    if schema.names.count("image") != 1:
        return False
    kind = schema.field("image").type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return _checked(kind, table)
    return is_bytes(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _checked(kind: pa.StructType, table: Place) -> bool:
    """True. Raises DataError unless the fields of a picture have the right types."""
    path = kind.get_field_index("path")
    texts = (pa.string(), pa.large_string(), pa.string_view(), pa.null())
    sound = path < 0 or kind.field(path).type in texts
    if not (is_bytes(kind.field("bytes").type) or pa.types.is_null(kind.field("bytes").type)):
        sound = False
    if not sound:
        raise DataError(
            f"{table}: image is {kind}; struct<bytes: binary, path: string> is expected"
        )
    return True


def by_row(rows: int) -> pa.ChunkedArray:
    """``#0``, ``#1`` … for a table with the bytes in it."""
    return pa.chunked_array([pa.array([f"#{row}" for row in range(rows)], pa.string())])
