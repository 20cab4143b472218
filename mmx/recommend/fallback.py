"""What somebody is shown of whom the model knows nothing: what most users took."""

from __future__ import annotations

import numpy as np

from mmx.recommend.diversity import UNCAPPED, within_cap
from mmx.recommend.interactions import UserItems

FALLBACKS = ("none", "popular")


def popular(train: UserItems, allowed: np.ndarray | None = None) -> np.ndarray:
    """Numbers of all items by their training users, most first, equal ones by rising number.

    Items that nobody took come last. ``allowed`` (items,) bool leaves out the others.
    """
    order = np.argsort(-train.item_counts, kind="stable")
    return order if allowed is None else order[allowed[order]]


def filled_up(
    items: np.ndarray,
    order: np.ndarray,
    hidden: np.ndarray,
    k: int,
    groups: np.ndarray | None = None,
    most: int = 0,
) -> np.ndarray:
    """The item numbers that make a list of (n,) items one of k, as far as there are some.

    They are the first of ``order`` that are neither in the list nor ``hidden``. With ``groups``
    (of all items of the catalogue) the list has at most ``most`` of each group.
    """
    need = k - len(items)
    if need <= 0:
        return order[:0]
    reach = need + len(items) + len(hidden)
    while True:
        some = order[:reach]
        some = some[~np.isin(some, np.concatenate([items, hidden]))]
        if groups is not None:
            some = some[_fitting(groups[items], groups[some], most)]
        if len(some) >= need or reach >= len(order):
            return some[:need]
        reach *= 4


def _fitting(listed: np.ndarray, more: np.ndarray, most: int) -> np.ndarray:
    """(m,) bool: which of m items, by their groups, a list of others has room for."""
    keep = within_cap(np.concatenate([listed, more])[None], most)[0]
    return keep[len(listed) :] | (more == UNCAPPED)
