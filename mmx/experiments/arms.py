"""Run directories as arms: what is compared, what is repeated, and what may not be mixed.

An arm is a recommender with its features, settings and training options. Its runs differ in the
seed of training and in the draw of the split (or the fold). Two runs may be compared when they
are of one catalogue, one filtered log and one split rule; the contents decide, not the paths.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmx.errors import OptionError, RunError, first_few
from mmx.experiments.one_run import OneRun, read_one
from mmx.experiments.repeated import Repetition
from mmx.files import as_paths


@dataclass(frozen=True)
class Arm:
    """Runs that differ in seeds and splits only."""

    name: str
    runs: tuple[OneRun, ...]

    @property
    def repetitions(self) -> list[Repetition]:
        """Its runs, as the statistics take them."""
        return [Repetition(run.path, run.split, run.seed) for run in self.runs]

    @property
    def features(self) -> bool:
        """Whether it has features, trained ones too."""
        return self.runs[0].features

    @property
    def valid(self) -> float:
        """Validation Recall@20, mean over the runs; NaN where nothing validates."""
        return float(np.mean([run.valid for run in self.runs]))


def arms_of(
    paths: Sequence[Path | str], progress: Callable[[int], None] = lambda done: None
) -> list[Arm]:
    """Open and group runs, in the order given.

    Raises OptionError for a run given twice, RunError for one that cannot be read, for runs that
    are not of one dataset and split rule, for arms that were not trained on the same splits and
    for two runs of an arm that only repeat each other.
    """
    given = as_paths(paths)
    for place, path in enumerate(given):
        if path.resolve() in [other.resolve() for other in given[:place]]:
            raise OptionError(f"{path} is given twice; give each run once")
    if not given:
        raise OptionError("no run is given; name run directories of `mmx train`")
    digests: dict[str, tuple[str, str]] = {}
    runs: list[OneRun] = []
    for path in given:
        runs.append(read_one(path, digests))
        progress(len(runs))
    for other in runs[1:]:
        _must_match(runs[0], other)
    grouped: dict[str, list[OneRun]] = {}
    for run in runs:
        grouped.setdefault(_key(run.identity), []).append(run)
    arms = [Arm(name, tuple(members)) for name, members in _named(list(grouped.values()))]
    for arm in arms:
        _refuse_copies(arm)
        _must_share_splits(arms[0], arm)
    return arms


def _key(identity: Any) -> str:
    return json.dumps(identity, sort_keys=True, default=str)


def _must_match(run: OneRun, other: OneRun) -> None:
    """Raise RunError that says in what two runs differ, unless they are of one protocol."""
    differ = [
        f"{name} {_word(run.rule.get(name))} and {_word(other.rule.get(name))}"
        for name in dict.fromkeys([*run.rule, *other.rule])
        if run.rule.get(name) != other.rule.get(name)
    ]
    if run.items != other.items:
        differ.append("other items")
    elif run.log != other.log:
        differ.append("other interactions")
    elif run.drawn == other.drawn and run.split != other.split:
        differ.append(f"another split although both have {run.drawn}")
    if differ:
        raise RunError(
            f"{run.path} and {other.path} differ in dataset or split: {'; '.join(differ)}; compare "
            "runs of one dataset and one split rule"
        )


def _must_share_splits(first: Arm, other: Arm) -> None:
    """Raise RunError unless both arms have runs on the same splits."""
    for left, right in ((first, other), (other, first)):
        there = {run.split for run in right.runs}
        for run in left.runs:
            if run.split not in there:
                raise RunError(
                    f"'{right.name}' has no run on the split of {run.path} (split {run.drawn}); "
                    "train it there, or leave that run out"
                )


def _refuse_copies(arm: Arm) -> None:
    """Raise RunError where two runs of an arm have the same split and the same seed."""
    seen: dict[tuple[str, int | None], Path] = {}
    for run in arm.runs:
        other = seen.setdefault((run.split, run.seed), run.path)
        if other != run.path:
            raise RunError(
                f"{other} and {run.path} repeat each other: the same recommender, settings, split "
                "and seed; give one of them"
            )


def _named(groups: Sequence[Sequence[OneRun]]) -> Iterator[tuple[str, Sequence[OneRun]]]:
    """A name for each arm: model and features, and what else sets arms of one such name apart."""
    names = [_name(runs[0].identity) for runs in groups]
    for name, runs in zip(names, groups, strict=True):
        alike = [
            _flat(other[0].identity)
            for same, other in zip(names, groups, strict=True)
            if same == name
        ]
        mine = _flat(runs[0].identity)
        keys = dict.fromkeys(key for one in alike for key in one)
        apart = [key for key in keys if len({one.get(key) for one in alike}) > 1]
        words = [f"{key.rpartition('.')[2]}={mine.get(key, 'none')}" for key in apart]
        yield (f"{name} ({' '.join(words)})" if words else name), runs


def _name(identity: dict[str, Any]) -> str:
    """``vbpr clip:image+text``."""
    if "parts" in identity:
        return " & ".join(_name(part) for part in identity["parts"])
    if "lists" in identity:
        return str(identity["lists"].get("name", identity["model"]))
    stores: dict[str, list[str]] = {}
    for record in identity.get("features", ()):
        stem = Path(str(record.get("store", "?"))).name.removesuffix(".parquet")
        stores.setdefault(stem, []).append(str(record.get("modality", "?")))
    words = [str(identity["model"]), *(f"{s}:{'+'.join(m)}" for s, m in stores.items())]
    if isinstance(joint := identity.get("end_to_end"), dict):
        words += [str(joint.get("encoder", "")), "end-to-end"]
    return " ".join(words)


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Nested records as texts by their dotted names."""
    if not isinstance(value, (dict, list)):
        return {name: _word(value)}
    found: dict[str, str] = {}
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        found |= _flat(inner, f"{name}.{key}" if name else str(key))
    return found


def _word(value: Any) -> str:
    return "none" if value is None else str(value)


def find_arm(arms: Sequence[Arm], text: str) -> Arm:
    """The arm of that name, of a run at that path, or the only one of that model.

    Raises OptionError when there is none, or several.
    """
    for arm in arms:
        if text == arm.name or Path(text).resolve() in [run.path.resolve() for run in arm.runs]:
            return arm
    found = [arm for arm in arms if text in [run.path.name for run in arm.runs]]
    found = found or [arm for arm in arms if arm.runs[0].identity["model"] == text]
    if len(found) != 1:
        said = f"is one of {len(found)} arms" if found else "is not an arm"
        names = first_few([f"'{arm.name}'" for arm in found or arms], 6)
        raise OptionError(f"--against {text} {said}; name a run of it, or one of {names}")
    return found[0]


def best_baseline(arms: Sequence[Arm]) -> Arm:
    """The arm without features whose validation Recall@20 is highest. Looks at no test metric.

    Raises OptionError when there is none, or validation measured nobody.
    """
    plain = [arm for arm in arms if not arm.features]
    if not plain:
        raise OptionError("--against best-baseline: no run is without features; name an arm")
    plain = [arm for arm in plain if not np.isnan(arm.valid)]
    if not plain:
        raise OptionError("--against best-baseline: nothing validates; name an arm instead")
    return max(plain, key=lambda arm: arm.valid)
