"""Runs of one arm as repetitions over splits and seeds, and how two arms compare."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmx.errors import RunError, first_line
from mmx.experiments.statistics import corrected_t, effect_size, holm, interval, paired
from mmx.recommend.run import read_table

TESTS = ("split", "t", "wilcoxon")  # the first is the primary one where there are several splits
Row = dict[str, Any]


@dataclass(frozen=True)
class Repetition:
    """One run of an arm."""

    path: Path
    split: Hashable  # which draw of the split; the same in all arms
    seed: int | None  # of training; None where the model draws nothing


@dataclass(frozen=True)
class PerUser:
    """Test metrics of each user in every run; NaN where a run's split does not test the user."""

    users: list[str]
    values: dict[Path, dict[str, np.ndarray]]  # by run and metric: (users,)

    @classmethod
    def of(cls, runs: Iterable[Repetition], metrics: Sequence[str]) -> PerUser:
        """Read the runs' tables. Raises RunError where runs of one split tested other users."""
        tables: dict[Path, tuple[np.ndarray, dict[str, np.ndarray]]] = {}
        first: dict[Hashable, Path] = {}
        for run in runs:
            if run.path in tables:
                continue
            tables[run.path] = users, _ = _read(run.path, metrics)
            other = first.setdefault(run.split, run.path)
            if not np.array_equal(users, tables[other][0]):
                raise RunError(f"{run.path} and {other} tested other users; remove both")
        everyone = np.unique(np.concatenate([users for users, _ in tables.values()]))
        found: dict[Path, dict[str, np.ndarray]] = {}
        for path, (users, columns) in tables.items():
            places = np.searchsorted(everyone, users)
            found[path] = {name: _placed(v, places, len(everyone)) for name, v in columns.items()}
        return cls(everyone.tolist(), found)

    def by_split(self, runs: Sequence[Repetition], metric: str) -> dict[Hashable, np.ndarray]:
        """(seeds, users) of each split, in the order in which splits first occur."""
        rows: dict[Hashable, list[np.ndarray]] = {}
        for run in runs:
            rows.setdefault(run.split, []).append(self.values[run.path][metric])
        return {split: np.stack(arrays) for split, arrays in rows.items()}

    def mean(self, runs: Sequence[Repetition], metric: str) -> float:
        """Over users, then seeds, then splits."""
        return float(np.mean(_split_means(list(self.by_split(runs, metric).values()))))

    def deviation(self, runs: Sequence[Repetition], metric: str) -> float:
        """Sample standard deviation of the runs' means, over seeds and splits; NaN of one run."""
        means = [np.nanmean(self.values[run.path][metric]) for run in runs]
        return float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")


def against(
    table: PerUser,
    mine: Sequence[Repetition],
    theirs: Sequence[Repetition],
    metric: str,
    ratio: float,
) -> Row:
    """Means, relative gain, effect size, interval and p-values of one arm against another.

    Over the splits that both have. For effect size and tests over users each user is averaged
    over seeds, then over splits; p_split compares the split means (``corrected_t``, with ``ratio``
    n_test / n_train) and is NaN where there is one split.
    """
    ours, others = table.by_split(mine, metric), table.by_split(theirs, metric)
    common = [split for split in ours if split in others]
    if not common:
        raise RunError(f"{mine[0].path} and {theirs[0].path} share no split; train both on one")
    a, b = [ours[split] for split in common], [others[split] for split in common]
    means, base = _split_means(a), _split_means(b)
    x, y = _user_means(a), _user_means(b)
    t, wilcoxon = paired(x, y)
    low, high = interval(a, b)
    mean, baseline = float(means.mean()), float(base.mean())
    return {
        "metric": metric,
        "splits": len(common),
        "users": len(x),
        "mean": mean,
        "baseline_mean": baseline,
        "gain": mean / baseline - 1 if baseline else float("nan"),
        "low": low,
        "high": high,
        "effect_size": effect_size(x, y),
        "p_split": float(corrected_t(means - base, ratio)),
        "p_t": t,
        "p_wilcoxon": wilcoxon,
    }


def correct(rows: Sequence[Row], family: Callable[[Row], Hashable]) -> None:
    """Add ``p_…_holm`` to rows: corrected over the comparisons of one family."""
    families: dict[Hashable, list[Row]] = {}
    for row in rows:
        families.setdefault(family(row), []).append(row)
    for members in families.values():
        for test in TESTS:
            corrected = holm([row[f"p_{test}"] for row in members])
            for row, value in zip(members, corrected, strict=True):
                row[f"p_{test}_holm"] = float(value)


def overlap_ratio(paths: Iterable[Path]) -> float:
    """n_test / n_train, interactions of both, of the runs' splits together."""
    train = test = 0
    for path in paths:
        split = read_table(path / "interactions.parquet", "timestamp")["split"].to_numpy()
        train, test = train + int((split == "train").sum()), test + int((split == "test").sum())
    return test / train


def measured(path: Path) -> list[str]:
    """The metrics that a run has of each user. Raises RunError where they cannot be read."""
    try:
        names = pq.read_schema(path / "per_user.parquet").names
    except (OSError, pa.ArrowException) as error:
        raise _broken(path, error) from error
    return [name for name in names if "@" in name]


def _broken(path: Path, error: Exception) -> RunError:
    reason = first_line(error).rstrip(". ")
    return RunError(f"the run {path} is broken: per_user.parquet: {reason}; train it again")


def _read(path: Path, metrics: Sequence[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Users in order of their ids, and each metric in that order."""
    table = read_table(path / "per_user.parquet")
    lost = [name for name in ("user_id", *metrics) if name not in table.column_names]
    if lost:
        raise RunError(f"the run {path} has no {lost[0]} of its users; train it again")
    if not len(table):
        raise RunError(f"{path} tests no user; leave it out")
    users = table["user_id"].to_numpy().astype(str)
    order = np.argsort(users, kind="stable")
    try:
        return users[order], {n: table[n].cast(pa.float64()).to_numpy()[order] for n in metrics}
    except pa.ArrowException as error:
        raise _broken(path, error) from error


def _placed(values: np.ndarray, places: np.ndarray, users: int) -> np.ndarray:
    row = np.full(users, np.nan)
    row[places] = values
    return row


def _split_means(splits: Sequence[np.ndarray]) -> np.ndarray:
    """(splits,) means over users and seeds of (seeds, users) each."""
    return np.array([np.nanmean(one, axis=1).mean() for one in splits])


def _user_means(splits: Sequence[np.ndarray]) -> np.ndarray:
    """(users,) means over seeds, then over the splits that test the user."""
    each = np.stack([one.mean(0) for one in splits])
    each = each[:, ~np.isnan(each).all(0)]
    return np.asarray(np.nanmean(each, axis=0))
