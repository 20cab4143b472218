"""One word for a check: ``assert`` is left out under ``python -O``."""

from __future__ import annotations


def expect(sound: object, said: str) -> None:
    """Raise AssertionError unless ``sound``."""
    if not sound:
        raise AssertionError(said)
