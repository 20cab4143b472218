"""Files with one bit that is not as it was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """Within the block bit number ``bit`` of the file is another one."""
    flip(path, bit)
    yield
    flip(path, bit)


def flip(path: Path, bit: int) -> None:
    """Turn bit number ``bit`` of the file over."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def flip_number(path: Path, numbers: Iterable[float], dtype: str = "float32") -> None:
    """Turn over the last bit of the exponent of the first of some numbers stored side by side."""
    stored = np.array(list(numbers), dtype=dtype).tobytes()
    data = path.read_bytes()
    assert data.count(stored) == 1
    flip(path, 8 * (data.index(stored) + np.dtype(dtype).itemsize - 1) + 5)


def footer_start(path: Path) -> int:
    """Where a Parquet file's footer begins."""
    data = path.read_bytes()
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")
