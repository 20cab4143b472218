"""The frozen item graph against loops; items that lack one modality or all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmx.errors import OptionError
from mmx.recommend.blocks.frozen_graph import frozen_graph, graph_shares
from mmx.recommend.features import Features
from tests.recommend.slow import frozen_rows
from tests.recommend.toy import N_ITEMS, toy_features


def dense(features: dict[str, Features], k: int, shares: dict[str, float]) -> torch.Tensor:
    graph = frozen_graph(features, k, shares)
    return graph(torch.eye(len(next(iter(features.values())).matrix)))


@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize(
    "shares",
    [{"image": 1.0}, {"image": 0.1, "text": 0.9}, {"image": 0.1, "text": 0.6, "audio": 0.3}],
)
def test_it_equals_the_loops(shares: dict[str, float], k: int) -> None:
    found = dense(toy_features(*shares), k, shares)
    torch.testing.assert_close(found.double(), frozen_rows(shares, k, normalise=False))


def test_rows_sum_to_one_whatever_an_item_lacks() -> None:
    found = dense(toy_features("image", "text"), 3, {"image": 0.1, "text": 0.9})
    sums = torch.ones(N_ITEMS)
    sums[3] = 0  # has neither
    torch.testing.assert_close(found.sum(1), sums)
    assert found[6].count_nonzero() == found[5].count_nonzero() == 3  # one modality each


def test_a_vector_of_zeros_has_no_neighbours_and_is_nobodys() -> None:
    matrix = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    matrix[2] = 0
    found = dense({"image": Features(matrix, np.ones(5, dtype=bool))}, 2, {"image": 1.0})
    assert torch.isfinite(found).all()
    assert not found[2].any()
    assert not found[:, 2].any()


def test_without_any_vector_it_is_empty() -> None:
    none = Features(np.zeros((4, 3), dtype=np.float32), np.zeros(4, dtype=bool))
    assert not dense({"image": none}, 2, {"image": 1.0}).any()


@pytest.mark.parametrize(
    ("names", "text", "expected"),
    [
        (("image", "text"), "", {"image": 0.1, "text": 0.9}),
        (("image", "text", "audio"), "", {"image": 0.1, "text": 0.45, "audio": 0.45}),
        (("text", "audio"), "", {"text": 0.5, "audio": 0.5}),
        (("image",), "", {"image": 1.0}),
        (("image", "text"), "image:3,text:1", {"image": 0.75, "text": 0.25}),
        (("image", "text"), "text:1", {"text": 1.0}),
    ],
)
def test_shares(names: tuple[str, ...], text: str, expected: dict[str, float]) -> None:
    assert graph_shares(text, toy_features(*names)) == pytest.approx(expected)


def test_shares_of_a_modality_that_is_not_there_are_refused() -> None:
    with pytest.raises(OptionError, match="no modality 'text'"):
        graph_shares("text:1", toy_features("image"))
