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

from typing import Any

import torch
from torch import nn

from mmx.devices import sent
from mmx.errors import OptionError
from mmx.extract.finetune.trainable import unit
from mmx.recommend.contract import checked_tables
from mmx.recommend.end_to_end.catalogue import Catalogue
from mmx.recommend.end_to_end.options import EndToEndOptions
from mmx.recommend.models import end_to_end_models
from mmx.recommend.protocol import GradientModel


class EndToEnd(GradientModel):
    """A model that trains its encoder, too: wraps one that reads feature tables."""

    def __init__(
        self, inner: GradientModel, catalogue: Catalogue, options: EndToEndOptions
    ) -> None:
        """Raises OptionError when the recommender reads no features."""
        super().__init__()
        self.inner, self.options, self.catalogue = inner, options, catalogue
        self.whole_batch, self.generator = inner.whole_batch, inner.generator
        self.normalise = inner.normalise
        # the CPU has the pictures and texts
        self.reads_batches = options.refresh == "batch" or inner.reads_batches
        self.encoder = catalogue.trainable.model
        self.tables = {m: checked_tables(inner, inner.feature_tables(m)) for m in catalogue.present}
        if not any(self.tables.values()):
            raise OptionError(f"--end-to-end needs a model with features: {end_to_end_models()}")
        self._rows: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}  # by modality, see _having
        self._means: dict[str, torch.Tensor] = {}  # (d,) of the vectors at the last refresh
        self._stale = True  # whether the encoder has moved since the tables were filled
        self._held: dict[str, torch.Tensor] = {}  # vectors with gradient, of a batch of one chunk
        self._autocast = (False, torch.bfloat16)  # of the forward pass, for the second encoding
        self.register_load_state_dict_post_hook(_mark_stale)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The recommender's parameters at ``lr``, the encoder's at theirs."""
        groups = self.inner.parameter_groups(lr)
        mine = [p for p in self.encoder.parameters() if p.requires_grad]
        if self.options.refresh == "batch":
            groups.append({"params": mine, "lr": self.options.encoder_lr})
        return groups

    def draw_on(self, device: torch.device) -> None:
        """The recommender draws."""
        self.inner.draw_on(device)
        self.generator = self.inner.generator

    def epoch_start(self, generator: torch.Generator) -> None:
        """Fill every row of the tables from the encoder as it is now."""
        self._refresh()
        self.inner.epoch_start(generator)

    def loss(
        self,
        users: torch.Tensor,
        positives: torch.Tensor,
        negatives: torch.Tensor,
        *on_cpu: torch.Tensor,
    ) -> torch.Tensor:
        """The wrapped model's loss, over tables whose rows of this batch are fresh."""
        self.encoder.eval()  # no dropout: both encodings of a chunk must agree
        if self.options.refresh == "batch":
            device = users.device.type
            self._autocast = (torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))
            items = torch.cat(on_cpu[1:] or (positives.cpu(), negatives.cpu())).unique()
            for modality, tables in self.tables.items():
                rows, there = self._rows[modality] = self._having(modality, items, users.device)
                fresh = self._fresh(modality, rows)
                for table in tables:
                    table.matrix = table.matrix.detach()
                    table.matrix[there] = fresh
                    table.matrix.requires_grad_(True)
        again = on_cpu if self.inner.reads_batches else ()
        return self.inner.loss(users, positives, negatives, *again)

    def after_backward(self) -> None:
        """Pass the gradients at the batch's rows on into the encoder, chunk by chunk."""
        self.inner.after_backward()
        if self.options.refresh == "epoch":
            return
        self._stale = True
        enabled, dtype = self._autocast
        for modality, tables in self.tables.items():
            gradients = [t.matrix.grad for t in tables if t.matrix.grad is not None]
            for table in tables:
                table.matrix = table.matrix.detach()
            if not gradients:  # a model may not look at its features in every step
                continue
            rows, there = self._rows[modality]
            total = torch.stack(gradients).sum(0)[there]  # (n, d)
            if modality in self._held:
                self._held.pop(modality).backward(total)
                continue
            chunk = self.options.chunk
            for part, gradient in zip(rows.split(chunk), total.split(chunk), strict=True):
                with torch.autocast(total.device.type, dtype, enabled):
                    vectors = self._encode(modality, part)
                vectors.backward(gradient)

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Final embeddings, from features as the encoder computes them now."""
        self._refresh()
        return self.inner.factors()

    def _refresh(self) -> None:
        if not self._stale:
            return
        self.encoder.eval()
        device = next(self.encoder.parameters()).device
        for modality, found in self.catalogue.features(self.options.chunk).items():
            self._means[modality] = torch.from_numpy(found.mean).to(device)
            known = found.normalised() if self.normalise else found
            for table in self.tables[modality]:
                table.matrix = torch.from_numpy(known.matrix).to(table.matrix.device)
        self._stale = False

    def _having(
        self, modality: str, items: torch.Tensor, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Which of some items, on the CPU, have the modality: there, and on the device."""
        rows = items[torch.from_numpy(self.catalogue.present[modality])[items]]
        return rows, sent(rows, device)

    def _fresh(self, modality: str, rows: torch.Tensor) -> torch.Tensor:
        """The batch's vectors as constants; what fits in one chunk is encoded only once."""
        self._held.pop(modality, None)
        if len(rows) <= self.options.chunk:
            self._held[modality] = self._encode(modality, rows)
            return self._held[modality].detach()
        with torch.no_grad():
            return torch.cat([self._encode(modality, p) for p in rows.split(self.options.chunk)])

    def _encode(self, modality: str, rows: torch.Tensor) -> torch.Tensor:
        """(n,) item rows → (n, d) as the recommender reads them; the mean counts as a constant."""
        vectors = self.catalogue.encode(modality, rows).float()
        return unit(vectors - self._means[modality].to(vectors)) if self.normalise else vectors


def _mark_stale(model: nn.Module, _: object) -> None:
    """Other weights were loaded: the tables are of the old ones."""
    model._stale = True  # type: ignore[assignment]
