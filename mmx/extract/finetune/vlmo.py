"""VLMo's objectives on pairs: matching with hard negatives, and masked words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmx.errors import OptionError
from mmx.extract.encoders.torch_encoder import normalised_pixels, to_device
from mmx.extract.encoders.vlmo import VLMoEncoder
from mmx.extract.finetune.pairs import PairBatch
from mmx.extract.finetune.trainable import Trainable
from mmx.extract.vlmo.losses import MLM_WEIGHT, itm_loss, mask_tokens, mlm_loss

if TYPE_CHECKING:
    from mmx.extract.finetune.options import FinetuneOptions


def fused_losses(
    trainable: Trainable,
    batch: PairBatch,
    similarity: torch.Tensor,
    options: FinetuneOptions,
    generator: torch.Generator,
) -> torch.Tensor:
    """ITM and MLM over a batch of B pairs; ``similarity`` (B, B) says which negatives are hard.

    Hard negatives are drawn within a chunk, whose size bounds the memory.
    """
    encoder = trainable.encoder
    if not isinstance(encoder, VLMoEncoder):
        raise OptionError(f"--objective itm and mlm are VLMo's; {encoder.card.name} has only itc")
    words, total = encoder.tokenizer, similarity.new_zeros(())
    assert words is not None
    size = len(batch.rows)
    chunks = [c for c in torch.arange(size).split(options.chunk) if len(c) > 1]
    for chunk in chunks:
        assert encoder.image_rule is not None
        pixels = batch.pictures(chunk).numpy()
        images = normalised_pixels(pixels, encoder.image_rule, trainable.hardware)
        tokens = to_device(encoder.tokenize(batch.words(chunk)).tokens, trainable.hardware.device)
        ids, mask, weight = tokens["ids"], tokens["mask"], len(chunk) / size
        if "itm" in options.objectives:
            near = similarity[chunk][:, chunk]
            matched = itm_loss(encoder.model, images, ids, mask, near, generator)
            total = total + weight * matched.loss
        if "mlm" in options.objectives:
            replaced, labels = mask_tokens(
                ids, mask, special=words.special, mask_id=words.mask,
                vocab_size=words.size, generator=generator,
            )  # fmt: skip
            loss = mlm_loss(encoder.model, images, replaced, mask, labels)
            total = total + weight * MLM_WEIGHT * loss
    return total
