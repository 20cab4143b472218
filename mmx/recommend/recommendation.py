"""Top-K lists out of a run, with external ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mmx.errors import OptionError
from mmx.recommend.interactions import UserItems
from mmx.recommend.run import Run
from mmx.recommend.scoring import rank

USERS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Wanted:
    """Which items may be shown."""

    k: int = 20  # items a user
    exclude: Sequence[str] = ()  # item ids never shown
    only: Sequence[str] | None = None  # item ids to choose from; None is the whole catalogue
    seen: str = "all"  # hide what a user took in "all" splits, in "train" only, or hide "none"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise OptionError(f"--k {self.k} must be at least 1")
        if self.seen not in ("all", "train", "none"):
            raise OptionError(f"--seen {self.seen} is unknown; known: all, train, none")


def recommend(run: Run, users: Sequence[str], wanted: Wanted | None = None) -> pa.Table:
    """The top K of some users: (user_id, rank, item_id, score), best first.

    Raises UnknownIdError when a user or item id is not in the run.
    """
    numbers = run.data.users.numbers(users)
    return pa.concat_tables(list(_lists(run, numbers, wanted or Wanted())))


def recommend_all(run: Run, wanted: Wanted | None = None) -> Iterator[pa.Table]:
    """The top K of every user, some thousand users a table."""
    yield from _lists(run, np.arange(len(run.data.users)), wanted or Wanted())


def _lists(run: Run, users: np.ndarray, wanted: Wanted) -> Iterator[pa.Table]:
    allowed, hidden = _allowed(run, wanted), _hidden(run, wanted)
    for start in range(0, max(len(users), 1), USERS_AT_ONCE):
        mine = users[start : start + USERS_AT_ONCE]
        found = rank(run.scorer, mine, wanted.k, hidden, allowed)
        shown = found.items >= 0  # fewer than K candidates: the row is absent, never an id of -1
        rows, columns = np.nonzero(shown)
        yield pa.table(
            {
                "user_id": run.data.users.externals(mine[rows]),
                "rank": pa.array(columns + 1, pa.int32()),
                "item_id": run.data.items.externals(found.items[shown]),
                "score": found.scores[shown],
            }
        )


def _allowed(run: Run, wanted: Wanted) -> np.ndarray | None:
    if wanted.only is None and not wanted.exclude:
        return None
    allowed = np.ones(len(run.data.items), dtype=bool)
    if wanted.only is not None:
        allowed[:] = False
        allowed[run.data.items.numbers(wanted.only)] = True
    allowed[run.data.items.numbers(wanted.exclude)] = False
    return allowed


def _hidden(run: Run, wanted: Wanted) -> UserItems:
    if wanted.seen == "none":
        n_users, n_items = len(run.data.users), len(run.data.items)
        return UserItems(np.zeros(n_users + 1, dtype=np.int64), np.zeros(0, np.int64), n_items)
    return run.data.train if wanted.seen == "train" else run.data.seen
