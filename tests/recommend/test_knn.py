"""k-NN graphs against loops, and their gaps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmx.recommend.blocks import knn
from mmx.recommend.blocks.knn import knn_edges, normalised, search_in_blocks
from mmx.recommend.features import Features


def features(n: int = 40, d: int = 6, absent: tuple[int, ...] = (3, 17)) -> Features:
    matrix = np.random.default_rng(1).normal(size=(n, d)).astype(np.float32)
    present = ~np.isin(np.arange(n), absent)
    return Features(matrix * present[:, None], present)


def cosines(known: Features) -> np.ndarray:
    """(n, n) float64; -inf where one of the two has no vector."""
    x = known.matrix.astype(np.float64)
    full = np.full((len(x), len(x)), -np.inf)
    for i in range(len(x)):
        for j in range(len(x)):
            if known.present[i] and known.present[j]:
                full[i, j] = x[i] @ x[j] / np.sqrt((x[i] @ x[i]) * (x[j] @ x[j]))
    return full


@pytest.mark.parametrize("block", [7, 16_384])
def test_edges_are_the_k_most_similar(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(knn, "QUERIES_AT_ONCE", block)
    known, k = features(), 4
    full = cosines(known)
    edges = knn_edges(known, k)
    for item in range(len(full)):
        mine = edges.rows == item
        if not known.present[item]:
            assert not mine.any()
            continue
        expected = np.argsort(-full[item])[:k]
        assert edges.columns[mine].tolist() == expected.tolist()
        np.testing.assert_allclose(edges.similarity[mine], full[item, expected], atol=1e-6)
    assert not np.isin(edges.columns, np.flatnonzero(~known.present)).any()


def test_blocks_on_an_accelerator_give_the_same() -> None:
    vectors = torch.from_numpy(features(absent=()).normalised().matrix)
    for mine, other in zip(search_in_blocks(vectors, 5, 9), knn.search(vectors, 5), strict=True):
        torch.testing.assert_close(mine, other)


def test_fewer_items_than_k() -> None:
    known = features(5, absent=(0, 2))
    assert len(knn_edges(known, 10).rows) == 3 * 3


def test_no_item_has_a_vector() -> None:
    known = features(4, absent=(0, 1, 2, 3))
    edges = knn_edges(known, 3)
    assert len(edges.rows) == 0
    assert len(normalised(edges.rows, edges.columns, edges.similarity, 4)) == 0


def test_graph_is_normalised_by_its_row_sums() -> None:
    known, k = features(12, 2, absent=(4,)), 7  # many neighbours, so that some cosines are < 0
    full = cosines(known)
    expected = np.zeros_like(full)
    for item in np.flatnonzero(known.present):
        for other in np.argsort(-full[item])[:k]:
            expected[item, other] = max(full[item, other], 0)
    degree = expected.sum(1)
    for i in range(12):
        for j in range(12):
            if expected[i, j]:
                expected[i, j] /= np.sqrt(degree[i] * degree[j])
    edges = knn_edges(known, k)
    found = np.zeros_like(full)
    similarity = edges.similarity.clamp(min=0)
    found[edges.rows, edges.columns] = normalised(edges.rows, edges.columns, similarity, 12)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (full[np.isfinite(full)] < 0).any()


def test_normalisation_passes_the_gradient() -> None:
    rows, columns = torch.tensor([[0, 0, 1], [1, 2, 2]])
    values = torch.tensor([0.5, 0.2, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: normalised(rows, columns, v, 3)[:2], (values,))


def test_an_item_that_is_only_a_neighbour_has_no_infinite_weight() -> None:
    rows, columns = torch.tensor([0]), torch.tensor([1])  # row 1 is empty, so its degree is 0
    values = torch.tensor([0.5], requires_grad=True)
    scaled = normalised(rows, columns, values, 2)
    scaled.sum().backward()
    assert scaled.tolist() == [0]
    assert torch.isfinite(values.grad).all()
