"""Files of tensors: a flipped bit is noticed, and a full disk is an OSError like anywhere else.

torch compares no checksum, and neither it nor safetensors says in Python's way why a file could
not be written.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch
from safetensors.torch import save_file

from mmx.array_files import disk_errors


def load_checked(path: Path) -> Any:
    """The saved tensors, on the CPU, and plain values. Raises ValueError when a checksum is wrong.

    The file is a zip archive, whose CRC-32 of each tensor torch writes and does not compare.
    Tensors are mapped from it, privately: they may be written to, and the file may be replaced.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} in it is not what was written")
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def save_checked(value: Any, path: Path, written: Callable[[], None] = lambda: None) -> None:
    """Write tensors and plain values, for ``load_checked``. Raises OSError when it cannot.

    ``written`` is called after each tensor, whose memory may be given back.
    """
    with path.open("wb") as file:
        writer = _Writer(file, written)
        try:
            torch.save(value, cast(IO[bytes], writer))
        except RuntimeError as error:
            if writer.error is None:
                raise
            raise writer.error from error


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write named tensors as safetensors, one that has two names twice. Raises OSError."""
    with disk_errors():
        save_file(_apart(tensors), path)


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same, of which no two share memory, as tied weights do: safetensors refuses these."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone().contiguous() if place in seen else tensor.contiguous()
        seen.add(place)
    return found


class _Writer:
    """A file that remembers why it could not be written, which torch does not report."""

    def __init__(self, file: BinaryIO, written: Callable[[], None]) -> None:
        self.file, self.written = file, written
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            count = self.file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.written()
        return count

    def flush(self) -> None:
        self.file.flush()
