"""Matrices in the files of other tools, read and written some rows at a time.

A .npy file is a header and one matrix; a .safetensors file is eight bytes (the length of its
header, little-endian), a header in JSON and several matrices one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from mmx.errors import StoreError
from mmx.files import parse_json

SAFETENSORS = {"F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16"}
BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


@dataclass(frozen=True)
class Matrix:
    """(rows, dimension) numbers in a file."""

    path: Path
    numbers: str  # float16, bfloat16, float32, float64
    rows: int
    dimension: int
    offset: int  # bytes before the first number

    def __post_init__(self) -> None:
        size = self.offset + self.rows * self.row_bytes
        if self.path.stat().st_size < size:
            raise StoreError(f"{self.path} is cut off: {size} bytes are expected; copy it again")

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.dimension * BYTES[self.numbers]

    def read(self, start: int, count: int) -> np.ndarray:
        """(count, dimension) float16 where the file holds that, float32 otherwise."""
        kind = "uint16" if self.numbers == "bfloat16" else self.numbers
        size, offset = count * self.dimension, self.offset + start * self.row_bytes
        values = np.fromfile(self.path, dtype=np.dtype(kind), count=size, offset=offset)
        values = values.reshape(count, self.dimension)
        if self.numbers == "bfloat16":  # the upper half of a float32
            return (values.astype(np.uint32) << 16).view(np.float32)
        if self.numbers == "float64":
            with np.errstate(over="ignore"):  # becomes infinite, which the caller refuses
                return values.astype(np.float32)
        return values


def open_npy(path: Path) -> Matrix:
    """The matrix in a .npy file. Raises StoreError when it is not a matrix of floats by rows."""
    try:
        with path.open("rb") as file:
            readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
            shape, by_columns, dtype = readers[npy.read_magic(file)](file)
            offset = file.tell()
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path} is not a readable .npy file ({error}); write it again") from error
    kind = dtype.name if dtype.isnative else str(dtype)
    if len(shape) != 2 or kind not in ("float16", "float32", "float64"):
        raise StoreError(f"{path} holds {kind} of shape {shape}; a matrix of floats is expected")
    if by_columns:
        raise StoreError(f"{path} is in Fortran order; save np.ascontiguousarray of it")
    return Matrix(path, kind, shape[0], shape[1], offset)


def open_safetensors(path: Path) -> dict[str, Matrix]:
    """The matrices of floats in a .safetensors file by name; other tensors are left out."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = parse_json(file.read(length))
        header.pop("__metadata__", None)
        begin = 8 + length
        return {
            name: Matrix(path, SAFETENSORS[tensor["dtype"]], rows, d, begin + start)
            for name, tensor in header.items()
            if tensor["dtype"] in SAFETENSORS and len(tensor["shape"]) == 2
            for (rows, d), (start, _) in [(tensor["shape"], tensor["data_offsets"])]
        }
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise StoreError(f"{path} is not a readable .safetensors file ({error})") from error


def create_npy(path: Path, dtype: str, rows: int, dimension: int) -> BinaryIO:
    """A .npy file open for ``rows`` rows of numbers, which follow the header as they are."""
    file = path.open("wb")
    header = {"descr": npy.dtype_to_descr(np.dtype(dtype)), "fortran_order": False}
    npy.write_array_header_1_0(file, {**header, "shape": (rows, dimension)})
    return file


def create_safetensors(
    path: Path, dtype: str, rows: int, dimensions: Mapping[str, int]
) -> dict[str, BinaryIO]:
    """A .safetensors file, for each matrix open at the place where its rows belong."""
    name = next(theirs for theirs, ours in SAFETENSORS.items() if ours == dtype)
    header: dict[str, Any] = {}
    end = 0
    for modality, d in dimensions.items():
        start, end = end, end + rows * d * BYTES[dtype]
        header[modality] = {"dtype": name, "shape": [rows, d], "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # numbers begin at a multiple of eight
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    opened: dict[str, BinaryIO] = {}
    for modality in dimensions:
        opened[modality] = path.open("r+b")
        opened[modality].seek(8 + len(text) + header[modality]["data_offsets"][0])
    return opened
