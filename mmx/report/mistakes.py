"""The recommendations that a run was surest of and that their user did not take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmx.recommend.list_metrics import Lists
from mmx.recommend.scoring import rank

USERS_AT_ONCE = 256


@dataclass(frozen=True)
class Mistake:
    """An item high in the list of someone who took it in no split."""

    user: str
    item: str
    score: float
    place: int  # in the list, from 1
    trained: int  # items that the user trained on
    held_out: int  # items that the user took in the test
    best: int  # place of the best of those among all items; 0: the model ranks none


def mistakes_of(lists: Lists, count: int) -> list[Mistake]:
    """The ``count`` highest scores, each of another user and another item."""
    run, data = lists.run, lists.run.data
    ranked = rank(run.scorer, lists.users, 1, data.seen)
    first, scores = ranked.items[:, 0], ranked.scores[:, 0]
    found: list[Mistake] = []
    used: set[int] = set()
    for row in np.argsort(-scores, kind="stable"):
        item = int(first[row])
        if item < 0 or item in used or len(found) == count:
            continue
        used.add(item)
        found.append(_described(lists, int(lists.users[row]), item, float(scores[row])))
    return found


def _described(lists: Lists, user: int, item: int, score: float) -> Mistake:
    data, one = lists.run.data, np.array([user])
    held_out = data.test.rows(one).indices
    scores = lists.run.scorer.scores(one)[0].astype(np.float64)
    scores[data.known.rows(one).indices] = -np.inf
    best = scores[held_out].max(initial=-np.inf)
    return Mistake(
        data.users.ids[user].as_py(),
        data.items.ids[item].as_py(),
        score,
        1 + int((scores > scores[item]).sum()),
        int(data.known.counts[user]),
        len(held_out),
        1 + int((scores > best).sum()) if np.isfinite(best) else 0,
    )
