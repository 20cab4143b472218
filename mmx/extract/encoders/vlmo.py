"""VLMo as an encoder of stage 1: card, image rule, tokenizer and three passes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmx.atomic import file_sha256
from mmx.cache.card import EncoderCard
from mmx.devices import AUTO
from mmx.errors import EncoderError, OptionError, one_of
from mmx.extract.encoder import Encoder, TextBatch
from mmx.extract.encoders.torch_encoder import Hardware, cast, normalised_pixels, to_device
from mmx.extract.later import Later
from mmx.extract.pictures.images import Decode, ImageRule
from mmx.extract.vlmo.batching import cropped
from mmx.extract.vlmo.checkpoint import load
from mmx.extract.vlmo.config import ARCHITECTURES, VLMoConfig
from mmx.extract.vlmo.heads import lacking
from mmx.extract.vlmo.model import VLMo
from mmx.extract.vlmo.records import Record, find, obtain
from mmx.extract.vlmo.tokenizer import Tokenizer, open_tokenizer, vocabulary_file
from mmx.extract.weights import parameters_sha256

TEXT_LIMIT = 40  # tokens, in all the official configurations with images


def open_vlmo(
    variant: str = "",
    weights: Path | None = None,
    *,
    head: str | None = None,
    precision: str = "float32",
    decode: Decode = "exact",
    device: str = AUTO,
    tokenizer: Path | None = None,
    image_size: int | None = None,
    modalities: tuple[str, ...] | None = None,
    log: Callable[[str], None] = lambda line: None,
    reads: Callable[[Path], None] = lambda path: None,
    config: VLMoConfig | None = None,
) -> VLMoEncoder:
    """A published checkpoint by name, or the file ``weights``.

    ``head`` is "itc" (the default) or "vl", the pair that runs through the VL experts.
    ``modalities`` are by default those that the file has trained heads for. ``config`` is
    for files that do not show all their sizes, see mmx.extract.vlmo.load. ``log`` gets
    lines on how a download is doing, ``reads`` each file that was read.

    Raises EncoderError for a checkpoint that cannot be had, read or lacks the heads, OptionError
    for options that contradict each other.
    """
    hardware, record = Hardware.of(device, precision), find(variant)
    name = variant.removeprefix("vlmo").removeprefix(":")
    path = Path(weights) if weights is not None else obtain(record, log)
    reads(path)
    digest = Later(partial(file_sha256, path))
    model = load(path, config, image_size)
    if name:  # the bare "vlmo" takes any file
        _agree(model.config, record, path)
    wanted = _wanted(model, head, modalities)
    card = replace(
        _card(model, wanted, head or "itc"),
        name=f"vlmo:{name}" if name else "vlmo",
        weights=path.name,
        weights_sha256=digest.result(),
        precision=precision,
    )
    pieces = None
    if wanted != ("image",):
        vocabulary = vocabulary_file(Path(tokenizer) if tokenizer else None, log)
        pieces = _tokenizer(vocabulary, model)
        reads(vocabulary)
        card = replace(card, tokenizer=pieces.name, text_limit=pieces.limit)
    rule = replace(_rule(model.config), decode=decode) if wanted != ("text",) else None
    card = replace(card, image_rule=rule.as_dict() if rule else None)
    _place(model, hardware)
    return VLMoEncoder(card, rule, hardware, model, pieces, head or "itc")


@dataclass
class VLMoEncoder(Encoder):
    """The model as an encoder."""

    card: EncoderCard
    image_rule: ImageRule | None
    hardware: Hardware = field()  # needed: not the default of Encoder
    model: VLMo
    tokenizer: Tokenizer | None
    head: str  # of image and text: itc or vl

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """(B, s, s, 3) uint8 → (B, D) float32 of length 1."""
        with self.hardware.lane(), torch.inference_mode():
            return self.model.encode_image(self._pixels(pixels), self.head).cpu().numpy()

    def tokenize(self, texts: list[str]) -> TextBatch:
        """B texts → word pieces on the CPU, with counts and truncation."""
        assert self.tokenizer is not None
        return self.tokenizer(texts)

    def encode_text(self, batch: TextBatch) -> np.ndarray:
        """B tokenised texts → (B, D) float32 of length 1."""
        with self.hardware.lane(), torch.inference_mode():
            return self.model.encode_text(*self._tokens(batch), self.head).cpu().numpy()

    def encode_fused(self, pixels: np.ndarray, batch: TextBatch) -> np.ndarray:
        """B pairs → (B, D) float32 in (-1, 1), not of length 1."""
        with self.hardware.lane(), torch.inference_mode():
            tokens = self._tokens(batch)
            return self.model.encode_fused(self._pixels(pixels), *tokens).cpu().numpy()

    def in_precision(self, precision: str) -> VLMoEncoder:
        """A copy that computes in another precision; best of an encoder in float32."""
        hardware = Hardware.of(str(self.hardware.device), precision)
        model = copy.deepcopy(self.model, cast(self.model, hardware))
        _place(model, hardware)
        card = replace(self.card, precision=precision)
        return replace(self, card=card, hardware=hardware, model=model)

    def _pixels(self, pixels: np.ndarray) -> Tensor:
        assert self.image_rule is not None
        return normalised_pixels(pixels, self.image_rule, self.hardware)

    def _tokens(self, batch: TextBatch) -> tuple[Tensor, Tensor]:
        device, longest = self.hardware.device, self.model.config.max_text_len
        ids, mask = cropped(batch.tokens["ids"], batch.tokens["mask"], longest)
        return to_device(ids, device), to_device(mask, device)


def _place(model: VLMo, hardware: Hardware) -> None:
    hardware.place(model)
    if hardware.device.type != "cpu":
        model.keep_biases()
        hardware.wait()


def _wanted(model: VLMo, head: str | None, modalities: tuple[str, ...] | None) -> tuple[str, ...]:
    """The modalities to encode, in store order; each has a trained head in the file."""
    if head is not None:
        one_of("--head", head, ("itc", "vl"))
    needs = {"image": head or "itc", "text": head or "itc", "fused": "fusion"}
    if modalities is None:
        able = tuple(m for m in needs if not lacking(needs[m], model.heads, model.config))
        if head is not None or not able:
            model.require(head or "itc")
        return able
    for modality in modalities:
        one_of("--modalities", modality, needs)
        model.require(needs[modality])
    if not modalities:
        raise OptionError("--modalities is empty; name image, text or fused")
    if head is not None and set(modalities) == {"fused"}:
        raise OptionError("--head is of the image and text modalities; drop it")
    return tuple(m for m in needs if m in modalities)


def _agree(config: VLMoConfig, record: Record, path: Path) -> None:
    said = ARCHITECTURES[record.architecture]
    if (config.width, config.depth) != (said.width, said.depth):
        raise EncoderError(
            f"{path} has width {config.width} and {config.depth} blocks, vlmo:{record.variant} "
            f"{said.width} and {said.depth}; use --model vlmo for any file"
        )


def _tokenizer(vocabulary: Path, model: VLMo) -> Tokenizer:
    limit = min(TEXT_LIMIT, model.config.max_text_len)
    pieces = open_tokenizer(vocabulary, limit)
    if pieces.size > model.config.vocab_size:
        raise EncoderError(
            f"the tokenizer knows {pieces.size} word pieces, {model.source} only "
            f"{model.config.vocab_size}; give --tokenizer its own vocab.txt"
        )
    return pieces


def _rule(config: VLMoConfig) -> ImageRule:
    """The official evaluation transform: a square, whatever the picture's shape."""
    half, size = (0.5, 0.5, 0.5), config.image_size
    return ImageRule(size, size, "squash", "bicubic", half, half)


def _card(model: VLMo, modalities: tuple[str, ...], head: str) -> EncoderCard:
    """What the model itself determines, computed before it is cast to another precision."""
    outputs = {
        "image": f"{head} projection of the image [CLS], length 1",
        "text": f"{head} projection of the text [CLS], length 1",
        "fused": "pooled text [CLS] of the fused pass, in (-1, 1)",
    }
    return EncoderCard(
        name="vlmo",
        library="mmx",
        architecture=_architecture(model.config),
        weights="",
        dimensions=dict.fromkeys(modalities, model.config.width),
        normalised="fused" not in modalities,
        precision="float32",
        parameters_sha256=parameters_sha256(model.state_dict()),
        image_rule=_rule(model.config).as_dict() if modalities != ("text",) else None,
        output="; ".join(f"{m}: {outputs[m]}" for m in modalities),
    )


def _architecture(config: VLMoConfig) -> str:
    for name, known in ARCHITECTURES.items():
        if (config.width, config.depth, config.heads) == (known.width, known.depth, known.heads):
            return f"vlmo_{name}_patch{config.patch_size}"
    return f"vlmo of width {config.width}, {config.depth} blocks, {config.heads} heads"
