"""What fine-tuning reads: pictures and texts of items, and which of them belong together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mmx.data.dataset import Items
from mmx.errors import DataError
from mmx.extract.encoder import Encoder
from mmx.extract.pictures.augment import Augmentation
from mmx.extract.pixels import cached_pixels
from mmx.extract.sources.web import Web
from mmx.extract.stages.load import clean_text

TOGETHER = 16  # pictures that are augmented together


@dataclass(frozen=True)
class Pairs:
    """Items that have both a picture and a text, split into training and validation."""

    images: np.ndarray  # (items, s, s, 3) uint8, memory-mapped
    texts: Sequence[str | None]  # of all items
    train: np.ndarray  # (n,) item rows
    valid: np.ndarray  # (m,) item rows
    known: np.ndarray  # (items,) bool: has both
    groups: np.ndarray  # (items, 2) int64: which picture and which text, alike where the same
    truncated: float  # share of texts that the tokenizer cuts
    sha256: str = ""  # of the pictures and texts that are contrasted, and who is held out

    def pixels(self, rows: torch.Tensor) -> torch.Tensor:
        """(n,) rows → (n, s, s, 3) uint8."""
        return torch.from_numpy(self.images[rows.numpy()])

    def words(self, rows: torch.Tensor) -> list[str]:
        """(n,) rows → texts."""
        return [str(self.texts[row]) for row in rows.tolist()]

    def alike(self, rows: torch.Tensor, others: torch.Tensor | None = None) -> torch.Tensor:
        """(n,) rows and (k,) ``others``, by default the same → (n, k): same picture or text."""
        mine = torch.from_numpy(self.groups[rows.numpy()])
        other = mine if others is None else torch.from_numpy(self.groups[others.numpy()])
        return (mine[:, None, 0] == other[None, :, 0]) | (mine[:, None, 1] == other[None, :, 1])


@dataclass(eq=False)
class PairBatch:
    """Pairs that are contrasted with each other; places in it count from 0."""

    pairs: Pairs
    rows: torch.Tensor  # (B,) item rows

    def pictures(self, places: torch.Tensor) -> torch.Tensor:
        """(n,) places → (n, s, s, 3) uint8."""
        return self.pairs.pixels(self.rows[places])

    def words(self, places: torch.Tensor) -> list[str]:
        """(n,) places → texts."""
        return self.pairs.words(self.rows[places])


@dataclass(eq=False)
class AugmentedBatch(PairBatch):
    """Pairs whose pictures are altered, each by its seed; those at ``places`` are looked at."""

    augmentation: Augmentation
    seeds: torch.Tensor  # (B,) int64
    places: torch.Tensor  # (n,), ascending
    pixels: torch.Tensor | None = None  # (n, s, s, 3) uint8 of the places, kept while they are used

    def augmented(self, part: slice) -> torch.Tensor:
        """Some of the places → their pixels (k, s, s, 3) uint8, altered."""
        places = self.places[part]
        return self.augmentation(super().pictures(places), self.seeds[places])

    def augment(self) -> None:
        """Make all pixels, in this process."""
        shape = (len(self.places), *self.pairs.images.shape[1:])
        self.pixels = torch.empty(shape, dtype=torch.uint8)
        for start in range(0, shape[0], TOGETHER):
            part = slice(start, start + TOGETHER)
            self.pixels[part] = self.augmented(part)

    def pictures(self, places: torch.Tensor) -> torch.Tensor:
        """(n,) of the places → (n, s, s, 3) uint8."""
        if self.pixels is None:
            self.augment()
        assert self.pixels is not None
        found = torch.searchsorted(self.places, places)
        first, stop = int(found[0]), int(found[-1]) + 1
        in_a_row = torch.equal(found, torch.arange(first, stop))
        return self.pixels[first:stop] if in_a_row else self.pixels[found]


@dataclass
class DrawnBatch:
    """A batch of training: all that is drawn for it but what VLMo's own losses draw."""

    pairs: PairBatch
    partners: PairBatch | None = None  # of the co-interaction objective

    @property
    def augmented(self) -> list[AugmentedBatch]:
        """What of it is augmented."""
        both = (self.pairs, self.partners)
        return [batch for batch in both if isinstance(batch, AugmentedBatch)]


def load_pairs(
    items: Items,
    encoder: Encoder,
    folder: Path,
    *,
    valid_share: float,
    seed: int,
    web: Web | None = None,
) -> Pairs:
    """Decode what is needed once and hold out a share of the pairs for validation.

    Items with the same picture or text stay on one side. Raises DataError when fewer than
    four pairs are there, or on one side no two differ in both.
    """
    assert encoder.image_rule is not None
    found = cached_pixels(items, encoder.image_rule, folder, web=web)
    texts = [clean_text(text)[0] for text in items.table["text"].to_pylist()]
    whole = found.present & np.array([text is not None for text in texts])
    rows = np.flatnonzero(whole)
    if len(rows) < 4:
        raise DataError(f"{items.path} has {len(rows)} items with picture and text; 4 are needed")
    pictures = _digests(found.images, whole)
    groups = np.stack([_numbered(pictures), _numbered(texts)], 1)
    held = _held_out(groups[rows], valid_share, seed)
    train, valid = rows[~held], rows[held]
    for side in (train, valid):
        _must_differ(items, groups, rows, side)
    cut = [encoder.tokenize([str(texts[row])]).truncated[0] for row in rows]
    sha256 = _sha256([(pictures[row].hex(), texts[row]) for row in rows], held)
    return Pairs(found.images, texts, train, valid, whole, groups, float(np.mean(cut)), sha256)


def _digests(images: np.ndarray, whole: np.ndarray) -> list[bytes]:
    """Of each picture of a pair; one byte for the others."""
    return [
        hashlib.blake2b(images[row].tobytes(), digest_size=8).digest() if there else bytes([0])
        for row, there in enumerate(whole)
    ]


def _sha256(pairs: list[tuple[str, str | None]], held: np.ndarray) -> str:
    return hashlib.sha256(json.dumps([pairs, held.tolist()]).encode()).hexdigest()


def _must_differ(items: Items, groups: np.ndarray, rows: np.ndarray, side: np.ndarray) -> None:
    """Raise DataError unless two of a side's pairs differ in picture and text.

    What is alike is never contrasted: where all share one picture, or all one text, every loss
    is 0 and nothing is learned. Other pairs cannot all be alike.
    """
    if all(len(np.unique(column)) > 1 for column in groups[side].T):
        return
    pictures, texts = (len(np.unique(column)) for column in groups[rows].T)
    raise DataError(
        f"{items.path}: the {len(rows)} items with picture and text have {pictures} different "
        f"pictures and {texts} different texts, too few that differ in both: fine-tuning contrasts "
        "at least two to learn from and two to validate"
    )


def _numbered(values: Sequence[object]) -> np.ndarray:
    """Equal values get equal numbers."""
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], dtype=np.int64)


def _held_out(groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """(n,) bool: about ``share`` of all rows; rows that share a picture or a text stay together.

    At least two such groups where there are four: one pair alone has nothing to be contrasted with.
    """
    parent = list(range(len(groups)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for column in groups.T:
        first: dict[int, int] = {}
        for row, key in enumerate(column.tolist()):
            parent[root(row)] = root(first.setdefault(key, row))
    component = np.array([root(row) for row in range(len(groups))])
    names = np.unique(component)
    least = 2 if len(names) >= 4 else 1
    count = min(max(least, round(share * len(names))), max(1, len(names) - least))
    chosen = np.random.default_rng(seed).permutation(names)[:count]
    return np.isin(component, chosen)
