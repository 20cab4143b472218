"""Comparing runs, from Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmx.errors import OptionError
from mmx.experiments.comparison import Comparison, compare_runs
from mmx.kinds import must_be, texts
from mmx.recommend.run import Run


def compare(
    runs: Sequence[Run | Path | str],
    *,
    against: Run | Path | str | None = None,
    metrics: Sequence[str] | None = None,
) -> Comparison:
    """Compare finished runs of one dataset and split rule, as ``mmx compare`` does.

    Runs that differ in seed or split seed only are repetitions of one arm. ``against`` is an arm,
    a run of it, a model, or "best-baseline" (the best by validation without features), which is
    the default where an arm is without features; else the first run's arm is. ``arms`` of the
    result has one row for each arm, ``results`` one for each arm and metric, ``notes`` what a
    reader has to know. Raises RunError for runs that may not be compared, OptionError for an
    unknown arm or metric.
    """
    must_be("against", against, Run | str | os.PathLike | None)
    to = None if against is None else str(_path(against))
    return compare_runs(
        _paths(runs), to=to, metrics=None if metrics is None else texts("metrics", metrics)
    )


def _paths(runs: Any) -> list[Any]:
    """Where the runs are; one alone is a list of one."""
    if isinstance(runs, Run | str | os.PathLike):
        return [_path(runs)]
    if not isinstance(runs, Iterable):
        raise OptionError(f"runs is a {type(runs).__name__}; runs or their paths are expected")
    return [_path(run) for run in runs]


def _path(run: Any) -> Any:
    return run.path if isinstance(run, Run) else run
