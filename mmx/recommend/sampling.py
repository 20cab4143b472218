"""Which training pairs make an epoch, and a negative item for each, never one the user has taken.

Without weights an epoch is every pair once. With weights it is as many, drawn in proportion to
them: pair p is there ⌊n w_p / Σw⌋ or ⌈n w_p / Σw⌉ times, n w_p / Σw in the mean (systematic
sampling: n points at equal distances, from a drawn start, on a line on which each pair has its
weight as its length). The mean gradient of an epoch is that of a loss whose term of each pair is
multiplied by its weight over the mean weight, whatever the loss; equal weights are every pair once.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from mmx.errors import DataError, one_of
from mmx.recommend.interactions import UserItems
from mmx.recommend.options import NEGATIVES

REDRAWS = 32  # of positives, before what is left is drawn among the others directly


class NegativeSampler:
    """Draws positives by weight, and items as negatives, again where it hit a positive.

    "uniform" draws every item with the same chance. "popularity" draws an item in proportion to
    how often it was taken in training, and never one without training interactions.
    A user for whom every draw would be a positive has no negative: those pairs are skipped.
    """

    def __init__(
        self, train: UserItems, device: torch.device | str = "cpu", rule: str = "uniform"
    ) -> None:
        """Raises DataError when no user has a negative, so that nothing could be drawn."""
        one_of("--negatives", rule, NEGATIVES)
        self.n_items, self.rule, self._train = train.n_items, rule, train
        self.keys = _tensor(train.keys, device)
        full = _masses(train, rule).of_others <= 0  # (users,)
        skipped = full[train.users]  # (pairs,)
        self.pairs = _tensor(train.keys[~skipped], device) if skipped.any() else self.keys
        self.ends = None  # (pairs,) where each pair ends on the line, in points; None: all alike
        if train.weights is not None:
            ends = np.cumsum(train.weights[~skipped])
            self.ends = _tensor(ends * (len(ends) / ends[-1:]), device)
        self.skipped_users = int((full & (train.counts > 0)).sum())
        if not len(self.pairs):
            raise DataError(_nothing_to_draw(train, rule))

    @property
    def skipped(self) -> str:
        """One line on the pairs that are not trained on; empty where all are."""
        pairs = len(self.keys) - len(self.pairs)
        if not pairs:
            return ""
        who = f"{self.skipped_users} user" + ("s" if self.skipped_users > 1 else "")
        return (
            f"{who} took {_EVERYTHING[self.rule]}, so that there is no negative item: "
            f"{pairs} of {len(self.keys)} training pairs are skipped"
        )

    def positives(self, generator: torch.Generator) -> torch.Tensor:
        """The pairs of an epoch, (pairs,) user * n_items + item, not in random order."""
        if self.ends is None:
            return self.pairs
        n, device = len(self.pairs), self.pairs.device
        start = torch.rand(1, generator=generator, dtype=torch.float64, device=device)
        places = torch.searchsorted(self.ends, start + torch.arange(n, device=device), right=True)
        return self.pairs[places.clamp_(max=n - 1)]

    def draw(self, users: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """One item for each of (n,) users, none of them skipped → (n,) int64."""
        items = self._any(len(users), generator)
        wrong = self._positive(users, items).nonzero()[:, 0]
        for _ in range(REDRAWS):
            if not len(wrong):
                break
            items[wrong] = self._any(len(wrong), generator)
            wrong = wrong[self._positive(users[wrong], items[wrong])]
        if len(wrong):  # of users who took nearly everything
            items[wrong] = self._others.draw(users[wrong], generator)
        return items

    @cached_property
    def _others(self) -> _Others:
        return _Others(self._train, self.keys.device, self.rule)

    def _any(self, count: int, generator: torch.Generator) -> torch.Tensor:
        device = self.keys.device
        if self.rule == "uniform":
            return torch.randint(self.n_items, (count,), generator=generator, device=device)
        # an item is as likely as it is frequent: take the item of a random training pair
        pairs = torch.randint(len(self.keys), (count,), generator=generator, device=device)
        return self.keys[pairs] % self.n_items

    def _positive(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        wanted = users * self.n_items + items
        place = torch.searchsorted(self.keys, wanted).clamp_(max=len(self.keys) - 1)
        return self.keys[place] == wanted


class _Masses(NamedTuple):
    """How likely items are to be drawn, in whole numbers."""

    of_items: np.ndarray  # (items,)
    of_pairs: np.ndarray  # (pairs + 1,) of all pairs before
    of_others: np.ndarray  # (users,) of the items that the user did not take


def _masses(train: UserItems, rule: str) -> _Masses:
    items = train.item_counts if rule == "popularity" else np.ones(train.n_items, np.int64)
    before = np.concatenate([[0], np.cumsum(items[train.indices])])
    return _Masses(items, before, items.sum() - np.diff(before[train.indptr]))


class _Others:
    """Draws among the items that a user did not take, without rejected draws.

    Items are stretches of a line, each as long as its mass; the user's own are cut out. A point is
    drawn on what is left of the line, and moved past the cuts before it.
    """

    def __init__(self, train: UserItems, device: torch.device | str, rule: str) -> None:
        items, pairs, others = _masses(train, rule)
        ends, starts = np.cumsum(items), pairs[train.indptr]
        own = pairs[:-1] - starts[train.users]  # (pairs,) of the user's items before
        left = ends[train.indices] - items[train.indices] - own  # where its gap was
        self.row = int(ends[-1]) + 1  # longer than any line
        self.ends, self.others = _tensor(ends, device), _tensor(others, device)
        self.gaps, self.starts = _tensor(pairs, device), _tensor(starts, device)
        self.keys = _tensor(train.users * self.row + left, device)  # ascending

    def draw(self, users: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """One item for each of (n,) users that have others → (n,) int64."""
        length, device = self.others[users], users.device
        part = torch.rand(len(users), generator=generator, dtype=torch.float64, device=device)
        point = torch.minimum((part * length).long(), length - 1)
        passed = torch.searchsorted(self.keys, users * self.row + point, right=True)
        moved = point + self.gaps[passed] - self.starts[users]
        return torch.searchsorted(self.ends, moved, right=True)


def _nothing_to_draw(train: UserItems, rule: str) -> str:
    if not len(train.indices):
        return "there is no training interaction, and so nothing to train on"
    fix = "" if rule == "uniform" else "set --negatives uniform, or "
    return (
        f"every user took {_EVERYTHING[rule]}, so that there is no negative item to train on; "
        f"{fix}choose --model popularity or itemknn"
    )


_EVERYTHING = {"uniform": "every item", "popularity": "every item that anybody took"}


def _tensor(numbers: np.ndarray, device: torch.device | str) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(numbers)).to(device)
