"""The catalogue as a trainable encoder sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import torch

from mmx.data.dataset import Items
from mmx.errors import DataError
from mmx.extract.finetune.trainable import Trainable
from mmx.extract.pixels import Pixels
from mmx.extract.stages.load import clean_text
from mmx.recommend.features import Features

BLOCK = 256  # pictures that are hashed at once


class Catalogue:
    """The catalogue through a trainable encoder: item numbers in, vectors out.

    ``order`` (items,) has the row of the items table of each item number.
    """

    def __init__(
        self, trainable: Trainable, items: Items, pixels: Pixels, order: np.ndarray
    ) -> None:
        """Raises DataError when no item has a picture, or none a text."""
        self.trainable, self.items, self.pixels, self.order = trainable, items, pixels, order
        self.texts = [clean_text(text)[0] for text in items.table["text"].to_pylist()]
        known = np.array([text is not None for text in self.texts])
        self.present = {"image": pixels.present[order], "text": known[order]}
        self._refuse_empty()

    def _refuse_empty(self) -> None:
        """Raise DataError when no item has a picture, or none a text."""
        whole = "or train on one modality: mmx extract --modalities, then --features"
        if not self.present["image"].any():
            raise DataError(
                f"{self.items.path}: no item has a picture that can be read; set --images to the "
                f"folder of the pictures, {whole}"
            )
        if not self.present["text"].any():
            raise DataError(f"{self.items.path}: no item has a text; fill its column text, {whole}")

    def encode(self, modality: str, numbers: torch.Tensor) -> torch.Tensor:
        """(n,) numbers of items that have the modality, on the CPU → (n, d) of length 1."""
        rows = self.order[numbers.numpy()]
        if modality == "image":
            return self.trainable.images(torch.from_numpy(self.pixels.images[rows]))
        return self.trainable.texts([str(self.texts[row]) for row in rows.tolist()])

    def contents(self) -> Iterator[bytes | memoryview]:
        """All that the vectors are made from, in the order of the item numbers, to be hashed."""
        yield self.trainable.encoder.card.to_json().encode()
        yield json.dumps([self.texts[row] for row in self.order]).encode()
        yield self.present["image"].data
        for start in range(0, len(self.order), BLOCK):
            rows = self.order[start : start + BLOCK]
            yield np.ascontiguousarray(self.pixels.images[rows]).data

    @torch.no_grad()
    def features(self, chunk: int) -> dict[str, Features]:
        """All vectors as they are now."""
        found = {}
        for modality, present in self.present.items():
            numbers = torch.from_numpy(np.flatnonzero(present))
            parts = [self.encode(modality, part).cpu() for part in numbers.split(chunk)]
            vectors = torch.cat(parts).numpy()
            matrix = np.zeros((len(present), vectors.shape[1]), dtype=np.float32)
            matrix[present] = vectors
            found[modality] = Features(matrix, present)
        return found
