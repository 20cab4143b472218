"""A column of every type that pyarrow can write to Parquet, six values each."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 6
WORDS = ["a1", "b2", "c3", "d4", "e5", "f6"]
_BYTES = [word.encode() for word in WORDS]
_LATIN = [b"\xe9" + word for word in _BYTES]  # no UTF-8
_DAYS = [dt.date(2020, 1, day) for day in range(1, 7)]
_TIMES = [dt.datetime(2020, 1, day) for day in range(1, 7)]
_CLOCKS = [dt.time(day) for day in range(1, 7)]
_SPANS = [dt.timedelta(days=day) for day in range(1, 7)]
_WHOLE = [decimal.Decimal(n) for n in range(1, 7)]
_CENTS = [decimal.Decimal(n).scaleb(-2) for n in range(1, 7)]
_NUMBERS = [1, 2, 3, 4, 5, 6]


def _of(values: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(values, kind)


def _coded(values: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(values, kind).dictionary_encode()


def _uuids() -> pa.Array:
    kept = pa.array([uuid.UUID(int=n).bytes for n in _NUMBERS], pa.binary(16))
    return pa.ExtensionArray.from_storage(pa.uuid(), kept)


def _tensors() -> pa.Array:
    kept = pa.array([[1.0, 2.0]] * ROWS, pa.list_(pa.float32(), 2))
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), [2]), kept)


def _tagged(kind: pa.DataType, values: list[Any]) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))


def _timestamps() -> dict[str, pa.Array]:
    units = ("s", "ms", "us", "ns")
    found = {f"timestamp[{unit}]": _of(_TIMES, pa.timestamp(unit)) for unit in units}
    found |= {f"duration[{unit}]": _of(_SPANS, pa.duration(unit)) for unit in units}
    return found | {
        "timestamp with zone": _of(_TIMES, pa.timestamp("us", "Europe/Berlin")),
        "timestamp with odd ns": _of([n * 10**15 + 7 for n in _NUMBERS], pa.timestamp("ns")),
        "duration with odd ns": _of([n * 10**15 + 7 for n in _NUMBERS], pa.duration("ns")),
        "time64 with odd ns": _of([n * 10**12 + 7 for n in _NUMBERS], pa.time64("ns")),
        "timestamp[s] far off": _of([n * 10**17 for n in _NUMBERS], pa.timestamp("s")),
        "duration[s] far off": _of([n * 10**18 for n in _NUMBERS], pa.duration("s")),
        "date32": _of(_DAYS, pa.date32()),
        "date64": _of(_DAYS, pa.date64()),
        "time32[s]": _of(_CLOCKS, pa.time32("s")),
        "time32[ms]": _of(_CLOCKS, pa.time32("ms")),
        "time64[us]": _of(_CLOCKS, pa.time64("us")),
    }


def _plain_numbers() -> dict[str, pa.Array]:
    whole = (pa.int8, pa.int16, pa.int32, pa.int64, pa.uint8, pa.uint16, pa.uint32, pa.uint64)
    found = {str(kind()): _of(_NUMBERS, kind()) for kind in whole}
    floats = (pa.float16(), pa.float32(), pa.float64())
    found |= {str(kind): pa.array(_NUMBERS, pa.float64()).cast(kind) for kind in floats}
    decimals = (pa.decimal32, pa.decimal64, pa.decimal128, pa.decimal256)
    found |= {f"{kind.__name__} whole": _of(_WHOLE, kind(6, 0)) for kind in decimals}
    found |= {f"{kind.__name__} cents": _of(_CENTS, kind(6, 2)) for kind in decimals}
    return found | {
        "uint64 large": _of([2**64 - n for n in _NUMBERS], pa.uint64()),
        "decimal huge": _of([10**60 + n for n in _NUMBERS], pa.decimal256(70, 0)),
        "decimal of hundreds": _of([d * 100 for d in _WHOLE], pa.decimal128(6, -2)),
        "nan": _of([1.0, float("nan"), 3.0, 4.0, 5.0, 6.0], pa.float64()),
        "bool": _of([True, False] * 3, pa.bool_()),
    }


def _texts() -> dict[str, pa.Array]:
    return {
        "string": _of(WORDS, pa.string()),
        "large_string": _of(WORDS, pa.large_string()),
        "string_view": _of(WORDS, pa.string_view()),
        "binary": _of(_BYTES, pa.binary()),
        "large_binary": _of(_BYTES, pa.large_binary()),
        "binary_view": _of(_BYTES, pa.binary_view()),
        "fixed binary": _of(_BYTES, pa.binary(2)),
        "binary latin-1": _of(_LATIN, pa.binary()),
        "fixed binary latin-1": _of(_LATIN, pa.binary(3)),
        "binary_view latin-1": _of(_LATIN, pa.binary_view()),
        "uuid": _uuids(),
        "json": _tagged(pa.json_(pa.string()), [f'"{word}"' for word in WORDS]),
        "opaque": _tagged(pa.opaque(pa.int64(), "kind", "vendor"), _NUMBERS),
        "bool8": _tagged(pa.bool8(), [0, 1, 0, 1, 0, 1]),
        "tensor": _tensors(),
    }


def _coded_kinds() -> dict[str, pa.Array]:
    return {
        "dictionary of string": _coded(WORDS, pa.string()),
        "dictionary of large_string": _coded(WORDS, pa.large_string()),
        "dictionary of binary": _coded(_BYTES, pa.binary()),
        "dictionary of binary latin-1": _coded(_LATIN, pa.binary()),
        "dictionary of fixed binary": _coded(_BYTES, pa.binary(2)),
        "dictionary of int64": _coded(_NUMBERS, pa.int64()),
        "dictionary of float64": _coded([1.5, 2, 3, 4, 5, 6], pa.float64()),
        "dictionary of timestamp": _coded(_TIMES, pa.timestamp("us")),
        "dictionary of bool": _coded([True, False] * 3, pa.bool_()),
        "dictionary with nulls": _coded(["a", None, "b", "c", "d", "e"], pa.string()),
        "runs of string": pa.RunEndEncodedArray.from_arrays(_NUMBERS, WORDS),
        "runs of int64": pa.RunEndEncodedArray.from_arrays(_NUMBERS, _NUMBERS),
    }


def _nested() -> dict[str, pa.Array]:
    pairs = [[("k", n)] for n in _NUMBERS]
    records = [{"bytes": b"x", "path": word} for word in WORDS]
    return {
        "list": _of([[word] for word in WORDS], pa.list_(pa.string())),
        "list of int64": _of([[n] for n in _NUMBERS], pa.list_(pa.int64())),
        "large_list": _of([[word] for word in WORDS], pa.large_list(pa.string())),
        "fixed list": _of([[n, n] for n in _NUMBERS], pa.list_(pa.int64(), 2)),
        "list_view": _of([[n] for n in _NUMBERS], pa.list_view(pa.int64())),
        "struct": _of([{"a": n} for n in _NUMBERS], pa.struct({"a": pa.int64()})),
        "struct of bytes": _of(records, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
        "struct of odd bytes": _of([{"bytes": 1}] * ROWS, pa.struct({"bytes": pa.int64()})),
        "struct of no fields": _of([{}] * ROWS, pa.struct([])),
        "list of structs": _of([[{"a": 1}]] * ROWS, pa.list_(pa.struct({"a": pa.int64()}))),
        "map": _of(pairs, pa.map_(pa.string(), pa.int64())),
        "union": pa.UnionArray.from_sparse(_of([0, 1] * 3, pa.int8()),
                                           [pa.array(_NUMBERS), pa.array(WORDS)]),
        "null": pa.nulls(ROWS),
        "nulls of string": pa.nulls(ROWS, pa.string()),
        "nulls of int64": pa.nulls(ROWS, pa.int64()),
        "nulls of binary": pa.nulls(ROWS, pa.binary()),
        "half null int64": _of([1, None, 3, 4, 5, None], pa.int64()),
    }  # fmt: skip


def _writable(column: pa.Array) -> bool:
    try:
        pq.write_table(pa.table({"x": column}), io.BytesIO())
    except (pa.ArrowException, OSError):  # the last for a negative scale
        return False
    return True


def _all() -> dict[str, pa.Array]:
    groups: tuple[Callable[[], dict[str, pa.Array]], ...] = (
        _texts, _plain_numbers, _timestamps, _coded_kinds, _nested,
    )  # fmt: skip
    found = {name: column for group in groups for name, column in group().items()}
    return {name: column for name, column in found.items() if _writable(column)}


KINDS = _all()
