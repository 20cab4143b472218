"""Lists, evaluations, item graphs and searches on a device equal those of the CPU."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mmx.devices
from mmx.errors import OptionError
from mmx.recommend import products, scoring
from mmx.recommend.blocks.knn import knn_edges
from mmx.recommend.device_factors import DeviceFactors
from mmx.recommend.device_products import products_on, products_there
from mmx.recommend.features import Features, FeatureSpec
from mmx.recommend.fit import fit
from mmx.recommend.interactions import UserItems
from mmx.recommend.job import TrainJob
from mmx.recommend.models import bpr
from mmx.recommend.options import TrainOptions
from mmx.recommend.protocol import World
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.recommendation import recommend_all
from mmx.recommend.run import open_run
from mmx.recommend.scoring import Factors, rank
from mmx.recommend.ties import CLOSE
from mmx.recommend.training import train
from mmx.search import on_device
from mmx.search.on_device import DeviceRows, float32_products
from mmx.search.searcher import Searcher
from mmx.search.vectors import vectors_of
from mmx.testing import clubs
from tests.devices.fake_cuda import FakeCuda
from tests.recommend.ranked import check, excluded
from tests.recommend.short_training import log
from tests.recommend.slow import slow_rank

TORCH, CUDA = "cpu:0", "cuda"  # torch on the CPU; a pretended GPU
KEPT = Path(__file__).parents[1] / "recommend/fixtures"
DEVICES = pytest.mark.parametrize("device", [TORCH, CUDA])


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What was found of the GPUs, and what was said, is forgotten before and after."""
    known = mmx.devices._gpu_works, on_device._say_once
    for kept in known:
        kept.cache_clear()
    yield
    for kept in known:
        kept.cache_clear()


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


def trained(device: str) -> list[dict[str, float]]:
    data = log()
    model = bpr.Model(bpr.Config(dim=8), World(data.train), torch.Generator().manual_seed(0))
    options = TrainOptions(epochs=3, batch_size=128, lr=0.01, device=device)
    with small() as used:
        found = train(model, data, options)
    assert set(used) == ({"cuda:0"} if device == CUDA else set())
    assert len(used) == (3 if device == CUDA else 0)
    assert found.scorer.device == ("cuda:0" if device == CUDA else "cpu")
    return [{name: v for name, v in row.items() if "seconds" not in name} for row in found.history]


def test_validation_of_an_epoch_is_the_same_on_a_gpu() -> None:
    expected = trained("cpu")
    with FakeCuda() as gpu:
        found = trained(CUDA)
    assert gpu.mixed == []
    assert found == expected


def test_a_whole_run_ranks_and_mines_its_graph_there(tmp_path: Path) -> None:
    place = clubs.write_place(tmp_path)
    runs = []
    for device in ("cpu", CUDA):
        with small() as used, here(device):
            options = TrainOptions(epochs=1, batch_size=1024, device=device)
            job = TrainJob(place.data, "freedom", [FeatureSpec(place.store)], ["dim=8"],
                           training=options)  # fmt: skip
            runs.append(fit(job, tmp_path / f"run-{device.partition(':')[0]}"))
        both, lists = used.count("cuda"), used.count("cuda:0")  # graphs, and splits
        assert (both, lists) == ((2, 3) if device == CUDA else (0, 0))
    for name, value in runs[0].metrics["test"].items():
        assert runs[1].metrics["test"][name] == pytest.approx(value, abs=1e-6)


def test_an_opened_run_evaluates_and_recommends_there() -> None:
    run = open_run(KEPT / "old-vbpr")
    lists = pa.concat_tables(recommend_all(run, RecommendOptions(k=5)))
    expected = mmx.evaluate(run)
    with small() as used, here(CUDA):
        placed = open_run(KEPT / "old-vbpr", device=CUDA)
        found = pa.concat_tables(recommend_all(placed, RecommendOptions(k=5)))
        measured = mmx.evaluate(run.on("auto"))
        assert placed.on("cpu").scorer.device == "cpu"  # type: ignore[attr-defined]
    assert used == ["cuda"] * 2
    assert found.drop_columns(["score"]) == lists.drop_columns(["score"])
    np.testing.assert_allclose(found["score"], lists["score"], rtol=1e-5, atol=1e-6)
    assert measured.means == expected.means


def test_a_run_without_embeddings_has_nothing_for_a_gpu() -> None:
    run = open_run(KEPT / "old-itemknn")
    with FakeCuda():
        assert run.on("auto") is run
        with pytest.raises(OptionError, match=r"--device cuda: .*old-itemknn has no embeddings"):
            run.on("cuda")


def some_features() -> Features:
    matrix = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    present = np.arange(40) % 10 > 0
    return Features(matrix * present[:, None], present)


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


def ids(count: int) -> pa.Array:
    return pa.array([f"i{n}" for n in range(count)])


def tables(searcher: Searcher, device: str, **options: Any) -> pa.Table:
    """Of all items; the name of torch's CPU would be that of the usual one."""
    found = searcher.similar_all(5, device=device, **options)
    if device != TORCH:
        return pa.concat_tables(found)
    with mock.patch("mmx.search.searcher.multiplying_device", lambda name: name):
        return pa.concat_tables(found)


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
