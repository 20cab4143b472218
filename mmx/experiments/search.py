"""The trials of a search: all points of lists, or so many drawn at random from a seed.

    search: {reg: [0.01, 0.1], lr: {low: 1e-4, high: 1e-2, log: true}}
    search: default          the space of the model in mmx/recommend/models/spaces.py

Draws depend on the space, the seed and their number in the row alone: more trials of one plan are
those it had and further ones, and a control is searched over the points of its features.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from mmx.errors import OptionError, suggestion
from mmx.recommend.models.spaces import Range, Space, Values, default_space
from mmx.recommend.records import ModelRecord

DEFAULT = "default"
MISSES = 1000  # draws in a row that were there before, after which a space has no more
RANGE = ("low", "high", "log")
Point = tuple[tuple[str, Any], ...]


def parse_search(value: Any) -> str | Space:
    """What a plan says: ``default``, or lists and ranges by name. Raises OptionError."""
    if value == DEFAULT:
        return DEFAULT
    if not isinstance(value, Mapping):
        raise OptionError(f"search: names with lists or ranges are expected, or '{DEFAULT}', not "
                          f"{value!r}"[:200])  # fmt: skip
    return {str(name): _values(f"search.{name}", one) for name, one in value.items()}


def _values(where: str, value: Any) -> Values:
    if isinstance(value, Range):
        return value
    if isinstance(value, Mapping):
        return _range(where, value)
    if not isinstance(value, list | tuple):
        raise OptionError(f"{where}: a list is expected, or {{low: …, high: …}}, not "
                          f"{value!r}"[:200])  # fmt: skip
    if not value or len(set(map(repr, value))) < len(value):
        raise OptionError(f"{where}: give at least one value, none twice")
    return tuple(value)


def _range(where: str, value: Mapping[Any, Any]) -> Range:
    for key in value:
        if key not in RANGE:
            raise OptionError(
                f"{where}: unknown key '{str(key)[:40]}'{suggestion(str(key), RANGE)}"
            )
    for key in RANGE[:2]:
        if key not in value:
            raise OptionError(f"{where}: '{key}' is missing")
    try:
        return Range(_number(value["low"]), _number(value["high"]), value.get("log", False))
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from error


def _number(value: Any) -> Any:
    """YAML takes 1e-3 for a word."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def space_of(search: str | Space, record: ModelRecord) -> Space:
    """What is searched of a model."""
    return default_space(record) if isinstance(search, str) else search


def points(
    name: str, search: str | Space, record: ModelRecord, trials: int | None, seed: int
) -> list[Point]:
    """The points to try; one empty point when nothing is searched.

    Without ``trials`` all combinations of lists; else so many, or all where there are no more.
    With a model's default space the first is what the model has without a search. Raises
    OptionError for a range without a number of trials.
    """
    space = space_of(search, record)
    if not space:
        return [()]
    if trials is None:
        _must_be_lists(name, search, space)
        return list(_grid(space))
    if _size(space) <= trials:
        return list(_grid(space))
    first: list[Point] = [()] if search == DEFAULT else []
    return list(_drawn(name, space, first, trials, seed))


def _must_be_lists(name: str, search: str | Space, space: Space) -> None:
    ranges = [key for key, values in space.items() if isinstance(values, Range)]
    if ranges:
        what = DEFAULT if isinstance(search, str) else f"{ranges[0]} as a range"
        raise OptionError(f"recommenders.{name}: search: {what} needs a number of trials; add "
                          "'trials: 20' to the plan")  # fmt: skip


def _size(space: Space) -> float:
    """Of a grid of lists; infinite where there is a range."""
    return math.prod(math.inf if isinstance(v, Range) else len(v) for v in space.values())


def _grid(space: Space) -> Iterator[Point]:
    for values in product(*space.values()):  # type: ignore[arg-type]
        yield tuple(zip(space, values, strict=True))


def _drawn(name: str, space: Space, first: list[Point], trials: int, seed: int) -> Iterator[Point]:
    """Different points in the order of their draws."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    seen, misses = set(map(repr, first)), 0
    yield from first
    while len(seen) < trials and misses < MISSES:
        point = tuple((key, _draw(values, rng)) for key, values in space.items())
        misses = misses + 1 if repr(point) in seen else 0
        if not misses:
            seen.add(repr(point))
            yield point


def _draw(values: Values, rng: np.random.Generator) -> Any:
    return values.draw(rng) if isinstance(values, Range) else values[rng.integers(len(values))]


def at_edge(space: Space, point: Point) -> list[str]:
    """The numbers of a point at an end of their list or range."""
    return [name for name, value in point if _is_last(space[name], value)]


def _is_last(values: Values, value: Any) -> bool:
    if isinstance(values, Range):
        return values.at_edge(value)
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return len(numbers) == len(values) > 1 and value in (min(numbers), max(numbers))
