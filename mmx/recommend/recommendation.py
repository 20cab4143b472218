"""Top-K lists out of a run, with external ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pyarrow as pa

from mmx.bounds import Bounds, check
from mmx.data.vocabulary import id_array
from mmx.errors import OptionError, RunError, one_of
from mmx.recommend.inductive import newcomers
from mmx.recommend.interactions import UserItems
from mmx.recommend.list_tables import ROWS_AT_ONCE, table_of
from mmx.recommend.run import Run
from mmx.recommend.scoring import Scorer, rank


@dataclass(frozen=True)
class RecommendOptions:
    """Which items may be shown."""

    k: int = 20  # items a user, at most: all where there are fewer
    exclude: Sequence[str] = ()  # item ids never shown
    only: Sequence[str] | None = None  # item ids to choose from; None is the whole catalogue
    seen: str = "all"  # hide what a user took in "all" splits, in "train" only, or hide "none"

    def __post_init__(self) -> None:
        check("--k ", self.k, Bounds(1, kind=Integral))
        object.__setattr__(self, "exclude", id_array(self.exclude).to_pylist())
        if self.only is not None:
            object.__setattr__(self, "only", id_array(self.only).to_pylist())
        one_of("--seen", self.seen, ("all", "train", "none"))


def recommend(run: Run, users: Sequence[str], options: RecommendOptions | None = None) -> pa.Table:
    """The top K of some users: (user_id, rank, item_id, score), best first.

    Raises UnknownIdError when a user or item id is not in the run.
    """
    numbers = run.data.users.numbers(users)
    return pa.concat_tables(list(_known(run, numbers, options or RecommendOptions())))


def recommend_all(run: Run, options: RecommendOptions | None = None) -> Iterator[pa.Table]:
    """The top K of every user, by rising id, some thousand users a table."""
    yield from _known(run, np.arange(len(run.data.users)), options or RecommendOptions())


def recommend_from(
    run: Run, items: Sequence[str], options: RecommendOptions | None = None
) -> pa.Table:
    """The top K of someone of whom only these items are known; user_id is null.

    The items themselves are hidden unless ``seen`` is "none". ``mmx.recommend.inductive``
    says how a model that needs a vector of the newcomer gets one. Raises RunError when the
    run cannot score new users, UnknownIdError when an item id is not in it.
    """
    options, items = options or RecommendOptions(), id_array(items)
    if not run.can("new_users"):
        raise RunError(f"{run.config['model']} cannot score new users; give --user ID instead")
    if not len(items):
        raise OptionError("--items-from names no item; give at least one")
    numbers = run.data.items.numbers(items)
    n_items = len(run.data.items)
    history = UserItems.from_pairs(np.zeros(len(numbers), np.int64), numbers, 1, n_items)
    hidden = _nothing(1, n_items) if options.seen == "none" else history
    scorer = newcomers(run.scorer, run.data.train, history)
    someone = pa.nulls(1, run.data.users.ids.type)
    return pa.concat_tables(
        list(_lists(run, scorer, np.zeros(1, np.int64), someone, hidden, options))
    )


def _known(run: Run, users: np.ndarray, options: RecommendOptions) -> Iterator[pa.Table]:
    yield from _lists(run, run.scorer, users, run.data.users.ids, _hidden(run, options), options)


def _lists(
    run: Run,
    scorer: Scorer,
    users: np.ndarray,
    ids: pa.Array,
    hidden: UserItems,
    options: RecommendOptions,
) -> Iterator[pa.Table]:
    """Lists of (n,) users, whose numbers are those of ``scorer``, ``ids`` and ``hidden``."""
    allowed = _allowed(run, options)
    step = max(1, ROWS_AT_ONCE // min(options.k, len(run.data.items)))
    for start in range(0, max(len(users), 1), step):
        mine = users[start : start + step]
        found = rank(scorer, mine, options.k, hidden, allowed)
        yield table_of(found, ids.take(pa.array(mine)), run.data.items)


def _allowed(run: Run, options: RecommendOptions) -> np.ndarray | None:
    if options.only is None and not options.exclude:
        return None
    allowed = np.ones(len(run.data.items), dtype=bool)
    if options.only is not None:
        allowed[:] = False
        allowed[run.data.items.numbers(options.only)] = True
    allowed[run.data.items.numbers(options.exclude)] = False
    return allowed


def _hidden(run: Run, options: RecommendOptions) -> UserItems:
    if options.seen == "none":
        return _nothing(len(run.data.users), len(run.data.items))
    return run.data.known if options.seen == "train" else run.data.seen


def _nothing(n_users: int, n_items: int) -> UserItems:
    return UserItems(np.zeros(n_users + 1, dtype=np.int64), np.zeros(0, np.int64), n_items)
