"""Runs of which there are only metrics."""

from __future__ import annotations

import json
from pathlib import Path

from mmx.experiments.cells import Cell
from mmx.experiments.outcome import Finished
from mmx.recommend.controls import Control
from mmx.recommend.options import TrainOptions


def planted(
    path: Path, name: str, seed: int, test: float, valid: float, arm: str | None = None
) -> Finished:
    """A run of which there are only metrics."""
    folder = path / f"{name}-{arm}-{seed}"
    folder.mkdir()
    metrics = {"valid": {"recall@20": valid}, "test": {"recall@20": test}, "counts": {}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    features = "image" if name == "vbpr" else "none"
    control = None if arm is None else Control.parse(arm)
    cell = Cell("tiny", features, name, name, (), TrainOptions(seed=seed), control=control)
    return Finished(cell, folder)
