"""VLMo's objectives on pairs: matching with hard negatives, and masked words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmx.errors import OptionError
from mmx.extract.encoders.torch_encoder import normalised_pixels
from mmx.extract.finetune.pairs import Pairs
from mmx.extract.finetune.trainable import Trainable
from mmx.extract.vlmo.encoder import VLMoEncoder
from mmx.extract.vlmo.losses import MLM_WEIGHT, itm_loss, mask_tokens, mlm_loss

if TYPE_CHECKING:
    from mmx.extract.finetune.loop import FinetuneOptions

SPECIAL = (0, 100, 101, 102, 103)  # [PAD], [UNK], [CLS], [SEP], [MASK] of bert-base-uncased
MASK = 103


def fused_losses(
    trainable: Trainable,
    pairs: Pairs,
    rows: torch.Tensor,
    similarity: torch.Tensor,
    options: FinetuneOptions,
    generator: torch.Generator,
) -> torch.Tensor:
    """ITM and MLM over (B,) item rows; ``similarity`` (B, B) says which negatives are hard.

    Hard negatives are drawn within a chunk, whose size bounds the memory.
    """
    encoder = trainable.encoder
    if not isinstance(encoder, VLMoEncoder):
        raise OptionError(f"--objective itm and mlm are VLMo's; {encoder.card.name} has only itc")
    total = similarity.new_zeros(())
    chunks = [c for c in torch.arange(len(rows)).split(options.chunk) if len(c) > 1]
    for chunk in chunks:
        part = rows[chunk]
        assert encoder.image_rule is not None
        images = normalised_pixels(
            pairs.pixels(part).numpy(), encoder.image_rule, trainable.hardware
        )
        tokens = encoder.tokenize(pairs.words(part)).tokens
        device = trainable.hardware.device
        ids, mask = tokens["ids"].to(device), tokens["mask"].to(device)
        weight = len(chunk) / len(rows)
        if "itm" in options.objectives:
            near = similarity[chunk][:, chunk]
            matched = itm_loss(encoder.model, images, ids, mask, near, generator)
            total = total + weight * matched.loss
        if "mlm" in options.objectives:
            replaced, labels = mask_tokens(
                ids, mask, special=SPECIAL, mask_id=MASK,
                vocab_size=encoder.model.config.vocab_size, generator=generator,
            )  # fmt: skip
            loss = mlm_loss(encoder.model, images, replaced, mask, labels)
            total = total + weight * MLM_WEIGHT * loss
    return total
