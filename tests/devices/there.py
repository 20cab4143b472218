"""A device that ranks and searches, few rows at a time, and what it is given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest

from mmx.recommend import products, scoring
from mmx.recommend.features import Features
from mmx.search import on_device
from mmx.search.on_device import DeviceRows
from mmx.search.searcher import Searcher
from tests.devices.fake_cuda import FakeCuda

TORCH, CUDA = "cpu:0", "cuda"  # torch on the CPU; a pretended GPU
DEVICES = pytest.mark.parametrize("device", [TORCH, CUDA])


@contextmanager
def here(device: str) -> Iterator[None]:
    """The device is there, and no operation is of two."""
    if device != CUDA:
        yield
        return
    with FakeCuda() as gpu:
        yield
    assert gpu.mixed == []


@contextmanager
def small(width: int = 16, cells: int = 64, many: int = 1) -> Iterator[list[str]]:
    """Also few users and items go to the device, in several blocks; which devices were used."""
    used: list[str] = []
    made = DeviceRows.__init__

    def noted(self: DeviceRows, matrix: np.ndarray, device: str, **options: Any) -> None:
        used.append(device)
        made(self, matrix, device, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceRows, "__init__", noted)
        patch.setattr(scoring, "MANY", many)
        patch.setattr(scoring, "WIDE", 0)
        patch.setattr(products, "WIDE", 1)
        patch.setattr(on_device, "WIDTH", width)
        patch.setattr(on_device, "BLOCK_BYTES", 4 * cells)
        patch.setattr(on_device, "SENT", 48)
        yield used


def some_features() -> Features:
    matrix = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    present = np.arange(40) % 10 > 0
    return Features(matrix * present[:, None], present)


def ids(count: int) -> pa.Array:
    return pa.array([f"i{n}" for n in range(count)])


def tables(searcher: Searcher, device: str, **options: Any) -> pa.Table:
    """Of all items; the name of torch's CPU would be that of the usual one."""
    found = searcher.similar_all(5, device=device, **options)
    if device != TORCH:
        return pa.concat_tables(found)
    with mock.patch("mmx.search.searcher.multiplying_device", lambda name: name):
        return pa.concat_tables(found)
