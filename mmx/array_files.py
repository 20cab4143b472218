"""Files of NumPy arrays in the safetensors format, read and written without torch.

The same arrays make the same bytes as ``mmx.torch_files.save_tensors`` writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The named arrays. Raises OSError or SafetensorError when the file is absent or damaged."""
    arrays: dict[str, np.ndarray] = load_file(path)
    return arrays


def save_arrays(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write named arrays. Raises OSError when it cannot."""
    with disk_errors():
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Make an OSError of the error by which safetensors reports that a file cannot be written."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), str(error)) from error
