"""What kind of value an argument may be, and one line for a value of another kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any, get_args

from mmx.errors import OptionError

WORDS: dict[Any, str] = {
    str: "text", str | None: "text", bool: "True or False", Callable: "a function",
}  # fmt: skip


def must_be(name: str, value: object, kind: Any) -> None:
    """Raises OptionError where ``value`` is not of the kind; ``name`` is the argument's."""
    if not isinstance(value, kind):
        raise _wrong(name, value, WORDS.get(kind) or _named(kind))


def _named(kind: Any) -> str:
    """A class, or several without None, in words."""
    several = [each for each in get_args(kind) or (kind,) if each is not NoneType]
    return f"a {' or '.join(each.__name__ for each in several)}"


def must_be_switches(options: Any, *names: str) -> None:
    """Check fields that are True or False: a text such as "no" would count as True."""
    for name in names:
        must_be(name, getattr(options, name), bool)


def texts(name: str, value: str | Iterable[str]) -> list[str]:
    """Several texts; a single one is a list of one. Raises OptionError for anything else."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, Iterable) or isinstance(value, bytes):
        raise _wrong(name, value, "a list of texts")
    found = list(value)
    for one in found:
        must_be(f"{name}: {one!r}"[:60], one, str)
    return found


def _wrong(name: str, value: object, expected: str) -> OptionError:
    return OptionError(f"{name} is a {type(value).__name__}; {expected} is expected")
