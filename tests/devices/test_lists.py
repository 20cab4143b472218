"""Lists on a device equal those of the CPU, which ranks where the device has no room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmx.recommend import products
from mmx.recommend.blocks.knn import knn_edges
from mmx.recommend.device_factors import DeviceFactors
from mmx.recommend.device_products import products_on, products_there
from mmx.recommend.interactions import UserItems
from mmx.recommend.scoring import Factors, rank
from mmx.recommend.ties import CLOSE
from mmx.search import on_device
from mmx.search.on_device import DeviceRows, float32_products
from mmx.search.searcher import Searcher
from mmx.search.vectors import vectors_of
from tests.devices.fake_cuda import FakeCuda
from tests.devices.there import CUDA, DEVICES, TORCH, here, ids, small, some_features, tables
from tests.recommend.ranked import check, excluded
from tests.recommend.slow import slow_rank


@DEVICES
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 70)),
    k=st.integers(1, 75),
    share=st.sampled_from([0.0, 0.2, 0.7, 1.0]),
    levels=st.sampled_from([1, 2, 5]),
    some=st.booleans(),
    width=st.sampled_from([1, 16, 1000]),
    there=st.booleans(),
)
def test_lists_equal_sorting(
    device: str, seed: int, shape: tuple[int, int], k: int, share: float, levels: int, some: bool,
    width: int, there: bool,
) -> None:  # fmt: skip
    """Nearly everything ties; zero vectors, hidden items, a pool, fewer than k."""
    rng, (n_users, n_items) = np.random.default_rng(seed), shape
    left = rng.integers(-levels, levels + 1, (n_users, 2)).astype(np.float32)
    right = rng.integers(-levels, levels + 1, (n_items, 2)).astype(np.float32)
    scores = left @ right.T
    scores[~left.any(1)], scores[:, ~right.any(1)] = -np.inf, -np.inf
    exclude = excluded(share, n_users, n_items, rng)
    allowed = rng.random(n_items) < 0.5 if some else None
    users = rng.integers(0, n_users, 40)  # repeated and unordered
    with small(width) as used, here(device):
        scorer: Any = Factors(left, right, device=device)
        if there:
            scorer = DeviceFactors(*(torch.from_numpy(x).to(device) for x in (left, right)))
        found = rank(scorer, users, k, exclude, allowed)
    may = right.any(1) if allowed is None else right.any(1) & allowed
    assert [one[:3] for one in used] == [device[:3]] * bool(may.any())  # some have a number
    check(found, slow_rank(scores, users, k, exclude, allowed), scores, users)


@DEVICES
@pytest.mark.parametrize("k", [1, 12, 40])
def test_lists_equal_the_cpus(device: str, k: int) -> None:
    """Of numbers that round: each vector twice or more, many of them hidden."""
    rng = np.random.default_rng(2)
    left = rng.standard_normal((150, 33), dtype=np.float32)
    right = np.tile(rng.standard_normal((700, 33), dtype=np.float32), (3, 1))
    right[rng.permutation(2100)[:90]] = right[5]  # more equal ones than a list has
    hidden, pool = excluded(0.1, 150, 2100, rng), np.flatnonzero(rng.random(2100) < 0.9)
    expected = products.best_products(left, right, pool, k, hidden)
    with small(512, 512 * 60), here(device):
        both = [products_on(device, left, right, pool, k, hidden)]
        tensors = [torch.from_numpy(x).to(device) for x in (left[::-1].copy(), right)]
        which = np.arange(150)[::-1].copy()
        both.append(products_there(tensors[0], which, tensors[1], pool, k, hidden))
    for found in both:
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-5)


@contextmanager
def rounding(share: float) -> Iterator[None]:
    """A device that sums in an order of its own: products are wrong by a share of the lengths."""
    random = torch.Generator().manual_seed(0)
    products_of = DeviceRows._products

    def noisy(self: DeviceRows, left: torch.Tensor, part: slice, *masked: Any) -> torch.Tensor:
        scores = products_of(self, left, part, *masked)
        lengths = left.norm(dim=1)[:, None] * self.rows[part].norm(dim=1)
        if self.scale is not None:
            lengths *= self.scale[part]
        return scores + share * lengths * (2 * torch.rand(scores.shape, generator=random) - 1)

    with mock.patch.object(DeviceRows, "_products", noisy):
        yield


def test_lists_do_not_depend_on_the_order_in_which_a_device_sums() -> None:
    """Of vectors of which many differ in the last bits alone; each turn rounds otherwise."""
    rng = np.random.default_rng(5)
    left = rng.standard_normal((150, 16), dtype=np.float32)
    right = np.tile(rng.standard_normal((100, 16), dtype=np.float32), (9, 1))
    right[300:] += np.float32(2**-24) * rng.integers(-8, 9, (600, 16)).astype(np.float32)
    hidden, pool = excluded(0.1, 150, 900, rng), np.arange(900)
    expected = products.best_products(left, right, pool, 12, hidden)
    searcher = Searcher(None, "image", vectors_of(ids(900), right))
    with small(256, 256 * 40), rounding(CLOSE * 16**0.5 * 0.9):
        for _ in range(3):
            found = products_on(TORCH, left, right, pool, 12, hidden)
            np.testing.assert_array_equal(found[0], expected[0])
    similar = tables(searcher, "cpu")
    with small(256, 256 * 40), rounding(searcher.error * 0.9):
        for _ in range(3):
            assert tables(searcher, TORCH) == similar


def test_a_tensor_that_stays_on_the_cpu_is_seen() -> None:
    """A mistake of the kind that only a GPU shows."""
    sent = on_device._sent

    def left(matrix: np.ndarray, which: Any, device: str | torch.device) -> torch.Tensor:
        return sent(matrix, which, "cpu" if isinstance(device, torch.device) else device)

    rng = np.random.default_rng(0)
    factors = Factors(*rng.standard_normal((2, 9, 4)).astype(np.float32), device=CUDA)
    with mock.patch.object(on_device, "_sent", left), small(), FakeCuda() as gpu:
        rank(factors, np.arange(9), 3, excluded(0, 9, 9, rng))
    assert any("search/on_device.py" in line for line in gpu.mixed)


@pytest.mark.parametrize("setting", ["high", "tf32"])
def test_products_are_in_float32_whatever_the_program_has_set(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    matmul, seen = torch.backends.cuda.matmul, list[tuple[str, str]]()
    products_of = DeviceRows._products

    def noted(*given: Any) -> torch.Tensor:
        seen.append((matmul.fp32_precision, torch.get_float32_matmul_precision()))
        assert not torch.is_autocast_enabled("cpu")
        return products_of(*given)

    monkeypatch.setattr(DeviceRows, "_products", noted)
    rows = np.eye(3, dtype=np.float32)
    before = matmul.fp32_precision
    try:
        if setting == "high":
            torch.set_float32_matmul_precision("high")
        else:
            matmul.fp32_precision = "tf32"
        with torch.autocast("cpu", torch.bfloat16):
            found = DeviceRows(rows, TORCH).best(rows + np.float32(2**-20), 1)[0]
        assert (found == np.float32(1 + 2**-20)).all()
        assert seen == [("ieee", "highest")]
        assert matmul.fp32_precision == "tf32"
        if setting == "high":
            assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
        matmul.fp32_precision = before


def test_the_precision_is_put_back_after_an_error() -> None:
    before = torch.backends.cuda.matmul.fp32_precision
    with pytest.raises(ZeroDivisionError), float32_products(torch.device("cpu")):
        raise ZeroDivisionError
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_products_on_the_device_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    products_of = DeviceRows._products

    def noted(*given: Any) -> torch.Tensor:
        found = products_of(*given)
        sizes.append(found.numel())
        return found

    monkeypatch.setattr(DeviceRows, "_products", noted)
    rng = np.random.default_rng(0)
    queries, rows = rng.standard_normal((2, 500, 3), dtype=np.float32)
    with small(100, 1000):
        values, places = DeviceRows(rows, TORCH).best(queries, 7)
    assert len(sizes) == 500 * 500 // 1000
    assert max(sizes) <= 1000
    best = np.argsort(-(queries @ rows.T), axis=1)[:, :7]
    np.testing.assert_array_equal(places, best)
    np.testing.assert_allclose(values, np.take_along_axis(queries @ rows.T, best, 1), rtol=1e-5)


@pytest.mark.parametrize("where", ["__init__", "_best"])
def test_without_room_on_the_device_the_cpu_does_it(
    where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And one line says so, however often."""

    def full(self: DeviceRows, *given: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")

    monkeypatch.setattr(DeviceRows, where, full)
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, 150, 4)).astype(np.float32)
    hidden, pool = excluded(0.1, 150, 150, rng), np.arange(150)
    expected = products.best_products(left, right, pool, 3, hidden)
    with caplog.at_level("INFO", logger="mmx"):
        for _ in range(2):
            found = products_on(TORCH, left, right, pool, 3, hidden)
            np.testing.assert_array_equal(found[0], expected[0])
        assert len(knn_edges(replace(some_features(), device=TORCH), 3).rows) == 3 * 36
        searcher = Searcher(None, "image", vectors_of(ids(150), right))
        assert tables(searcher, TORCH) == tables(searcher, "cpu")
    lines = [record.message for record in caplog.records]
    assert lines == ["cpu:0 has too little free memory for all the vectors: the CPU searches them"]


def test_without_room_beside_the_embeddings_they_are_copied(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, 150, 4)).astype(np.float32)
    hidden, pool = excluded(0.1, 150, 150, rng), np.arange(150)
    expected = products.best_products(left[20:90], right, pool, 3, hidden.rows(np.arange(20, 90)))
    full = mock.Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory."))
    monkeypatch.setattr(DeviceRows, "_best", full)
    monkeypatch.setattr(on_device, "_rows_there", full)
    with caplog.at_level("INFO", logger="mmx"), FakeCuda():
        tensors = [torch.from_numpy(x).to(CUDA) for x in (left, right)]
        found = products_there(
            tensors[0], np.arange(20, 90), tensors[1], pool, 3, hidden.rows(np.arange(20, 90))
        )
    np.testing.assert_array_equal(found[0], expected[0])
    assert "cuda:0 has too little free memory" in caplog.text


def test_another_error_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any, **options: Any) -> None:
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(DeviceRows, "_best", broken)
    rows, nothing = np.eye(3, dtype=np.float32), UserItems(np.zeros(4, int), np.zeros(0, int), 3)
    with pytest.raises(RuntimeError, match="illegal"):
        products_on(TORCH, rows, rows, np.arange(3), 1, nothing)
