"""A finished run from Python: ``mmx.evaluate`` and ``mmx.top_k``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmx.bounds import check, whole
from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.errors import OptionError, RunError, one_of
from mmx.files import Place, as_place
from mmx.kinds import must_be
from mmx.logs import log_line
from mmx.recommend.evaluation import Evaluation, evaluate_scorer
from mmx.recommend.histories import read_histories
from mmx.recommend.interactions import UserItems
from mmx.recommend.job import FeatureSources
from mmx.recommend.listed import Listed
from mmx.recommend.metrics import CUTOFFS
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.recommendation import (
    recommend,
    recommend_all,
    recommend_from,
    recommend_histories,
)
from mmx.recommend.run import Run, open_run

SPLITS = ("valid", "test")


def evaluate(
    run: Run | Path | str,
    split: str = "test",
    at: int | Iterable[int] = CUTOFFS,
    *,
    tail: int | None = None,
    cold: bool = False,
    log: Callable[[str], None] = log_line,
) -> Evaluation:
    """Evaluate a run on "valid" or "test": full ranking, training items masked.

    ``at`` are the cut-offs K. With ``tail`` only held-out items with at most so many training
    interactions count, with ``cold`` only those without any; all items still compete.
    ``means["recall@20"]`` of the result is the mean over users, ``metrics["recall@20"]`` (n,)
    the value of each. Raises OptionError for contradictions, RunError when there is no such run
    or no held-out item that counts.
    """
    cutoffs = as_cutoffs(at)
    must_be("cold", cold, bool)
    tail = _tail(tail, cold)
    run, held_out = opened(run, split)
    targets = None if tail is None else run.data.train.item_counts <= tail
    found = evaluate_scorer(run.scorer, held_out, run.data.known, cutoffs=cutoffs, targets=targets)
    if tail is not None and not len(found.users):
        raise RunError(f"{run.path}: no {split} item has at most {tail} training interactions; "
                       "raise --tail")  # fmt: skip
    if cold and not run.can("cold_items"):
        log(f"{run.config['model']} cannot score items that nobody took: their order is random")
    return found


def top_k(
    run: Run | Path | str,
    users: str | Sequence[str] | None = None,
    k: int = 20,
    *,
    items_from: Sequence[str] | None = None,
    histories: pa.Table | Place | str | None = None,
    exclude: Sequence[str] = (),
    only: Sequence[str] | None = None,
    seen: str = "all",
    where: str | None = None,
    catalogue: Place | str | None = None,
    fallback: str = "none",
    diversity: float = 0.0,
    per: tuple[str, int] | None = None,
    explain: bool = False,
    stores: FeatureSources = (),
    csv: CsvFormat = PLAIN,
    log: Callable[[str], None] = log_line,
) -> pa.Table:
    """The top K items of ``users``, one or several, or of every user: what ``mmx recommend`` does.

    ``items_from`` are the items of someone new, ``histories`` a table or file of several new users
    with their items (user_id, item_id), in place of users. ``exclude`` and ``only`` are item ids;
    ``seen`` hides what a user took in "all" splits, in "train", or "none". The other options are
    those of ``RecommendOptions``; ``log`` gets lines on what is left out.

    Returns (user_id, rank, item_id, score), best first; fewer than K where fewer can be shown.
    With a fallback there is ``fallback``, with ``explain`` ``because_item``, ``because_modality``
    and ``similarity``.
    For very many users ``mmx.recommend.recommendation.recommend_all`` yields several tables.
    Raises UnknownIdError for an id that is not in the run, RunError when there is no such run or
    its model cannot score new users, OptionError for contradictions.
    """
    given = {"users": users, "items_from": items_from, "histories": histories}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise OptionError(f"{' and '.join(named)} are given; one of them is expected")
    options = RecommendOptions(
        k, exclude, only, seen, where, catalogue, fallback, diversity, per, explain, stores, csv
    )
    run = run if isinstance(run, Run) else open_run(run)
    if items_from is not None:
        return recommend_from(run, items_from, options, log=log)
    if users is not None:
        return recommend(run, [users] if isinstance(users, str) else users, options, log=log)
    if histories is not None:
        source = histories if isinstance(histories, pa.Table) else as_place(histories)
        table = read_histories(source, csv)
        return pa.concat_tables(recommend_histories(run, table, options, log=log))
    return pa.concat_tables(recommend_all(run, options, log=log))


def opened(run: Run | Path | str, split: str) -> tuple[Run, UserItems]:
    """A run and what is held out for "valid" or "test".

    Raises OptionError for another split, RunError for validation of a run of ready lists.
    """
    one_of("--split", split, SPLITS)
    run = run if isinstance(run, Run) else open_run(run)
    if split == "valid" and isinstance(run.scorer, Listed):
        raise RunError(f"{run.path} is of ready lists, which are for the test; choose --split test")
    return run, run.data.valid if split == "valid" else run.data.test


def as_cutoffs(at: int | Iterable[int]) -> tuple[int, ...]:
    """Each K once, rising."""
    several = isinstance(at, Iterable) and getattr(at, "ndim", 1) != 0  # numpy's single number
    given: list[Any] = list(at) if several else [at]  # type: ignore[arg-type]
    for cutoff in given:
        check("--at ", cutoff, whole(1))
    if not given:
        raise OptionError("--at is empty; one cut-off at least is expected, as 20")
    return tuple(sorted(set(given)))


def _tail(tail: int | None, cold: bool) -> int | None:
    """Most training interactions of an item that counts; None where all count."""
    if cold and tail is not None:
        raise OptionError("--cold means --tail 0; give one of the two")
    if tail is not None:
        check("--tail ", tail, whole(0))
    return 0 if cold else tail
