"""VLMo's objectives on pairs: matching with hard negatives, and masked words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmx.devices import sent
from mmx.errors import OptionError
from mmx.extract.encoders.torch_encoder import normalised_pixels
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
    model, words, total = encoder.model, encoder.tokenizer, similarity.new_zeros(())
    assert words is not None
    size, device = len(batch.rows), trainable.hardware.device
    chunks = [c for c in torch.arange(size).split(options.chunk) if len(c) > 1]
    for chunk in chunks:
        assert encoder.image_rule is not None
        pixels = batch.pictures(chunk).numpy()
        images = normalised_pixels(pixels, encoder.image_rule, trainable.hardware)
        tokens = encoder.tokenize(batch.words(chunk)).tokens  # cropped and masked on the CPU
        ids, mask, weight = tokens["ids"], tokens["mask"], len(chunk) / size
        if "itm" in options.objectives:
            here = slice(int(chunk[0]), int(chunk[-1]) + 1)
            shown, used = (sent(x, device) for x in model.cropped(ids, mask))
            matched = itm_loss(model, images, shown, used, similarity[here, here], generator)
            total = total + weight * matched.loss
        if "mlm" in options.objectives:
            replaced, labels = mask_tokens(
                ids, mask, special=words.special, mask_id=words.mask,
                vocab_size=words.size, generator=generator,
            )  # fmt: skip
            shown, used = (sent(x, device) for x in model.cropped(replaced, mask))
            loss = mlm_loss(model, images, shown, used, sent(labels, device))
            total = total + weight * MLM_WEIGHT * loss
    return total
