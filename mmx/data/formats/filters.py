"""Which interactions an import keeps, in SQL; the rules are those of ``mmx.data.splits``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from mmx.data.formats.workspace import Workspace
from mmx.data.splits import LeftOut
from mmx.errors import DataError

Duplicates = Literal["earliest", "latest", "all"]
DUPLICATES: tuple[str, ...] = get_args(Duplicates)


def filtered(
    work: Workspace, *, min_rating: float | None, duplicates: str, k_core: int
) -> Iterator[LeftOut]:
    """Leave interactions out of ``log``, a step after the other; what each left out.

    Raises DataError where nothing is left, or a step needs a column that is not there.
    """
    if min_rating is not None:
        yield from _step(work, f"--min-rating {min_rating:g}", _rated(work, min_rating))
    if duplicates != "all":
        added = ", weights added up" if "weight" in work.columns("log") else ""
        why = f"repeated pairs, the {duplicates} kept{added}"
        yield from _step(work, why, _first(work, duplicates))
    if k_core > 1:
        before, lost = work.count("log"), 0
        while lost_now := work.replace("log", _frequent(k_core)):
            lost += lost_now
        yield from _told(work, f"--k-core {k_core}", lost, before)


def _step(work: Workspace, why: str, sql: str) -> Iterator[LeftOut]:
    before = work.count("log")
    yield from _told(work, why, work.replace("log", sql), before)


def _told(work: Workspace, why: str, lost: int, before: int) -> Iterator[LeftOut]:
    if lost == before:
        raise DataError(f"{why} leaves no interaction; choose a smaller number")
    if lost:
        yield LeftOut(why, lost, before)


def _rated(work: Workspace, least: float) -> str:
    if "rating" not in work.columns("log"):
        raise DataError("--min-rating needs ratings, and the source has none; leave it out")
    return f"select * from log where rating >= {least!r}"


def _first(work: Workspace, duplicates: str) -> str:
    """One row of each pair: by time, then by split, then by place in the source.

    Its weight is the sum of those of the pair, of its own split where there is one.
    """
    there = work.columns("log")
    ways = {"earliest": "asc", "latest": "desc"}
    by = [f"timestamp {ways[duplicates]}"] if "timestamp" in there else []
    by += ["list_position(['train', 'valid', 'test'], split)"] if "split" in there else []
    by += [f"mmx_n {ways[duplicates]}"]
    pair = "partition by user_id, item_id"
    added = ""
    if "weight" in there:
        part = ", split" if "split" in there else ""
        total = f"sum(weight order by weight) over ({pair}{part})"
        added = f" replace (cast({total} as double) as weight)"
    return (
        f"select * exclude (place) from (select *{added}, row_number() over "
        f"({pair} order by {', '.join(by)}) as place from log) where place = 1"
    )


def _frequent(k: int) -> str:
    """The rows whose user and whose item have at least k of them."""
    often = [
        f"{name} in (select {name} from log group by {name} having count(*) >= {k})"
        for name in ("user_id", "item_id")
    ]
    return f"select * from log where {' and '.join(often)}"
