"""A checkpoint of a tiny VLMo, and its vocabulary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from mmx.extract.vlmo import VLMoConfig
from tests.extract.tiny_vlmo import HEADS, RELPOS, tiny

VOCABULARY = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "red", "blue", "leather", "hand",
    "##bag", "shoe", "##s", "of", "cafe", "!", ",", "1", "2",
]  # fmt: skip
CONFIG = replace(RELPOS, max_text_len=40, table_text_len=196)


def weights(folder: Path, config: VLMoConfig = CONFIG, heads: tuple[str, ...] = HEADS) -> Path:
    path = folder / "tiny.pt"
    torch.save(tiny(config, heads).state_dict(), path)
    return path
