"""A tiny VLMo to fine-tune, and ways to fine-tune."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.extract.tiny_checkpoint import VOCABULARY, weights
from tests.extract.tiny_vlmo import RELPOS

RELATIVE = replace(RELPOS, max_text_len=40, table_text_len=196, drop_path=0.1)
OPTIONS: dict[str, dict[str, Any]] = {
    "bfloat16": {"precision": "bfloat16"},
    "as they are": {"augment": False, "accumulate": 2},
    "adapters": {"tune": "lora"},
    "checkpointing": {"checkpointing": True},
    "the last block": {"tune": "last:1"},
}


def files(folder: Path) -> tuple[Path, Path]:
    """Weights and vocabulary of a tiny VLMo."""
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return weights(folder, RELATIVE), folder / "vocab.txt"
