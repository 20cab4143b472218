"""From a batch of pairs to the loss: both encodings in chunks, then the objectives added up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mmx.devices import sent
from mmx.extract.finetune.chunks import in_chunks
from mmx.extract.finetune.losses import Alike, co_interaction, itc, itc_in_blocks
from mmx.extract.finetune.pairs import AugmentedBatch, DrawnBatch, PairBatch, Pairs
from mmx.extract.finetune.partners import Partners
from mmx.extract.finetune.trainable import Trainable, unit
from mmx.processes import Processes

if TYPE_CHECKING:
    from mmx.extract.finetune.options import FinetuneOptions

Encode = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class Objective:
    """What is minimised, over which pairs."""

    trainable: Trainable
    pairs: Pairs
    options: FinetuneOptions
    partners: Partners | None
    generator: torch.Generator
    processes: Processes

    def draw(self, rows: torch.Tensor) -> DrawnBatch:
        """A batch of (B,) item rows, with the seeds of its pictures, and their partners."""
        mine = self._share(len(rows))
        fused = {"itm", "mlm"} & set(self.options.objectives)  # every process computes all of it
        batch = self._seeded(rows, torch.arange(len(rows)) if fused else mine)
        if self.partners is None:
            return DrawnBatch(batch)
        others = self._having(self.partners.draw(rows, self.generator), rows)
        return DrawnBatch(batch, self._seeded(others, mine))

    def _seeded(self, rows: torch.Tensor, places: torch.Tensor) -> PairBatch:
        """Pairs whose pictures at ``places`` are looked at."""
        if not self.options.augment:
            return PairBatch(self.pairs, rows)
        seeds = torch.randint(2**62, rows.shape, generator=self.generator)
        return AugmentedBatch(self.pairs, rows, self.trainable.augmentation, seeds, places)

    def _having(self, others: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Partners; one without a pair is replaced by the item itself."""
        return torch.where(torch.from_numpy(self.pairs.known[others.numpy()]), others, rows)

    def loss(self, drawn: DrawnBatch) -> torch.Tensor:
        """The sum of the objectives over a batch.

        Where several processes train, each encodes its share of the rows and all contrast all
        of them: summed over processes, the encoders' gradients are those of one process.
        """
        batch, rows = drawn.pairs, drawn.pairs.rows
        images, texts = self.embed(batch)
        scale, total = self.trainable.log_scale.exp(), images.new_zeros(())
        if "itc" in self.options.objectives:
            total = total + itc(images, texts, scale, self._alike(rows))
        if drawn.partners is not None:
            total = total + self._co_interaction(rows, drawn.partners, images + texts, scale)
        if {"itm", "mlm"} & set(self.options.objectives):
            from mmx.extract.finetune.vlmo import fused_losses

            near = (images @ texts.T).detach()
            with self._autocast():
                fused = fused_losses(self.trainable, batch, near, self.options, self.generator)
            total = total + fused / self.processes.size  # every process computes all of it
        return total

    def sum_gradients(self, parameters: Sequence[torch.Tensor]) -> None:
        """Add up the gradients of all processes, so that they are those of one."""
        self.processes.sum_gradients(parameters)
        scale = self.trainable.log_scale.grad
        if scale is not None:  # every process had the whole of this one
            scale /= self.processes.size

    def embed(self, batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """B pairs → pictures (B, d) and texts (B, d) of length 1, with gradients if on."""
        mine = self._share(len(batch.rows))
        chunk, device = self.options.chunk, self.trainable.hardware.device
        both = (in_chunks(encode, mine, chunk, device) for encode in self._encoders(batch))
        images, texts = (self.processes.whole(part, len(batch.rows)) for part in both)
        return images, texts

    def _share(self, size: int) -> torch.Tensor:
        """The places in a batch that this process encodes."""
        (mine,), _ = self.processes.share(torch.arange(size))
        return mine

    def _encoders(self, batch: PairBatch) -> tuple[Encode, Encode]:
        """Places in the batch → pictures and texts (n, d) of length 1."""
        trainable = self.trainable

        def image(places: torch.Tensor) -> torch.Tensor:
            with self._autocast():
                return unit(trainable.images(batch.pictures(places)).float())

        def text(places: torch.Tensor) -> torch.Tensor:
            with self._autocast():
                return unit(trainable.texts(batch.words(places)).float())

        return image, text

    def held_out(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pictures, texts (m, d) and the loss of (m,) held-out rows, pictures as they are.

        ITC counts where it is trained or nothing else is; matching and masked words do not. No
        (m, m) matrix is made of many rows.
        """
        images, texts = self.embed(PairBatch(self.pairs, rows))
        scale, total = self.trainable.log_scale.exp(), images.new_zeros(())
        if "itc" in self.options.objectives or self.partners is None:
            total = total + itc_in_blocks(images, texts, scale, self.alike_among(rows))
        if self.partners is not None:
            same = torch.Generator().manual_seed(self.options.seed)  # partners of every epoch
            others = PairBatch(self.pairs, self._having(self.partners.draw(rows, same), rows))
            both = images + texts
            total = total + self._co_interaction(rows, others, both, scale, in_blocks=True)
        return images, texts, total

    def _co_interaction(
        self,
        rows: torch.Tensor,
        partners: PairBatch,
        both: torch.Tensor,
        scale: torch.Tensor,
        *,
        in_blocks: bool = False,
    ) -> torch.Tensor:
        more, others = unit(torch.stack(self.embed(partners)).sum(0)), partners.rows
        if not in_blocks:
            alike = self._alike(rows, others) | self._alike(others)
            return co_interaction(unit(both), more, scale, alike)
        one, two = self.alike_among(rows, others), self.alike_among(others)
        return itc_in_blocks(unit(both), more, scale, lambda i, j: one(i, j) | two(i, j))

    def alike_among(self, rows: torch.Tensor, others: torch.Tensor | None = None) -> Alike:
        """Which of (m,) item rows and ``others``, by default the same, are alike; by places."""
        theirs = rows if others is None else others
        return lambda i, j: self._alike(rows[i.cpu()], theirs[j.cpu()])

    def _alike(self, rows: torch.Tensor, others: torch.Tensor | None = None) -> torch.Tensor:
        return sent(self.pairs.alike(rows, others), self.trainable.hardware.device)

    def _autocast(self) -> torch.autocast:
        device = self.trainable.hardware.device.type
        return torch.autocast(device, torch.bfloat16, self.options.precision == "bfloat16")
