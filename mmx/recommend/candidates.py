"""Which items of a run may be shown: by ids, by a condition, by what is on sale now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.dataset import load_items
from mmx.errors import OptionError, RunError
from mmx.files import Place
from mmx.recommend.categories import categories_of
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.run import Run


@dataclass(frozen=True)
class Candidates:
    """The items that may be shown to anybody."""

    allowed: np.ndarray | None  # (items,) bool; None: all
    groups: np.ndarray | None = None  # (items,) of --per, -1 where an item has no value
    most: int = 0  # items of a group in a list

    @classmethod
    def of(cls, run: Run, options: RecommendOptions, log: Callable[[str], None]) -> Candidates:
        """Those of the options. ``log`` gets a line on items of the catalogue the run lacks.

        Raises UnknownIdError for ids of ``exclude`` and ``only`` that the run lacks, DataError
        for a catalogue that cannot be read, QueryError for a condition that is not one, RunError
        where no item of the run is in the catalogue or meets the condition.
        """
        table = _table(run, options, log)
        allowed = _by_ids(run, options)
        for some in _by_tables(run, options, table):
            allowed = some if allowed is None else allowed & some
        if options.per is None:
            return cls(allowed)
        column, most = options.per
        items = run.items if table is None else _aligned(table, run)
        place = run.path / "items.parquet" if options.catalogue is None else options.catalogue
        return cls(allowed, categories_of(items, column, "--per", place), most)

    def count(self, run: Run) -> int:
        """How many they are."""
        return len(run.data.items) if self.allowed is None else int(self.allowed.sum())

    def groups_of(self, items: np.ndarray) -> np.ndarray:
        """Groups of item numbers of any shape; where a number is -1, so is its group."""
        assert self.groups is not None
        return np.where(items < 0, -1, self.groups[items])


def _table(run: Run, options: RecommendOptions, log: Callable[[str], None]) -> pa.Table | None:
    """The table of ``catalogue``; None where there is none."""
    if options.catalogue is None:
        return None
    table = load_items(options.catalogue, csv=options.csv).table
    known = int((run.data.items.numbers(table["item_id"], "negative") >= 0).sum())
    if not known:
        raise RunError(f"--catalogue {options.catalogue} has none of the items of {run.path}; its "
                       "item_id must be that of the run")  # fmt: skip
    if known < len(table):
        log(f"{len(table) - known:,} of {len(table):,} items of {options.catalogue} are not in "
            f"{run.path} and cannot be recommended (--new-items scores them)")  # fmt: skip
    return table


def _by_ids(run: Run, options: RecommendOptions) -> np.ndarray | None:
    if options.only is None and not options.exclude:
        return None
    allowed = np.ones(len(run.data.items), dtype=bool)
    if options.only is not None:
        allowed = _mask(run, run.data.items.numbers(options.only))
    allowed[run.data.items.numbers(options.exclude)] = False
    return allowed


def _by_tables(run: Run, options: RecommendOptions, table: pa.Table | None) -> list[np.ndarray]:
    """Masks of what is on sale, and of what meets the condition."""
    found = []
    if table is not None:
        found.append(_mask(run, run.data.items.numbers(table["item_id"], "negative")))
    if options.where is not None:
        ids = _matching(run, options, options.where)
        mask = _mask(run, run.data.items.numbers(ids, "negative"))
        if not mask.any():
            raise RunError(f"--where: no item of {run.path} meets {options.where[:60]!r}, and "
                           "nothing can be recommended; change the condition")  # fmt: skip
        found.append(mask)
    return found


def _matching(run: Run, options: RecommendOptions, where: str) -> pa.Array:
    from mmx.search.catalogue import ItemsTable  # imports duckdb

    place: Place | str = run.path if options.catalogue is None else options.catalogue
    if options.catalogue is None and run.vectors is not None:
        raise OptionError("--where with --new-items needs --catalogue TABLE, which has the columns "
                          "of the new items")  # fmt: skip
    with ItemsTable(place, csv=options.csv) as items:
        return items.matching(where)


def _mask(run: Run, numbers: np.ndarray) -> np.ndarray:
    mask = np.zeros(len(run.data.items), dtype=bool)
    mask[numbers[numbers >= 0]] = True
    return mask


def _aligned(table: pa.Table, run: Run) -> pa.Table:
    """The rows of the run's items, null where the table lacks one."""
    places = pc.index_in(run.data.items.ids, value_set=table["item_id"].combine_chunks())
    return table.take(places)
