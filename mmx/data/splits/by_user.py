"""Rules that hold out some interactions of every user."""

from __future__ import annotations

import numpy as np

from mmx.data.splits.parts import TEST, TRAIN, VALID, by_time, places


def random(users: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Per user: n < 10 gives one to valid and one to test, else ⌊0.2 n⌋ halved, the odd to test.

    Users with fewer than three interactions stay in training.
    """
    n, place = places(users, drawn)
    held = np.where(n < 10, 2, n // 5) * (n >= 3)
    valid = held // 2
    return np.where(place < valid, VALID, np.where(place < held, TEST, TRAIN))


def leave_one_out(users: np.ndarray, times: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The last interaction of a user to test, the one before to valid; ties in time are drawn."""
    n, place = places(users, -by_time(times, drawn))
    enough = n >= 3
    return np.where(enough & (place == 0), TEST, np.where(enough & (place == 1), VALID, TRAIN))


def random_folds(
    users: np.ndarray, drawn: np.ndarray, starts: np.ndarray, folds: int, fold: int
) -> np.ndarray:
    """A user's interactions are dealt out to the folds, the first to a drawn one (``starts``).

    Every interaction is in the test of exactly one fold, also those of users with few.
    """
    _, place = places(users, drawn)
    return of_folds(place + (starts % np.uint64(folds)).astype(np.int64), folds, fold)


def of_folds(numbers: np.ndarray, folds: int, fold: int) -> np.ndarray:
    """Fold ``fold`` is the test, the next one validation, the others training."""
    mine = numbers % folds
    valid = (fold + 1) % folds
    return np.where(mine == fold, TEST, np.where(mine == valid, VALID, TRAIN))
