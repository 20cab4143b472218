"""Evaluation by all processes of torchrun: each ranks the catalogue for its share of the users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mmx.processes import Processes
from mmx.recommend.evaluation import Evaluation, evaluate_scorer, evaluated_splits, evaluation_of
from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.list_tables import ROWS_AT_ONCE
from mmx.recommend.scoring import Factors, Ranking, Scorer, rank
from mmx.recommend.validation import evaluated_users

USERS_AT_ONCE = 2048  # whose lists one process makes, at most


def validated(scorer: Scorer, data: Interactions, processes: Processes) -> dict[str, float]:
    """Means of the validation metrics, in every process."""
    mine = evaluate_scorer(scorer, data.valid, data.known, cutoffs=(20,), share=processes.part)
    sums = [float(values.sum()) for values in mine.metrics.values()]
    users, *totals = processes.sums([len(mine.users), *sums])
    return {name: total / users for name, total in zip(mine.metrics, totals, strict=True)}


def same_scorer(scorer: Scorer, processes: Processes) -> Scorer:
    """The first process's scorer, in all of them: its embeddings.

    The last digits of the others' may differ on GPUs. Item-item weights are solved on the CPU, by
    each process alike.
    """
    if not isinstance(scorer, Factors) or processes.size == 1:
        return scorer
    users, items = (processes.of_first(x) for x in (scorer.users, scorer.items))
    return replace(scorer, users=users, items=items)


def evaluate_together(
    scorer: Scorer, data: Interactions, processes: Processes
) -> dict[str, Evaluation]:
    """``evaluate_splits`` of a scorer that all have, in the first process; the others get none."""
    found = {
        name: _together(scorer, held_out, data.known, processes)
        for name, held_out in evaluated_splits(data).items()
    }
    return {name: whole for name, whole in found.items() if whole is not None}


def _together(
    scorer: Scorer, held_out: UserItems, train: UserItems, processes: Processes
) -> Evaluation | None:
    mine = evaluate_scorer(scorer, held_out, train, share=processes.part)
    if processes.size == 1:
        return mine
    users = evaluated_users(held_out, train)
    found = {name: processes.gathered(one, len(users)) for name, one in mine.metrics.items()}
    metrics = {name: one for name, one in found.items() if one is not None}
    return evaluation_of(users, metrics, held_out, len(users)) if processes.is_main else None


def ranked_together(
    scorer: Scorer, data: Interactions, k: int, processes: Processes
) -> Iterator[tuple[np.ndarray, Ranking]]:
    """The K best items of each test user, as evaluated; only training items are masked.

    The first process gets (n,) users after another and their lists; the others get none, and must
    go through as well. Processes take turns with the same blocks of users whatever their number:
    the last digits of a score may depend on the users it is computed with. None where K is 0.
    """
    users = evaluated_users(data.test, data.known) if k else np.zeros(0, dtype=np.int64)
    step = max(1, min(USERS_AT_ONCE, ROWS_AT_ONCE // max(1, min(k, scorer.n_items))))
    blocks = [users[start : start + step] for start in range(0, len(users), step)]
    for first in range(0, len(blocks), processes.size):
        now = blocks[first : first + processes.size]
        mine = now[processes.rank] if processes.rank < len(now) else users[:0]
        found = rank(scorer, mine, k, data.known)
        padded = (_filled(rows, len(now[0])) for rows in (found.items, found.scores))
        items, scores = (processes.each(rows) for rows in padded)
        for block, *both in zip(now, items, scores, strict=False):  # fewer blocks at the end
            yield block, Ranking(*(x[: len(block)] for x in both))


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    """(n, k) and as many more rows as ``count`` has."""
    return np.concatenate([rows, np.zeros((count - len(rows), rows.shape[1]), rows.dtype)])
