"""What of a plan is done: runs that are finished, points that were tried, what failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmx.experiments.cells import Cell
from mmx.recommend.run import read_metrics


@dataclass
class GridProgress:
    """What ``progress`` gets."""

    total: int  # runs
    done: int = 0
    failed: int = 0
    cell: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Finished:
    """A cell and where its run is."""

    cell: Cell
    path: Path

    def metrics(self, split: str) -> dict[str, float]:
        """All metrics of "valid" or "test", or the "counts" of users."""
        return dict(read_metrics(self.path)[split])

    @property
    def validated(self) -> bool:
        """whether validation has measured any user; else the run is its last epoch."""
        return bool(self.metrics("counts")["valid_users"])


@dataclass
class Outcome:
    """What of a plan is done."""

    finished: list[Finished] = field(default_factory=list)
    tried: list[dict[str, Any]] = field(default_factory=list)  # the points of the searches
    failures: list[dict[str, str]] = field(default_factory=list)  # cell, reason
