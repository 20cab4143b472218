"""MF-BPR against loops in float64."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F

from tests.recommend.toy import N_ITEMS, N_USERS, same_scores, same_step, toy_model

REG = 0.07


def score(p: Mapping[str, torch.Tensor], u: int, i: int, biased: bool) -> torch.Tensor:
    """Section 4.3.1: x̂_ui = Σ_f w_uf h_if, here with β_i."""
    inner = sum(p["user"][u, f] * p["item"][i, f] for f in range(p["user"].shape[1]))
    return inner + p["bias"][i] if biased else inner


def loss(p: Mapping[str, torch.Tensor], batch: list, biased: bool) -> torch.Tensor:
    """BPR-Opt, the mean over the batch."""
    total = torch.zeros((), dtype=torch.float64)
    for u, i, j in batch:
        difference = score(p, u, i, biased) - score(p, u, j, biased)
        squares = (p["user"][u] ** 2).sum() + (p["item"][i] ** 2).sum() + (p["item"][j] ** 2).sum()
        if biased:
            squares = squares + p["bias"][i] ** 2 + p["bias"][j] ** 2
        total = total - F.logsigmoid(difference) + REG * squares / 2
    return total / len(batch)


def all_scores(p: Mapping[str, torch.Tensor], biased: bool) -> torch.Tensor:
    rows = [torch.stack([score(p, u, i, biased) for i in range(N_ITEMS)]) for u in range(N_USERS)]
    return torch.stack(rows)


def test_it_equals_the_reference() -> None:
    model = toy_model("bpr", dim=4, reg=REG)
    same_step(model, lambda p, batch: loss(p, batch, True))
    same_scores(model, lambda p: all_scores(p, True))


def test_without_a_bias_only_the_factors_count() -> None:
    model = toy_model("bpr", dim=4, reg=REG, item_bias=False)
    with torch.no_grad():
        model.bias.zero_()  # as it is drawn; it is not trained
    same_step(model, lambda p, batch: loss(p, batch, False), still=("bias",))
    same_scores(model, lambda p: all_scores(p, False))
    with torch.no_grad():
        assert [side.shape[1] for side in model.factors()] == [4, 4]


def test_regularisation_is_a_mean_over_the_batch() -> None:
    weak, strong = (toy_model("bpr", dim=4, reg=reg) for reg in (0.0, 1.0))
    users, items, others = (torch.tensor([0, 1]), torch.tensor([1, 2]), torch.tensor([5, 6]))
    difference = strong.loss(users, items, others) - weak.loss(users, items, others)
    touched = [strong.user[users], strong.item[items], strong.item[others],
               strong.bias[items], strong.bias[others]]  # fmt: skip
    expected = sum(float((t.detach().double() ** 2).sum()) for t in touched) / 2 / 2
    assert difference.item() == pytest.approx(expected, rel=1e-5)
