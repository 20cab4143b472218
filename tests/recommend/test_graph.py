"""Sparse products and the user-item graph against dense matrices and loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmx.recommend.blocks import graph as graph_module
from mmx.recommend.blocks.graph import (
    Sparse,
    UserItemGraph,
    gathered_products,
    sampled_products,
)
from mmx.recommend.blocks.propagation import mean_by_side, mean_of_layers
from mmx.recommend.interactions import UserItems
from tests.recommend.toy import N_ITEMS, N_USERS, PAIRS, toy_train

NODES = N_USERS + N_ITEMS


@pytest.fixture
def graph() -> UserItemGraph:
    return UserItemGraph(toy_train())


def random_matrix(seed: int, rows: int = 5, columns: int = 8) -> tuple[Sparse, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    full = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    full *= torch.rand(rows, columns, generator=generator) < 0.4
    r, c = full.nonzero().T
    shuffled = torch.randperm(len(r), generator=generator)
    r, c = r[shuffled], c[shuffled]
    return Sparse(r, c, full[r, c], (rows, columns)), full


def dense(matrix: Sparse, values: torch.Tensor | None = None) -> torch.Tensor:
    """The (rows, columns) matrix, with the given (entries,) values."""
    values = matrix.values if values is None else values
    full = values.new_zeros(matrix.shape)
    return full.index_put((matrix.rows, matrix.columns), values, accumulate=True)


def without_some(graph: UserItemGraph) -> torch.Tensor:
    """(entries,) values after about half of the pairs were dropped."""
    drawn = torch.rand(len(graph.users), generator=torch.Generator().manual_seed(0))
    return graph.values_of(graph.weights(drawn >= 0.5))


def normalised(kept: list[bool] | None = None) -> torch.Tensor:
    """D^-½ A D^-½ by loops over the pairs."""
    full = torch.zeros(NODES, NODES, dtype=torch.float64)
    pairs = [p for n, p in enumerate(PAIRS) if kept is None or kept[n]]
    for u, i in pairs:
        degree_u = sum(1 for v, _ in pairs if v == u)
        degree_i = sum(1 for _, j in pairs if j == i)
        weight = 1 / (degree_u * degree_i) ** 0.5
        full[u, N_USERS + i] = full[N_USERS + i, u] = weight
    return full


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_product_and_both_gradients_equal_the_dense_ones(seed: int) -> None:
    matrix, full = random_matrix(seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(8, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    values = matrix.values.clone().requires_grad_()
    (matrix(x, values) * weight).sum().backward()
    mine = x.grad.clone(), values.grad.clone()
    x.grad = None
    whole = full.clone().requires_grad_()
    expected = whole @ x
    (expected * weight).sum().backward()
    torch.testing.assert_close(matrix(x), expected)
    torch.testing.assert_close(mine[0], x.grad)
    torch.testing.assert_close(mine[1], whole.grad[matrix.rows, matrix.columns])
    torch.testing.assert_close(dense(matrix), full)


def test_constant_and_given_values_have_the_same_gradient() -> None:
    matrix, full = random_matrix(3)
    for values in (None, matrix.values.clone()):
        x = torch.ones(8, 2, dtype=torch.float64, requires_grad=True)
        matrix(x, values).sum().backward()
        torch.testing.assert_close(x.grad, full.sum(0)[:, None].expand(8, 2))


def test_value_gradients_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "sampled_products", gathered_products)
    matrix, _ = random_matrix(4)
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = []
    for size in (1 << 20, 6):
        monkeypatch.setattr(graph_module, "NUMBERS_AT_ONCE", size)
        values = matrix.values.clone().requires_grad_()
        matrix(x, values).square().sum().backward()
        gradients.append(values.grad)
    torch.testing.assert_close(*gradients)


def test_an_empty_matrix_gives_zeros() -> None:
    none = torch.zeros(0, dtype=torch.long)
    matrix = Sparse(none, none, torch.zeros(0), (2, 3))
    x = torch.ones(3, 4, requires_grad=True)
    result = matrix(x)
    result.sum().backward()
    assert result.tolist() == [[0] * 4] * 2
    assert x.grad.tolist() == [[0] * 4] * 3


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_the_csr_product_of_the_accelerator_path_agrees() -> None:
    matrix, full = random_matrix(5)
    x = torch.ones(8, 2, dtype=torch.float64)
    torch.testing.assert_close(
        graph_module.csr_product(matrix.indptr, matrix.columns, matrix.values, x), full @ x
    )


def test_more_entries_than_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries given twice, in a small catalogue; cuSPARSE refuses them (seen on an H200)."""
    rows, columns = torch.tensor([0, 1, 1, 1, 1, 0]), torch.tensor([0, 0, 0, 1, 1, 0])
    matrix = Sparse(rows.repeat(2), columns.repeat(2), torch.arange(1.0, 13.0), (3, 2))
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(torch, "sparse_csr_tensor", None)
    found = graph_module.csr_product(matrix.indptr, matrix.columns, matrix.values, x)
    torch.testing.assert_close(found, dense(matrix) @ x)


