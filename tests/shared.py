"""Where the development data lies, for tests that are better with it and fine without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("MMX_SHARED", Path(__file__).parents[2] / "shared"))


def shared(relative: str) -> Path:
    """A file of the development data; the test is skipped where it is absent."""
    path = ROOT / relative
    if not path.exists():
        pytest.skip(f"development data {relative} is absent (set MMX_SHARED to its folder)")
    return path
