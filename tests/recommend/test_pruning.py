"""Pruned user-item graphs against loops, and how often each pair is kept."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from mmx.recommend.blocks.graph import Sparse, UserItemGraph
from mmx.recommend.blocks.propagation import mean_of_layers
from mmx.recommend.blocks.pruning import draw, pruned
from mmx.recommend.interactions import UserItems
from tests.recommend.slow import kept_pairs, propagated
from tests.recommend.toy import N_ITEMS, N_USERS, PAIRS, TAKEN, toy_train


def graph_of(share: float, seed: int = 0) -> Sparse:
    return pruned(UserItemGraph(toy_train()), share, torch.Generator().manual_seed(seed))


def weights() -> dict[tuple[int, int], float]:
    """1/√(d_u d_i) of each pair."""
    takers = {i: sum(i in items for items in TAKEN.values()) for i in range(N_ITEMS)}
    return {(u, i): (len(TAKEN[u]) * takers[i]) ** -0.5 for u, i in PAIRS}


@pytest.mark.parametrize(("share", "kept"), [(0.2, 12), (0.5, 8), (0.8, 3), (0.99, 1)])
def test_so_many_pairs_are_kept(share: float, kept: int) -> None:
    assert len(PAIRS) == 16
    found = kept_pairs(graph_of(share))
    pairs = [(u, i) for u, items in found.items() for i in items]
    assert len(set(pairs)) == len(pairs) == kept
    assert set(pairs) <= set(PAIRS)


def test_a_share_that_floats_do_not_hold_is_not_rounded_down() -> None:
    train = UserItems.from_pairs(np.zeros(10, int), np.arange(10), 1, 10)
    found = pruned(UserItemGraph(train), 0.8, torch.Generator().manual_seed(0))
    assert len(found.columns) == 2 * 2


@pytest.mark.parametrize("layers", [1, 3])
def test_it_propagates_over_the_degrees_of_what_was_kept(layers: int) -> None:
    graph = graph_of(0.5)
    drawn = torch.Generator().manual_seed(1)
    x = torch.randn(N_USERS + N_ITEMS, 3, generator=drawn, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(N_USERS + N_ITEMS, 3, generator=drawn, dtype=torch.float64)
    found = mean_of_layers(graph, x, layers)
    expected = torch.stack(propagated({"nodes": x}, layers, kept_pairs(graph)))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-7)


def test_nothing_is_dropped_or_drawn_without_a_share() -> None:
    graph, generator = UserItemGraph(toy_train()), torch.Generator()
    before = generator.get_state()
    assert pruned(graph, 0.0, generator) is graph
    assert torch.equal(generator.get_state(), before)


def test_the_generator_decides() -> None:
    first, same, other = (kept_pairs(graph_of(0.5, seed)) for seed in (1, 1, 2))
    assert first == same != other


def test_pairs_are_kept_as_often_as_drawing_one_by_one_keeps_them() -> None:
    """Each of ⌊0.2·16⌋ = 3 draws takes a pair that is left, in proportion to its weight."""
    weight = weights()
    expected, total = dict.fromkeys(PAIRS, 0.0), sum(weight.values())
    for order in permutations(PAIRS, 3):
        chance, left = 1.0, total
        for pair in order:
            chance, left = chance * weight[pair] / left, left - weight[pair]
        for pair in order:
            expected[pair] += chance
    assert sum(expected.values()) == pytest.approx(3)
    draws, generator = 20_000, torch.Generator().manual_seed(0)
    given = torch.tensor([weight[pair] for pair in PAIRS])
    counts = torch.zeros(len(PAIRS))
    for _ in range(draws):
        counts[draw(given, 3, generator)] += 1
    for pair, count in zip(PAIRS, counts.tolist(), strict=True):
        p = expected[pair]
        assert abs(count / draws - p) < 5 * (p * (1 - p) / draws) ** 0.5, pair


def test_a_busy_pair_is_dropped_more_often() -> None:
    graph, generator = UserItemGraph(toy_train()), torch.Generator().manual_seed(0)
    counts = dict.fromkeys(PAIRS, 0)
    for _ in range(400):
        for user, items in kept_pairs(pruned(graph, 0.7, generator)).items():
            for item in items:
                counts[user, item] += 1
    weight = weights()
    ranked = sorted(PAIRS, key=lambda pair: weight[pair])
    rare, common = (np.mean([counts[p] for p in part]) for part in (ranked[-4:], ranked[:4]))
    assert rare > 1.2 * common


def test_a_graph_without_pairs_stays_as_it_is() -> None:
    none = np.zeros(0, int)
    graph = UserItemGraph(UserItems.from_pairs(none, none, 2, 3))
    assert pruned(graph, 0.8, torch.Generator()) is graph
