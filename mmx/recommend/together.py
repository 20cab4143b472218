"""Evaluation by all processes of torchrun: each ranks the catalogue for its share of the users."""

from __future__ import annotations

from dataclasses import replace

from mmx.processes import Processes
from mmx.recommend.evaluation import Evaluation, evaluate_scorer, evaluated_splits, evaluation_of
from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.scoring import Factors, Scorer
from mmx.recommend.validation import evaluated_users


def validated(scorer: Scorer, data: Interactions, processes: Processes) -> dict[str, float]:
    """Means of the validation metrics, in every process."""
    mine = evaluate_scorer(scorer, data.valid, data.known, cutoffs=(20,), share=processes.part)
    sums = [float(values.sum()) for values in mine.metrics.values()]
    users, *totals = processes.sums([len(mine.users), *sums])
    return {name: total / users for name, total in zip(mine.metrics, totals, strict=True)}


def evaluate_together(
    scorer: Scorer, data: Interactions, processes: Processes
) -> dict[str, Evaluation]:
    """``evaluate_splits`` of the first process's scorer, in that process; the others get nothing.

    All take the embeddings of the first one, as the last digits of the others' may differ on GPUs.
    Item-item weights are solved on the CPU, by each process alike.
    """
    if isinstance(scorer, Factors) and processes.size > 1:
        users, items = (processes.of_first(x) for x in (scorer.users, scorer.items))
        scorer = replace(scorer, users=users, items=items)
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
