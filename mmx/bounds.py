"""What a number may be: the bounds of a setting or an option, and one line for what is outside.

def __post_init__(self) -> None:
    check_settings(self, dim=whole(1, WIDEST), reg=number(0), temperature=number(0, above=True))
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from mmx.errors import OptionError

MOST = 2**31 - 1  # of a whole number whose size costs nothing
WIDEST = 2**16  # of vectors that are trained, numbers
DEEPEST = 64  # steps over a graph


@dataclass(frozen=True)
class Bounds:
    """An interval; NaN and infinity are never in it."""

    least: float
    most: float = math.inf
    above: bool = False  # least itself is too little
    below: bool = False  # most itself is too much
    kind: type = Real  # or Integral

    def hold(self, value: Any) -> bool:
        """Whether it is a number of the kind within the bounds."""
        if not self.fits(value) or not -math.inf < value < math.inf:
            return False
        high_enough = value > self.least if self.above else value >= self.least
        return bool(high_enough and (value < self.most if self.below else value <= self.most))

    def fits(self, value: Any) -> bool:
        """Whether it is of the kind, whatever its size."""
        return isinstance(value, self.kind) and not isinstance(value, bool)

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are in it."""
        return self.kind is Integral

    def instead_of(self, value: Any) -> str:
        """What is expected in the place of a value that is not within."""
        if not self.fits(value):
            return f"a{' whole' * self.whole} number"
        if value == math.inf:
            return "a finite number"
        too_much = value > self.most and not self.below
        return f"at most {self.most}" if too_much else str(self)

    def __str__(self) -> str:
        """What is expected, in words."""
        if self.least == -math.inf:
            return "a finite number"
        low = f"above {self.least}" if self.above else f"at least {self.least}"
        if self.most in (math.inf, MOST):
            return low
        if not (self.above or self.below):
            return f"{self.least} to {self.most}"
        return f"{low} and {'below' if self.below else 'at most'} {self.most}"


def whole(least: int, most: int = MOST) -> Bounds:
    """A whole number from ``least`` to ``most``."""
    return Bounds(least, most, kind=Integral)


def number(
    least: float, most: float = math.inf, *, above: bool = False, below: bool = False
) -> Bounds:
    """A finite number from ``least`` (or ``above`` it) to ``most`` (or ``below`` it)."""
    return Bounds(least, most, above, below)


SEED = whole(0, 2**63 - 1)  # what numpy and torch both take


def check(name: str, value: Any, bounds: Bounds) -> None:
    """Raises OptionError where ``value`` is not within; ``name`` is how it was given."""
    if not bounds.hold(value):
        shown = f"{value:g}" if isinstance(value, float) else value
        raise OptionError(f"{name}{shown}: {bounds.instead_of(value)} is expected")


def check_settings(config: Any, **bounds: Bounds) -> None:
    """Check fields of a model's Config, which are given as ``--set NAME=VALUE``."""
    for name, allowed in bounds.items():
        check(f"--set {name}=", getattr(config, name), allowed)


def check_options(options: Any, **bounds: Bounds) -> None:
    """Check fields that are given as ``--NAME VALUE``; one that is None was not given."""
    for name, allowed in bounds.items():
        if getattr(options, name) is not None:
            check(f"--{name.replace('_', '-')} ", getattr(options, name), allowed)
            _as_python(options, name)


def _as_python(options: Any, name: str) -> None:
    """A number of numpy as Python's own, which JSON and torch's generators take."""
    value = getattr(options, name)
    if hasattr(value, "item") and not isinstance(value, (int, float)):
        object.__setattr__(options, name, value.item())  # the options are frozen


def check_entries(entry: Any, **bounds: Bounds) -> None:
    """Check fields that a plan gives as ``NAME: VALUE``; one that is None was not given."""
    for name, allowed in bounds.items():
        if getattr(entry, name) is not None:
            check(f"{name}: ", getattr(entry, name), allowed)
