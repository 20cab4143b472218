"""``--at``: the point of a split, as a share, a timestamp of the log or a date.

A date is compared with timestamps that are Unix times in seconds, milliseconds, microseconds or
nanoseconds. Which of them it is, the size of the last one says: 10^9 is 2001 in seconds.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from mmx.errors import DataError, OptionError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LEAST = 10**8  # a smaller last timestamp, 1973 in seconds, is a row number or the like
UNITS = ((10**11, 1), (10**14, 10**3), (10**17, 10**6))  # below the first, the second in a second
FINEST = 10**9
EXPECTED = "a date (2014-05-01), a timestamp as in the log or a share (0.9) is expected"


def as_point(at: Any) -> float | int | str | None:
    """``at`` as a number, or a date as ISO text. Raises OptionError for anything else."""
    if isinstance(at, date):  # a datetime is one
        return at.isoformat()
    value = at.item() if hasattr(at, "item") else at
    if isinstance(value, str):
        value = _parsed(value.strip())
    finite = not isinstance(value, float) or math.isfinite(value)
    kinds = (int, float, str, type(None))
    if not isinstance(value, kinds) or isinstance(value, bool) or not finite:
        raise OptionError(f"--at {at}: {EXPECTED}")
    return value


def is_share(at: float | int | str | None) -> bool:
    """Whether ``at`` is a share: a number between 0 and 1."""
    return isinstance(at, float) and 0 < at < 1


def moment(at: float | str, times: np.ndarray, what: str) -> float | int:
    """The timestamp, or the date as one of (n,) ``times``, which are those of ``what``.

    Raises DataError unless some times are before it and some are not.
    """
    low, high = times.min().item(), times.max().item()
    unit = _unit(high)
    if isinstance(at, str) and high < LEAST:
        raise DataError(
            f"--at {at}: the timestamps go from {low} to {high}, which are not Unix times; "
            "give --at one of them, or a share (0.9)"
        )
    point = _ticks(at, unit) if isinstance(at, str) else at
    if low < point <= high:
        return point
    first, last = (_shown(x, unit) if isinstance(at, str) else x for x in (low, high))
    raise DataError(
        f"--at {at} leaves none for {'test' if point > high else 'training'}: the {what} are from "
        f"{first} to {last}; give one in between, or a share (0.9)"
    )


def _parsed(text: str) -> float | int | str:
    """A number, or a date as it is. Raises OptionError."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    try:
        datetime.fromisoformat(text)
    except ValueError:
        shown = text[:40] if text.isprintable() and text else repr(text[:40])
        raise OptionError(f"--at {shown}: {EXPECTED}") from None
    return text


def _unit(high: float) -> int:
    """How many of the log's ticks are a second, by its last timestamp."""
    return next((unit for most, unit in UNITS if high < most), FINEST)


def _ticks(at: str, unit: int) -> float | int:
    """A date in ticks since 1970; without an offset it is UTC."""
    given = datetime.fromisoformat(at)
    given = given if given.tzinfo else given.replace(tzinfo=UTC)
    micro = (given - EPOCH) // timedelta(microseconds=1)
    return micro * unit // 10**6 if unit >= 10**6 else micro / (10**6 // unit)


def _shown(ticks: float, unit: int) -> str:
    """Ticks as a date, as far as there is one."""
    try:
        return (EPOCH + timedelta(seconds=ticks / unit)).isoformat(" ", "seconds")[:19]
    except OverflowError:
        return str(ticks)
