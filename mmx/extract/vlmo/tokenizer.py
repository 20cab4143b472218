"""Word pieces as VLMo was trained on them: bert-base-uncased, at most 40 tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmx.errors import EncoderError
from mmx.extract.download import fetch
from mmx.extract.encoder import TextBatch
from mmx.extract.vlmo.records import in_lines

NAME = "bert-base-uncased"
REPOSITORIES = ("google-bert/bert-base-uncased", "bert-base-uncased")  # its new and old address
URL = f"https://huggingface.co/{REPOSITORIES[0]}/resolve/main/vocab.txt"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Tokenizer:
    """Lower-cased BERT word pieces, cut on the right to ``limit`` tokens with [CLS] and [SEP]."""

    def __init__(self, vocabulary: dict[str, int], limit: int) -> None:
        from transformers import BertTokenizer

        digest = hashlib.sha256("\n".join(vocabulary).encode()).hexdigest()
        self.limit, self.size = limit, max(vocabulary.values()) + 1
        self.name = f"BERT word pieces, lower case, {self.size} of SHA-256 {digest[:16]}"
        self.pad, self.sep = vocabulary["[PAD]"], vocabulary["[SEP]"]
        self.mask = vocabulary["[MASK]"]
        self.special = tuple(vocabulary[token] for token in SPECIAL)
        no_limit = 1 << 30  # cut here, so that truncation is known
        self.pieces: Any = BertTokenizer(vocab=vocabulary, model_max_length=no_limit)

    def __call__(self, texts: list[str]) -> TextBatch:
        """B texts → ``tokens`` {"ids", "mask"}, both (B, T) int64 with T the longest's length."""
        whole = self.pieces(texts, add_special_tokens=True)["input_ids"] if texts else []
        cut = [i if len(i) <= self.limit else [*i[: self.limit - 1], self.sep] for i in whole]
        count = np.array([len(ids) for ids in cut], dtype=np.int32)
        truncated = np.array([len(ids) > self.limit for ids in whole], dtype=bool)
        return TextBatch(self._padded(cut, int(count.max(initial=0))), count, truncated)

    def _padded(self, rows: list[list[int]], length: int) -> dict[str, Tensor]:
        ids = torch.full((len(rows), length), self.pad)
        mask = torch.zeros((len(rows), length), dtype=torch.long)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        return {"ids": ids, "mask": mask}


def open_tokenizer(
    path: Path | None = None,
    limit: int = 40,
    log: Callable[[str], None] = lambda line: None,
) -> Tokenizer:
    """From a ``vocab.txt`` or a directory that has one; without ``path`` from the hub's cache.

    Raises EncoderError when there is none, or it is not a BERT vocabulary.
    """
    file = vocabulary_file(path, log)
    try:
        words = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise EncoderError(f"--tokenizer {file} is not a vocab.txt ({error})") from error
    vocabulary = {word.rstrip("\r"): number for number, word in enumerate(words) if word}
    absent = [token for token in SPECIAL if token not in vocabulary]
    if absent:
        raise EncoderError(f"--tokenizer {file} is not a BERT vocab.txt: it lacks {absent[0]}")
    return Tokenizer(vocabulary, limit)


def vocabulary_file(path: Path | None, log: Callable[[str], None] = lambda line: None) -> Path:
    """The ``vocab.txt`` that ``open_tokenizer`` reads. Raises EncoderError when there is none."""
    return _local(path) if path is not None else _named(log)


def _local(path: Path) -> Path:
    file = path / "vocab.txt" if path.is_dir() else path
    if not file.is_file():
        raise EncoderError(f"--tokenizer {path}: {file} is not there; give {NAME}'s vocab.txt")
    return file


def _named(log: Callable[[str], None]) -> Path:
    from huggingface_hub import try_to_load_from_cache

    for repository in REPOSITORIES:
        cached = try_to_load_from_cache(repository, "vocab.txt")
        if isinstance(cached, str):
            return Path(cached)
    target = Path(torch.hub.get_dir()) / "checkpoints" / f"{NAME}-vocab.txt"
    return fetch(URL, target, progress=in_lines(log, target.name), fix="--tokenizer PATH")
