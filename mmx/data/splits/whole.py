"""Rules that hold out whole users or whole items."""

from __future__ import annotations

import numpy as np

from mmx.data.splits.by_point import temporal
from mmx.data.splits.by_user import of_folds
from mmx.data.splits.parts import FOLD_IN, TEST, TRAIN, VALID, places
from mmx.data.splits.point import is_share
from mmx.data.splits.rule import SHARE, SplitRule

FEWEST = 2  # interactions of a user who is held out: one to fold in, one target


def held_out_users(
    users: np.ndarray, keys: np.ndarray, drawn: np.ndarray, rule: SplitRule
) -> np.ndarray:
    """Strong generalisation: of a held-out user ⌊n/5⌋ drawn rows, one at least, are targets.

    The user's others are FOLD_IN: known when the user is scored, and never trained on. The shares
    are those of Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018.
    ``users`` (rows,) are numbers from 0, ``keys`` (rows,) hashes of the users.
    """
    n, place = places(users, drawn)
    mine = np.full(len(users), TRAIN)
    enough = n >= FEWEST
    mine[enough] = _drawn(users[enough], keys[enough], rule)
    known = (mine != TRAIN) & (place >= np.maximum(1, n // 5))
    return np.where(known, FOLD_IN, mine)


def cold_items(
    items: np.ndarray, keys: np.ndarray, times: np.ndarray | None, rule: SplitRule
) -> np.ndarray:
    """Whole items held out: drawn, or by the time of their first interaction."""
    if rule.point is None or is_share(rule.point):
        return _drawn(items, keys, rule)
    assert times is not None
    order = np.lexsort((times, items))
    first = times[order][np.unique(items[order], return_index=True)[1]]  # by item number
    return temporal(first, rule.point, "first interactions of the items")[items]


def _drawn(ids: np.ndarray, keys: np.ndarray, rule: SplitRule) -> np.ndarray:
    """(rows,) parts, the same for all rows of an id; its key says in which it is."""
    _, first, number = np.unique(ids, return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(keys[first], kind="stable")] = np.arange(len(first))
    if rule.folds:
        return of_folds(place, rule.folds, rule.fold)[number]
    share = SHARE if rule.point is None else float(rule.point)
    held = max(1, round((1 - share) * len(first)))
    parts = np.where(place < held, TEST, np.where(place < 2 * held, VALID, TRAIN))
    return parts[number]
