"""Recommendation lists of other programs: how a table of them is read and cleaned.

A list is what ``user_id``, ``item_id`` and ``rank`` (or ``score``) say of one user. The rank
counts where both are there; equal scores are ordered by the hash of the item id. What cannot be
ranked is left out and counted, so that it takes no place of a list:

    unknown users     users without interactions in the log
    unknown items     an error, or left out by ``--unknown-items drop``
    repeated items    the best place of an item in a list counts
    training items    are masked, as in every evaluation
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.columns import id_column, number_column
from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.data.dataset import ON_UNKNOWN
from mmx.data.tables import read_table, require
from mmx.errors import DataError, first_few, one_of
from mmx.files import Place
from mmx.recommend.interactions import Interactions
from mmx.recommend.listed import Listed
from mmx.recommend.validation import evaluated_users

COLUMNS = ("user_id", "item_id", "rank", "score")
ODD = {  # what may be left out of lists, and how that is said
    "unknown_users": "of users without interactions in the dataset",
    "unknown_items": "of items that the dataset lacks",
    "repeated_items": "with an item that its list has before, as its best place counts",
    "training_items": "with a training item of the user, as evaluation masks these",
}


@dataclass(frozen=True)
class RawLists:
    """The rows of a file, in its order."""

    source: str  # for messages
    users: pa.ChunkedArray  # (rows,) external ids
    items: pa.ChunkedArray
    order: np.ndarray  # (rows,) float64, lower for a better place
    ranked: bool  # by rank; else by score


@dataclass(frozen=True)
class CleanLists:
    """Lists that can be ranked, and what was left out of them."""

    scorer: Listed
    left_out: dict[str, int]  # rows for each reason in ODD


def read_lists(source: pa.Table | Place, csv: CsvFormat = PLAIN) -> RawLists:
    """Read a table, Parquet or CSV.

    Raises DataError where a column is absent, there is no row, an id is null, or a rank or score
    is not a finite number.
    """
    path, table = _opened(source, csv)
    require(table, COLUMNS[:2], path)
    by = [name for name in COLUMNS[2:] if name in table.column_names]
    if not by:
        there = ", ".join(table.column_names)
        raise DataError(f"{path} lacks the column rank, or score; it has {there}")
    if not table.num_rows:
        raise DataError(f"{path} has no rows; one for each user and item is expected")
    users, items = (id_column(table, name, path) for name in COLUMNS[:2])
    order = number_column(table, by[0], path).to_numpy()
    return RawLists(str(path), users, items, order if by[0] == "rank" else -order, by[0] == "rank")


def _opened(source: pa.Table | Place, csv: CsvFormat) -> tuple[Place, pa.Table]:
    """What to call the source, and its rows."""
    if isinstance(source, pa.Table):
        return Path("the table of lists"), source
    if not source.is_file():
        what = "not a file" if source.exists() else "no such file"
        raise DataError(f"--lists {source}: {what}; a .parquet or .csv file with user_id, item_id "
                        "and rank or score is expected")  # fmt: skip
    return source, read_table(source, csv=csv, only=COLUMNS)


def cleaned(raw: RawLists, data: Interactions, unknown: str = "error") -> CleanLists:
    """The lists of the users and items of ``data``.

    ``unknown`` says what an item outside ``data`` means, "error" or "drop". Raises DataError for
    unknown items, where no user is known, and where two items of a user have one rank.
    """
    one_of("--unknown-items", unknown, ON_UNKNOWN)
    users = data.users.numbers(raw.users, missing="negative")
    items = data.items.numbers(raw.items, missing="negative")
    _refuse_strangers(raw, data, users)
    if unknown == "error":
        _refuse_foreign(raw, items)
    known = users >= 0
    left_out = {"unknown_users": int((~known).sum())}
    left_out["unknown_items"] = int((known & (items < 0)).sum())
    rows = np.flatnonzero(known & (items >= 0))
    rows = rows[np.lexsort((items[rows], raw.order[rows], users[rows]))]  # items go by their hash
    pairs = users[rows] * len(data.items) + items[rows]
    first = np.sort(np.unique(pairs, return_index=True)[1])
    left_out["repeated_items"] = len(rows) - len(first)
    if raw.ranked:
        _refuse_ties(raw, rows[first])
    shown = first[~np.isin(pairs[first], data.known.keys)]
    left_out["training_items"] = len(first) - len(shown)
    counts = np.bincount(users[rows[shown]], minlength=len(data.users))
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return CleanLists(Listed(indptr, items[rows[shown]], len(data.items)), left_out)


def _refuse_strangers(raw: RawLists, data: Interactions, users: np.ndarray) -> None:
    """Raise DataError where no test user has a list."""
    tested = evaluated_users(data.test, data.known)
    if len(tested) and not np.isin(users, tested).any():
        theirs = pc.unique(raw.users.slice(0, 100)).to_pylist()
        ours = data.users.externals(tested[:100]).to_pylist()
        raise DataError(
            f"{raw.source} has a list of none of the {len(tested):,} test users: its users look "
            f"like {first_few(theirs)}, those like {first_few(ours)}"
        )


def _refuse_foreign(raw: RawLists, items: np.ndarray) -> None:
    """Raise DataError where the dataset lacks an item."""
    if (foreign := items < 0).any():
        names = pc.unique(raw.items.filter(pa.array(foreign))).to_pylist()
        raise DataError(
            f"{raw.source}: {int(foreign.sum()):,} rows name items that the dataset lacks "
            f"({first_few(names)}); --unknown-items drop leaves them out"
        )


def _refuse_ties(raw: RawLists, rows: np.ndarray) -> None:
    """Raise DataError where two items of one user have the same rank; ``rows`` are in order."""
    users, ranks = raw.users.take(pa.array(rows)), raw.order[rows]
    same = pc.equal(users[1:], users[:-1]).to_numpy() & (ranks[1:] == ranks[:-1])
    if same.any():
        tied = int(np.flatnonzero(same)[0])
        raise DataError(f"{raw.source}: several items of user {users[tied].as_py()} have rank "
                        f"{ranks[tied]:g}; number each list, or give score instead")  # fmt: skip


def lines_of(found: CleanLists, data: Interactions, most: int) -> Iterator[str]:
    """A line for all that is odd in lists that are evaluated up to ``most`` ranks."""
    for reason, why in ODD.items():
        if count := found.left_out[reason]:
            yield f"left out {count:,} row{'s' * (count > 1)} {why}"
    users = evaluated_users(data.test, data.known)
    lengths = found.scorer.lengths[users]
    if none := int((lengths == 0).sum()):
        yield f"{none:,} of {len(users):,} test users have no list: their metrics are 0"
    possible = np.minimum(most, len(data.items) - data.known.counts[users])
    if short := int(((lengths < possible) & (lengths > 0)).sum()):
        yield (
            f"{short:,} of {len(users):,} test users have a list of fewer than {most} items (the "
            f"longest of all has {int(lengths.max()):,}): ranks beyond its end count as misses"
        )
