"""Default names of what an encoder makes."""

from __future__ import annotations

import re
from pathlib import Path


def default_store(model: str) -> Path:
    """cache/clip.parquet for clip, cache/resnet50.parquet for timm:resnet50."""
    family, _, name = model.partition(":")
    own = family in ("timm", "torchvision", "sbert")
    stem = name.rstrip("/").rsplit("/", 1)[-1] if own else model
    return Path("cache") / (re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.") + ".parquet")
