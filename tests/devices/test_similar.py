"""Item graphs and similar items of a device equal those of the CPU."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from mmx.errors import OptionError
from mmx.recommend.blocks.knn import knn_edges
from mmx.recommend.features import Features
from mmx.search.on_device import DeviceRows
from mmx.search.searcher import Searcher
from mmx.search.vectors import vectors_of
from tests.devices.there import CUDA, DEVICES, TORCH, here, ids, small, some_features, tables


@DEVICES
def test_item_graphs_equal_the_cpus(device: str) -> None:
    for k in (1, 4, 100):
        expected = knn_edges(some_features(), k)
        with small(7, 70) as used, here(device):
            found = knn_edges(replace(some_features(), device=device), k)
        assert used == [device]
        assert torch.equal(found.rows, expected.rows)
        assert torch.equal(found.columns, expected.columns)
        torch.testing.assert_close(found.similarity, expected.similarity)
        assert not found.similarity.is_cuda


def test_equally_near_items_are_the_cpus() -> None:
    """Of 30 equal vectors a list has 4; which ones, the CPU's search says."""
    vectors = np.random.default_rng(1).normal(size=(90, 6)).astype(np.float32)
    vectors[30:60] = vectors[0]
    known = Features(vectors, np.ones(90, dtype=bool))
    expected = knn_edges(known, 4)
    with small(7, 70), here(CUDA):
        found = knn_edges(replace(known, device=CUDA), 4)
    assert torch.equal(found.columns, expected.columns)


@DEVICES
@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("some", [True, False])
def test_similar_items_equal_the_cpus(device: str, even: bool, some: bool) -> None:
    """A third are the same vector, so that lists tie beyond what the product finds."""
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(120, 5)).astype(np.float32)
    matrix[::3] = matrix[0]
    if even:
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    searcher = Searcher(None, "image", vectors_of(ids(120), matrix))
    among = [f"i{n}" for n in range(10, 110)] if some else None
    with small(32, 320) as used, here(device):
        found = tables(searcher, device, among=among)
    assert used == [device]
    assert found == tables(searcher, "cpu", among=among)


def test_auto_is_a_gpu_for_many_items_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(3).normal(size=(60, 5)).astype(np.float32)
    searcher = Searcher(None, "image", vectors_of(ids(60), matrix))
    expected = tables(searcher, "cpu")
    with small() as used, here(CUDA):
        assert tables(searcher, "auto") == expected
        assert used == []
        monkeypatch.setattr("mmx.search.searcher.MANY", 60)
        assert tables(searcher, "auto") == expected
        assert used == ["cuda"]
        monkeypatch.setattr(type(searcher._nearest), "exact", False)  # as of an index
        assert tables(searcher, "auto") == expected
        assert used == ["cuda"]
        with pytest.raises(OptionError, match="--device cuda goes with exact search"):
            tables(searcher, "cuda")


def test_the_device_keeps_nothing_after_a_search() -> None:
    gone: list[weakref.ref[torch.Tensor]] = []
    best = DeviceRows.best

    def noted(self: DeviceRows, *given: Any) -> Any:
        gone.append(weakref.ref(self.rows))
        return best(self, *given)

    matrix = np.random.default_rng(3).normal(size=(60, 5)).astype(np.float32)
    searcher = Searcher(None, "image", vectors_of(ids(60), matrix))
    with mock.patch.object(DeviceRows, "best", noted):
        tables(searcher, TORCH)
    assert gone
    assert all(one() is None for one in gone)