def test_user_item_graph_is_normalised_once_and_symmetric(graph: UserItemGraph) -> None:
    full = dense(graph).double()
    torch.testing.assert_close(full, normalised(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(full, full.T)
    assert not full[N_USERS + 8].any()  # the item nobody took


def test_weights_are_normalised_over_the_pairs_that_are_kept(graph: UserItemGraph) -> None:
    full = dense(graph, without_some(graph)).double()
    kept = {(u, i) for u, i in PAIRS if full[u, N_USERS + i] > 0}
    assert 0 < len(kept) < len(PAIRS)
    torch.testing.assert_close(full, normalised([p in kept for p in PAIRS]), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_mean_of_layers_equals_the_sum_of_powers(graph: UserItemGraph, layers: int) -> None:
    x = torch.randn(NODES, 4, generator=torch.Generator().manual_seed(2), requires_grad=True)
    weight = torch.randn(NODES, 4, generator=torch.Generator().manual_seed(3))
    result = mean_of_layers(graph, x, layers)
    (result * weight).sum().backward()
    power, full = torch.eye(NODES, dtype=torch.float64), normalised()
    mean = torch.zeros_like(power)
    for _ in range(layers + 1):
        mean += power / (layers + 1)
        power = power @ full
    torch.testing.assert_close(result.double(), mean @ x.double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(x.grad.double(), mean.T @ weight.double(), rtol=1e-5, atol=1e-6)


def test_mean_of_layers_with_dropped_pairs(graph: UserItemGraph) -> None:
    values = without_some(graph)
    full, x = dense(graph, values), torch.ones(NODES, 2, requires_grad=True)
    result = mean_of_layers(graph, x, 2, values)
    result.sum().backward()
    expected = (torch.eye(NODES) + full + full @ full) / 3
    torch.testing.assert_close(result, expected @ torch.ones(NODES, 2))
    torch.testing.assert_close(x.grad, expected.T @ torch.ones(NODES, 2))


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_mean_by_side_is_the_mean_of_each_side_alone(graph: UserItemGraph, layers: int) -> None:
    drawn = torch.Generator().manual_seed(2)
    x = torch.randn(NODES, 4, generator=drawn, requires_grad=True)
    weights = torch.randn(2, NODES, 4, generator=drawn)
    of_users = torch.arange(NODES)[:, None] < graph.n_users
    from_users = mean_of_layers(graph, x * of_users, layers)
    from_items = mean_of_layers(graph, x * ~of_users, layers)
    expected = (
        torch.where(of_users, from_users, from_items),  # of a node's own side
        torch.where(of_users, from_items, from_users),
    )
    found = mean_by_side(graph, x, layers)
    for part, whole in zip(found, expected, strict=True):
        torch.testing.assert_close(part, whole)
    gradients = [
        torch.autograd.grad(sum((p * w).sum() for p, w in zip(parts, weights, strict=True)), x)[0]
        for parts in (found, expected)
    ]
    torch.testing.assert_close(*gradients)


def test_a_user_without_items_has_an_empty_row() -> None:
    train = UserItems.from_pairs(np.array([0, 2]), np.array([1, 1]), 3, 4)
    graph = UserItemGraph(train)
    x = torch.ones(7, 1)
    assert graph(x)[:, 0].tolist() == pytest.approx([0.5**0.5, 0, 0.5**0.5, 0, 2**0.5, 0, 0])


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_products_at_entries_are_the_same_both_ways(kind: torch.dtype) -> None:
    rows, columns = torch.tensor([3, 0, 0, 2, 3]), torch.tensor([1, 1, 1, 0, 4])  # one twice
    matrix = Sparse(rows, columns, torch.ones(5), (4, 5))
    left, right = torch.randn(4, 7).to(kind), torch.randn(7, 5).to(kind).T
    found = sampled_products(matrix, left, right)
    assert found.dtype == kind
    torch.testing.assert_close(found, gathered_products(matrix, left, right))
