"""Rules with one point for all: what is before it trains, what is not is held out."""

from __future__ import annotations

import numpy as np

from mmx.data.splits.parts import TEST, TRAIN, VALID, by_time, places
from mmx.data.splits.point import is_share, moment
from mmx.data.splits.rule import SHARE
from mmx.errors import DataError


def temporal(
    times: np.ndarray, at: float | int | str | None, what: str = "interactions"
) -> np.ndarray:
    """From the point on test; as many before it, cut at one time, too, valid; the rest train.

    ``times`` (n,) are those of ``what``. Raises DataError where nothing is left for a part.
    """
    if at is None or is_share(at):
        share = SHARE if at is None else float(at)
        cuts = [round(2 * share - 1, 12), share]
        first_valid, first_test = np.quantile(times, cuts, method="higher")
    else:
        first_test = moment(at, times, what)
        held = int((times >= first_test).sum())
        rest = len(times) - 2 * held
        if rest <= 0:
            raise DataError(
                f"--at {at}: {held:,} of {len(times):,} {what} are not before it, and validation "
                "takes as many before it; none are left for training, choose a later --at"
            )
        first_valid = np.partition(times, rest)[rest]
    return np.where(times >= first_test, TEST, np.where(times >= first_valid, VALID, TRAIN))


def chosen_targets(
    parts: np.ndarray, users: np.ndarray, times: np.ndarray, drawn: np.ndarray, which: str
) -> np.ndarray:
    """(rows,) bool: training, and of each user's rows of a held-out part the first or last."""
    n, place = places(users * 3 + parts, by_time(times, drawn))
    return (parts == TRAIN) | (place == (0 if which == "first" else n - 1))
