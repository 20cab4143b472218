"""Default names of what an encoder makes."""

from __future__ import annotations

import re
from pathlib import Path


def default_name(model: str) -> str:
    """mine-Model for mine.py:Model, else the name itself."""
    source, _, member = model.rpartition(":")
    if not source.endswith(".py"):
        return model.replace(":", "-")
    return f"{Path(source).stem}-{member}"


def default_store(model: str) -> Path:
    """cache/clip.parquet for clip, resnet50 for timm:resnet50, mine-Encoder for mine.py:Encoder."""
    family, _, name = model.partition(":")
    own = family in ("timm", "torchvision", "sbert")
    stem = name.rstrip("/").rsplit("/", 1)[-1] if own else default_name(model)
    return Path("cache") / (re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.") + ".parquet")
