"""GRCN against loops in float64."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from mmx.recommend.blocks.attention import attended, entry_products, of_columns
from mmx.recommend.blocks.graph import Sparse
from tests.recommend.slow import feature
from tests.recommend.toy import (
    N_ITEMS,
    N_USERS,
    TAKEN,
    same_scores,
    same_step,
    toy_model,
)

Parameters = Mapping[str, torch.Tensor]
Vectors = list[torch.Tensor]
REG = 0.05
TAKERS = [[u for u in range(N_USERS) if i in TAKEN[u]] for i in range(N_ITEMS)]
NEIGHBOURS = [[N_USERS + i for i in TAKEN[u]] for u in range(N_USERS)] + TAKERS


def softmax(x: Vectors, node: int) -> torch.Tensor:
    """Of a node's inner products with its neighbours."""
    each = [torch.exp(x[node] @ x[c]) for c in NEIGHBOURS[node]]
    return torch.stack([one / sum(each) for one in each])


def prototypes(p: Parameters, name: str, routings: int, normalise: bool) -> Vectors:
    """Users' prototypes after routing, then the items' projected contents."""
    at = f"modalities.{name}"
    x = [p[f"{at}.user"][u] / p[f"{at}.user"][u].norm() for u in range(N_USERS)]
    for i in range(N_ITEMS):
        f = feature(p[f"{at}.project.content.default"], name, i, normalise)
        v = p[f"{at}.project.weight"] @ f + p[f"{at}.project.offset"]
        v = torch.where(v > 0, v, 0.01 * v)
        x.append(v / v.norm())
    for _ in range(routings):
        moved = []
        for u in range(N_USERS):
            shares = softmax(x, u)
            y = x[u] + sum(a * x[c] for a, c in zip(shares, NEIGHBOURS[u], strict=True))
            moved.append(y / y.norm())
        x[:N_USERS] = moved
    return x


def final(
    p: Parameters, names: tuple[str, ...], layers: int, routings: int, normalise: bool
) -> Vectors:
    """e of every node."""
    modal = [prototypes(p, name, routings, normalise) for name in names]
    nodes = range(N_USERS + N_ITEMS)
    weights, spread = [], []
    for n in nodes:
        around = NEIGHBOURS[n]
        each = [softmax(x, n) if around else [] for x in modal]
        weights.append(
            {
                c: F.relu(max(a[place] * p["trust"][c, m] for m, a in enumerate(each)))
                for place, c in enumerate(around)
            }
        )
        spread.append(
            [
                x[n] + sum((a[k] * x[c] for k, c in enumerate(around)), torch.zeros_like(x[n]))
                for x, a in zip(modal, each, strict=True)
            ]
        )
    layer = [p["nodes"][n] / p["nodes"][n].norm() for n in nodes]
    total = list(layer)
    for _ in range(layers):
        zero = torch.zeros_like(layer[0])
        layer = [sum((w * layer[c] for c, w in weights[n].items()), zero) for n in nodes]
        total = [t + x for t, x in zip(total, layer, strict=True)]
    return [torch.cat([total[n], *spread[n]]) for n in nodes]


def loss(p: Parameters, batch: list, names: tuple[str, ...], *given: object) -> torch.Tensor:
    e = final(p, names, *given)  # type: ignore[arg-type]
    total = torch.zeros((), dtype=torch.float64)
    for u, i, j in batch:
        difference = e[u] @ e[N_USERS + i] - e[u] @ e[N_USERS + j]
        ids = [p["nodes"][n].square().mean() for n in (u, N_USERS + i, N_USERS + j)]
        touched = ids[0] + (ids[1] + ids[2]) / 2
        touched = touched + sum(p[f"modalities.{m}.user"][u].square().mean() for m in names)
        total = total + (REG * touched - F.logsigmoid(difference)) / len(batch)
    return total


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(("layers", "routings"), [(2, 3), (1, 0), (3, 1)])
@pytest.mark.parametrize("names", [("image",), ("audio", "image", "text")])
def test_it_equals_the_reference(
    names: tuple[str, ...], layers: int, routings: int, normalise: bool
) -> None:
    given = (names, layers, routings, normalise)
    model = toy_model(
        "grcn", *names, dim=3, layers=layers, routings=routings, normalise=normalise, reg=REG
    )
    same_step(model, lambda p, b: loss(p, b, *given))

    def scores(p: Parameters) -> torch.Tensor:
        e = torch.stack(final(p, *given))
        return e[:N_USERS] @ e[N_USERS:].T

    same_scores(model, scores)


def test_an_edge_that_no_modality_trusts_carries_nothing() -> None:
    model = toy_model("grcn", "image", "text", dim=3)
    with torch.no_grad():
        model.trust.fill_(-1)
        ids = model._final()[:, :3]
        torch.testing.assert_close(ids, F.normalize(model.nodes))


def test_routing_moves_users_to_their_items_and_no_item() -> None:
    models = [toy_model("grcn", "image", dim=3, routings=n) for n in (0, 3)]
    with torch.no_grad():
        still, moved = (m.modalities["image"](m.history)[0] for m in models)
    assert torch.equal(still[N_USERS:], moved[N_USERS:])
    for u, taken in TAKEN.items():
        middle = still[N_USERS:][taken].mean(0)
        assert moved[u] @ middle > still[u] @ middle


def test_attention_over_entries_with_an_empty_row_and_an_empty_column() -> None:
    rows, columns = torch.tensor([2, 0, 0]), torch.tensor([1, 3, 1])
    matrix = Sparse(rows, columns, torch.ones(3), (3, 4))
    left, right = torch.randn(3, 2), torch.randn(4, 2)
    found = entry_products(left, right, matrix)
    expected = torch.stack([left[0] @ right[1], left[0] @ right[3], left[2] @ right[1]])
    torch.testing.assert_close(found, expected)
    weights = torch.tensor([1.0, 3.0, 5.0])
    means, sums = attended(matrix, weights, right)
    torch.testing.assert_close(means[0], (right[1] + 3 * right[3]) / 4)
    torch.testing.assert_close(means[2], right[1])
    assert not means[1].any()
    assert sums.tolist() == [4, 0, 5]


def test_attention_has_the_gradients_of_its_formula() -> None:
    generator = torch.Generator().manual_seed(2)
    rows, columns = torch.tensor([2, 0, 0, 2, 2]), torch.tensor([1, 3, 1, 0, 3])
    matrix = Sparse(rows, columns, torch.ones(5), (3, 4)).double()
    given = [torch.rand(5, generator=generator), torch.randn(4, 2, generator=generator)]
    weights, x = (one.double().requires_grad_() for one in given)
    assert torch.autograd.gradcheck(lambda w, y: attended(matrix, w, y), (weights, x))
    left = torch.randn(3, 2, generator=generator).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: entry_products(a, b, matrix), (left, x))
    assert torch.equal(of_columns(matrix, x), x[matrix.columns])
    assert torch.autograd.gradcheck(lambda y: of_columns(matrix, y), (x,))


def test_features_are_needed() -> None:
    with pytest.raises(OptionError, match="grcn needs item features"):
        toy_model("grcn")
