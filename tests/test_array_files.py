"""Arrays in safetensors files: what torch would read and write, without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmx.array_files import load_arrays, save_arrays
from mmx.torch_files import save_tensors

ARRAYS = {
    "indptr": np.array([0, 2, 3]),
    "indices": np.array([1, 0, 2], dtype=np.int32),
    "0.values": np.array([0.5, -0.0, 3e-39], dtype=np.float32),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "none": np.zeros((0, 4), dtype=np.float32),
}


@pytest.mark.parametrize("names", [list(ARRAYS), []])
def test_the_bytes_are_those_of_torch(names: list[str], tmp_path: Path) -> None:
    arrays = {name: ARRAYS[name] for name in names}
    save_arrays(arrays, tmp_path / "numpy")
    save_tensors({n: torch.from_numpy(np.array(a)) for n, a in arrays.items()}, tmp_path / "torch")
    assert (tmp_path / "numpy").read_bytes() == (tmp_path / "torch").read_bytes()


def test_they_come_back(tmp_path: Path) -> None:
    save_arrays(ARRAYS, tmp_path / "file")
    found = load_arrays(tmp_path / "file")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
