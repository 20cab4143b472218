"""The published VLMo checkpoints by name.

Addresses and head lists are those of microsoft/unilm, folder vlmo (its README and model
class). The authors publish no checksums: the first download records one beside the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmx.errors import EncoderError, suggestion
from mmx.extract.download import fetch
from mmx.extract.vlmo.config import ARCHITECTURES
from mmx.extract.vlmo.heads import PRETRAINING

RELEASE = "https://github.com/wenhui0924/vlmo_ckpts/releases/download/vlmo"
DEFAULT = "base_plus"  # what arXiv 2310.20343 uses for recommendation


@dataclass(frozen=True)
class Record:
    """One published file."""

    variant: str  # what follows "vlmo:"
    architecture: str  # a name of ARCHITECTURES
    image_size: int  # px
    heads: tuple[str, ...]  # as in mmx.extract.vlmo.heads.MODULES
    file: str  # its name, here and where it is published
    sha256: str | None = None  # None: unknown, recorded on first download
    tokenizer: str = "bert-base-uncased"

    @property
    def url(self) -> str:
        """Where it is published."""
        return f"{RELEASE}/{self.file}"


TASKS = {  # suffix of the variant → (suffix of the file, px, heads)
    "": ("224", 224, PRETRAINING),
    "_384_coco": ("384_coco", 384, ("pooler", "itc")),
    "_384_f30k": ("384_f30k", 384, ("pooler", "itc")),
    "_480_vqa": ("480_vqa", 480, ("pooler", "vqa")),
    "_384_nlvr2": ("384_nlvr2", 384, ("pooler", "nlvr2")),
}
RECORDS = {
    f"{name}{task}": Record(f"{name}{task}", name, size, heads, f"vlmo_{name}_patch16_{end}.pt")
    for name in ARCHITECTURES
    for task, (end, size, heads) in TASKS.items()
}


def find(variant: str) -> Record:
    """``base_plus``, ``vlmo:base_plus``; ``vlmo`` or nothing for the default one.

    Raises EncoderError for other names.
    """
    name = variant.removeprefix("vlmo").removeprefix(":") or DEFAULT
    if name not in RECORDS:
        raise EncoderError(f"no VLMo checkpoint '{variant}'{suggestion(name, RECORDS)}")
    return RECORDS[name]


def obtain(record: Record, log: Callable[[str], None] = lambda line: None) -> Path:
    """The checkpoint file from torch's hub cache, downloaded on first use.

    Raises EncoderError, naming the place to put the file, when it cannot be had.
    """
    import torch

    target = Path(torch.hub.get_dir()) / "checkpoints" / record.file
    return fetch(record.url, target, sha256=record.sha256, progress=in_lines(log, record.file))


def in_lines(log: Callable[[str], None], name: str) -> Callable[[int, int | None], None]:
    """Progress in bytes as lines, one for each hundredth of the file."""
    last = -1

    def progress(done: int, total: int | None) -> None:
        nonlocal last
        step = 100 * done // total if total else done >> 24
        if step != last:
            last = step
            of = f" of {total / 1e6:.0f}" if total else ""
            log(f"{name}: {done / 1e6:.0f}{of} MB")

    return progress
