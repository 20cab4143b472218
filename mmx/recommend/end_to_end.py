"""Training the encoder with the recommender: real gradients from the ranking loss.

The recommender reads item features from a table in which the rows of a batch carry gradient
and the others are their latest values. A step encodes the batch's unique items in chunks
without gradient and writes them into the table; the loss leaves gradients at the table's
rows; the chunks are encoded again, with gradient, and take them (gradient caching, Gao et
al., RepL4NLP 2021). That is exact for the batch's items, in the memory of one chunk.

The released code of *Large Multi-modal Encoders for Recommendation* (arXiv 2310.20343)
rebuilds all features once an epoch without gradient, so its encoder never learns.
``refresh="epoch"`` does the same, under that name, to compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from mmx.data.dataset import Items
from mmx.errors import OptionError
from mmx.extract.finetune.trainable import Trainable
from mmx.extract.inputs import clean_text
from mmx.extract.pixels import Pixels
from mmx.recommend.features import Features


@dataclass(frozen=True)
class EndToEndOptions:
    """How the encoder takes part."""

    refresh: str = "batch"  # "batch": gradients into the encoder; "epoch": features rebuilt only
    encoder_lr: float = 1e-5  # learning rate of the encoder's parameters
    tune: str = "full"  # full, lora, projection, last:N
    chunk: int = 32  # items encoded at once with gradients; bounds the memory

    def __post_init__(self) -> None:
        if self.refresh not in ("batch", "epoch"):
            raise OptionError(f"--refresh {self.refresh} is unknown; known: batch, epoch")
        if self.chunk < 1 or not self.encoder_lr > 0:
            raise OptionError("--chunk must be at least 1 and --encoder-lr positive")


class Catalogue:
    """The catalogue through a trainable encoder: item rows in, vectors out."""

    def __init__(self, trainable: Trainable, items: Items, pixels: Pixels) -> None:
        self.trainable, self.pixels = trainable, pixels
        self.texts = [clean_text(text)[0] for text in items.table["text"].to_pylist()]
        known = np.array([text is not None for text in self.texts])
        self.present = {"image": pixels.present, "text": known}

    def encode(self, modality: str, rows: torch.Tensor) -> torch.Tensor:
        """(n,) rows of items that have the modality → (n, d) of length 1."""
        if modality == "image":
            return self.trainable.images(torch.from_numpy(self.pixels.images[rows.cpu().numpy()]))
        words = [str(self.texts[row]) for row in rows.tolist()]
        tokens = self.trainable.encoder.tokenize(words).tokens
        device = self.trainable.hardware.device
        if isinstance(tokens, torch.Tensor):
            return self.trainable.text(tokens.to(device))
        return self.trainable.text({name: value.to(device) for name, value in tokens.items()})

    @torch.no_grad()
    def features(self, chunk: int) -> dict[str, Features]:
        """All vectors as they are now."""
        found = {}
        for modality, present in self.present.items():
            rows = torch.from_numpy(np.flatnonzero(present))
            parts = [self.encode(modality, part).cpu() for part in rows.split(chunk)]
            vectors = torch.cat(parts).numpy()
            matrix = np.zeros((len(present), vectors.shape[1]), dtype=np.float32)
            matrix[present] = vectors
            found[modality] = Features(matrix, present)
        return found


class EndToEnd(nn.Module):
    """A GradientModel that trains its encoder along: wraps one that reads feature tables."""

    def __init__(self, inner: Any, catalogue: Catalogue, options: EndToEndOptions) -> None:
        """Raises OptionError when the recommender reads no features."""
        super().__init__()
        self.inner, self.options, self.catalogue = inner, options, catalogue
        self.encoder = catalogue.trainable.model
        self.tables = {m: list(_tables(inner, m)) for m in catalogue.present}
        if not any(self.tables.values()):
            raise OptionError("--end-to-end needs a model with features, such as vbpr")
        self._rows = torch.zeros(0, dtype=torch.long)
        self._learned = False  # whether the encoder has moved since the tables were filled

    @property
    def whole_batch(self) -> bool:
        """As the wrapped model says."""
        return bool(getattr(self.inner, "whole_batch", False))

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The recommender's parameters at ``lr``, the encoder's at theirs."""
        groups = [{"params": [p for p in self.inner.parameters() if p.requires_grad], "lr": lr}]
        mine = [p for p in self.encoder.parameters() if p.requires_grad]
        if self.options.refresh == "batch":
            groups.append({"params": mine, "lr": self.options.encoder_lr})
        return groups

    def epoch_start(self, generator: torch.Generator) -> None:
        """Bring every row of the tables up to date."""
        self._refresh()
        if hasattr(self.inner, "epoch_start"):
            self.inner.epoch_start(generator)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """The wrapped model's loss, over tables whose rows of this batch are fresh."""
        self.encoder.eval()  # no dropout: both encodings of a chunk must agree
        if self.options.refresh == "batch":
            self._rows = torch.cat([positives, negatives]).unique()
            for modality, tables in self.tables.items():
                rows = self._having(modality)
                fresh = self._vectors(modality, rows)
                for table in tables:
                    table.matrix = table.matrix.detach()
                    table.matrix[rows] = fresh
                    table.matrix.requires_grad_(True)
        return self.inner.loss(users, positives, negatives)

    def after_backward(self) -> None:
        """Pass the gradients at the batch's rows on into the encoder, chunk by chunk."""
        if self.options.refresh == "epoch":
            return
        self._learned = True
        for modality, tables in self.tables.items():
            gradients = [t.matrix.grad for t in tables if t.matrix.grad is not None]
            for table in tables:
                table.matrix = table.matrix.detach()
            if not gradients:  # a model may not look at its features in every step
                continue
            rows, total = self._having(modality), torch.stack(gradients).sum(0)
            for part in rows.split(self.options.chunk):
                with torch.enable_grad():
                    self.catalogue.encode(modality, part).backward(total[part])

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Final embeddings, from features as the encoder gives them now."""
        if self._learned:
            self._refresh()
        return self.inner.factors()

    def _refresh(self) -> None:
        self.encoder.eval()
        for modality, found in self.catalogue.features(self.options.chunk).items():
            for table in self.tables[modality]:
                table.matrix = torch.from_numpy(found.matrix).to(table.matrix.device)
        self._learned = False

    def _having(self, modality: str) -> torch.Tensor:
        """The batch's item rows that have the modality."""
        known = torch.from_numpy(self.catalogue.present[modality]).to(self._rows.device)
        return self._rows[known[self._rows]]

    @torch.no_grad()
    def _vectors(self, modality: str, rows: torch.Tensor) -> torch.Tensor:
        return torch.cat(
            [self.catalogue.encode(modality, part) for part in rows.split(self.options.chunk)]
        )


def _tables(model: nn.Module, modality: str) -> Iterator[Any]:
    """The modules that hold the modality's feature matrix: named for it, with a ``matrix``."""
    for name, module in model.named_modules():
        if name.rpartition(".")[2] == modality and hasattr(module, "matrix"):
            yield module
