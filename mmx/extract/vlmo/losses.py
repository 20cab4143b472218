"""What VLMo is trained with: contrast, matching and masked words, as losses with gradients.

Bao et al., NeurIPS 2022, section 3.3. ITM takes its negatives from the same batch by the
similarities of the contrast (ALBEF, arXiv 2107.07651, section 3.2). The loops around these
functions, and the gathering of batches over several devices, are the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmx.devices import sent
from mmx.errors import OptionError
from mmx.extract.vlmo.heads import SCALES
from mmx.extract.vlmo.model import VLMo

IGNORED = -100  # label of a token that is not predicted
MLM_WEIGHT = 0.25  # of the MLM loss beside ITC and ITM in the official pre-training


@dataclass(frozen=True)
class Contrast:
    """ITC of B pairs."""

    loss: Tensor  # scalar
    logits: Tensor  # (B, B), image to text, of the pair without VL experts; temperature applied


@dataclass(frozen=True)
class Matching:
    """ITM of B pairs and their 2B hard negatives."""

    loss: Tensor  # scalar
    logits: Tensor  # (3B, 2): the pairs, wrong images for the texts, wrong texts for the images
    labels: Tensor  # (3B,) int64, 1 for a pair


def itc_loss(model: VLMo, pixels: Tensor, ids: Tensor, mask: Tensor) -> Contrast:
    """Image-text contrast: cross-entropy of each image over all texts and the other way round.

    pixels (B, 3, s, s), ids and mask (B, T). A model with the "vl" head takes the mean over
    both pairs of projections (pre-training), one without only the first (retrieval).
    """
    model.require("itc")
    heads = [head for head in ("itc", "vl") if head in model.heads]
    images = model.image_features(pixels, heads)
    texts = model.text_features(*model.cropped(ids, mask), heads)
    logits = []
    for head, image, text in zip(heads, images, texts, strict=True):
        similarity = model.project("image", image, head) @ model.project("text", text, head).T
        logits.append(model.get_parameter(SCALES[head]).exp() * similarity)  # (B, B)
    return Contrast(torch.stack([_both_ways(x) for x in logits]).mean(), logits[0])


def _both_ways(logits: Tensor) -> Tensor:
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


def itm_loss(
    model: VLMo,
    pixels: Tensor,
    ids: Tensor,
    mask: Tensor,
    similarity: Tensor,
    generator: torch.Generator | None = None,
) -> Matching:
    """Image-text matching on the fused pass: is this the image's text?

    ``similarity`` (B, B), image to text, e.g. ``itc_loss(...).logits``, says how hard a
    negative is: each text draws one wrong image and each image one wrong text in proportion
    to its exponential. Raises OptionError for fewer than two pairs.
    """
    model.require("itm").require("fusion")
    wrong_text = hard_negatives(similarity, generator)  # (B,), for each image
    wrong_image = hard_negatives(similarity.T, generator)  # (B,), for each text
    ids, mask = model.cropped(ids, mask)
    fused = model.encode_fused(
        torch.cat([pixels, pixels[wrong_image], pixels]),
        torch.cat([ids, ids, ids[wrong_text]]),
        torch.cat([mask, mask, mask[wrong_text]]),
    )
    labels = torch.zeros(3 * len(ids), dtype=torch.long, device=ids.device)
    labels[: len(ids)] = 1
    logits = model.itm_logits(fused)
    return Matching(F.cross_entropy(logits, labels), logits, labels)


def hard_negatives(similarity: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """(B, B) → (B,) int64: for each row one other column, drawn by softmax of the rest.

    Of exponential times with these rates the first is each with its rate's chance, which is how
    ``torch.multinomial`` draws. The times come from the CPU, as ``generator`` does, so that a seed
    means the same on every device, and no GPU is waited for.
    """
    if len(similarity) < 2:
        raise OptionError("ITM needs at least two pairs in a batch; raise --batch-size")
    others = similarity.detach().float().clone().fill_diagonal_(float("-inf"))
    times = torch.empty(others.shape).exponential_(generator=generator)
    return (others.softmax(dim=1) / sent(times, similarity.device)).argmax(dim=1)


def mlm_loss(model: VLMo, pixels: Tensor, ids: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
    """Masked language modelling on the fused pass: the hidden words, given text and image.

    ``ids`` (B, T) have words replaced, ``labels`` (B, T) hold the true ones there and IGNORED
    elsewhere (``mask_tokens`` makes both). The mean over predicted tokens; 0 without any.
    """
    model.require("mlm").require("fusion")
    ids, used = model.cropped(ids, mask)
    more = max(0, ids.shape[1] - labels.shape[1])
    wanted = F.pad(labels, (0, more), value=IGNORED)[:, : ids.shape[1]].flatten()  # (B·T,)
    text, _ = model.fused_features(pixels, ids, used)
    logits = model.mlm_logits(text).flatten(0, 1)  # (B·T, vocabulary)
    total = F.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum")
    return total / (wanted != IGNORED).sum().clamp(min=1)


def mask_tokens(
    ids: Tensor,
    mask: Tensor,
    *,
    special: Sequence[int],
    mask_id: int,
    vocab_size: int,
    probability: float = 0.15,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """BERT's masking of (B, T) ids → (replaced ids, labels), both (B, T).

    Each real token is chosen with ``probability``; of the chosen 80 % become [MASK], 10 % a
    random word piece, 10 % stay. Ids in ``special`` are never chosen. Drawn on the CPU, as
    ``generator`` is.
    """

    def draw() -> Tensor:
        return torch.rand(ids.shape, generator=generator).to(ids.device)

    real = mask.bool() & ~torch.isin(ids, torch.tensor(list(special), device=ids.device))
    chosen, how = real & (draw() < probability), draw()
    random = torch.randint(vocab_size, ids.shape, generator=generator).to(ids.device)
    replaced = torch.where(chosen & (how < 0.8), mask_id, ids)
    replaced = torch.where(chosen & (how >= 0.9), random, replaced)
    return replaced, torch.where(chosen, ids, IGNORED)
