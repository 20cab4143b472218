"""A checkpoint of a tiny VLMo, and its vocabulary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mmx.extract.vlmo import VLMoConfig
from tests.extract.tiny_vlmo import HEADS, RELPOS, tiny

VOCABULARY = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "red", "blue", "leather", "hand",
    "##bag", "shoe", "##s", "of", "cafe", "!", ",", "1", "2",
]  # fmt: skip
STANDARD = replace(RELPOS, table_text_len=196)  # what a file without index keys is taken for
CONFIG = replace(RELPOS, max_text_len=40, table_text_len=196)


def weights(folder: Path, config: VLMoConfig = CONFIG, heads: tuple[str, ...] = HEADS) -> Path:
    path = folder / "tiny.pt"
    torch.save(tiny(config, heads).state_dict(), path)
    return path


def published(config: VLMoConfig, heads: tuple[str, ...] = HEADS) -> dict[str, Any]:
    """The state of a tiny model as the official class saves it, with its unused keys."""
    state: dict[str, Any] = dict(tiny(config, heads).state_dict())
    length = config.max_text_len
    state["text_embeddings.position_ids"] = torch.arange(length)[None]
    if config.family == "relpos":
        state["text_embeddings.position_embeddings.weight"] = torch.randn(length, config.width)
    return state


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path
