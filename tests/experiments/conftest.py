"""The tiny plan, run once for all tests that look at its results."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmx.experiments.grid import Grid
from mmx.experiments.outcome import Outcome
from tests.experiments.tiny import tiny_plan


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """Its folder and its outcome."""
    out = tmp_path_factory.mktemp("whole")
    return out, Grid(tiny_plan(), out).run()
