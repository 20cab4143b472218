"""Scores for users a run has never seen, given as lists of items.

Item-item weights know no users: a new one is one more history. A run with embeddings
needs a vector for the newcomer. It is estimated from the users that the run knows: their trained
vectors p_u are regressed on a sum of their items' vectors q_i,

    x_u = [Σ_{i taken by u} q_i / √n_u, 1],   W = argmin ‖XW − P‖² + λ‖W'‖²,   p_new = x_new W

W' is W without the row of the constant, and λ is relative to the size of X. The sum over √n is how
SVD++ folds a user's items in (Koren, "Factorization Meets the Neighborhood", KDD 2008, section 4).
The map is linear, so that it holds for any model whose scores are inner products, those
with a constant 1 for an item bias included. Where users are the solution of an equation, as in
iALS, a new one is, too. The sum is over the items alone, whatever the pairs weigh: what a new user
has of them is not known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast, overload

import numpy as np

from mmx.errors import RunError
from mmx.recommend.blocks.item_item import ItemItem, sum_of_rows
from mmx.recommend.ensemble import Ensemble
from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.scoring import Factors, Scorer

REG = 1e-2  # λ as a share of the mean squared length of X's columns


def newcomers(scorer: Scorer, train: UserItems, histories: UserItems) -> Scorer:
    """The scorer of n new users, numbered as the rows of ``histories`` (n, items).

    ``train`` (users, items) are the training interactions of the users that ``scorer`` knows.
    Raises RunError when the scorer has no rule for new users.
    """
    if isinstance(scorer, ItemItem):
        return scorer.of(histories)
    if isinstance(scorer, Factors):
        if scorer.solve is not None:
            return replace(scorer, users=scorer.solve.solved(scorer.items, histories))
        return replace(scorer, users=_folded_in(scorer, train, histories))
    if isinstance(scorer, Ensemble):
        parts = tuple(newcomers(part, train, histories) for part in scorer.parts)
        return Ensemble(parts, scorer.weights, histories)
    raise RunError(f"a {type(scorer).__name__} cannot score new users")


@overload
def with_held_out(scorer: Factors, data: Interactions) -> Factors: ...


@overload
def with_held_out(scorer: Scorer, data: Interactions) -> Scorer: ...


def with_held_out(scorer: Scorer, data: Interactions) -> Scorer:
    """The scorer with each user who was held out from training scored as a new one.

    Without held-out users it is ``scorer`` itself. Raises RunError as ``newcomers`` does.
    """
    if data.fold_in is None:
        return scorer
    if isinstance(scorer, ItemItem):
        return scorer.of(data.known)
    if isinstance(scorer, Factors):
        held_out = np.flatnonzero(data.fold_in.counts > 0)
        new = newcomers(scorer, data.train, data.fold_in.rows(held_out))
        users = scorer.users.copy()
        users[held_out] = cast(Factors, new).users
        return replace(scorer, users=users)
    raise RunError(f"a {type(scorer).__name__} cannot score users who were held out")


def _folded_in(scorer: Factors, train: UserItems, histories: UserItems) -> np.ndarray:
    """(n, k) float32 vectors of new users."""
    known = np.flatnonzero(train.counts > 0)
    x = _summary(scorer.items, train.rows(known))  # (known, k + 1)
    gram = x.T @ x
    squares = np.diag(gram)[:-1]
    ridge = np.append(np.full(len(squares), REG * squares.mean()), 0.0)  # none on the constant
    targets = x.T @ scorer.users[known].astype(np.float64)
    weights = np.linalg.lstsq(gram + np.diag(ridge), targets, rcond=None)[0]
    return np.asarray(_summary(scorer.items, histories) @ weights, dtype=np.float32)


def _summary(items: np.ndarray, histories: UserItems) -> np.ndarray:
    """x of each row: (n, k + 1) float64."""
    roots = np.sqrt(np.maximum(histories.counts, 1))[:, None]
    ones = np.ones((histories.n_users, 1))
    sums = sum_of_rows(histories.unweighted(), items)
    return np.concatenate([sums / roots, ones], axis=1)
