"""A plan that runs in seconds: the toy encoder on a little sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmx.experiments.plan import Plan, parse_plan


def tiny_content(**changes: Any) -> dict[str, Any]:
    """What the YAML file would hold."""
    content: dict[str, Any] = {
        "datasets": {"tiny": {"sample": {"seed": 7, "items": 30, "users": 40}, "split": "random"}},
        "features": {
            "none": "none",
            "image": {"extract": [{"model": "toy", "use": ["image"]}]},
            "both": {"extract": [{"model": "toy"}]},
        },
        "recommenders": {"bpr": None, "vbpr": {"search": {"reg": [0.01, 0.1]}}, "ease": None},
        "training": {"epochs": 2},
        "seeds": [3, 4],
        "baseline": "image",
    }
    return content | changes


def tiny_plan(base: Path = Path(), **changes: Any) -> Plan:
    """The same, parsed."""
    return parse_plan(tiny_content(**changes), base)


def moments(paths: Sequence[Path]) -> dict[str, int]:
    """When each was last changed."""
    return {path.name: path.stat().st_mtime_ns for path in paths}
