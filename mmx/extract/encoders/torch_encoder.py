"""The passes that all torch encoders share: pixels and tokens in, float32 vectors out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from mmx.cache.card import EncoderCard
from mmx.devices import sent
from mmx.extract.encoder import Encoder, TextBatch
from mmx.extract.encoders.hardware import PRECISIONS, Hardware
from mmx.extract.pictures.images import ImageRule


def normalised_pixels(pixels: np.ndarray, rule: ImageRule, hardware: Hardware) -> torch.Tensor:
    """(B, s, s, 3) uint8 → (B, 3, s, s), scaled to [0, 1], minus mean, over std.

    In float32 and in torchvision's order of operations, so that every number equals the one
    of the library's own transform; cast to the passes' precision only then.
    """
    device = hardware.device
    raw = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy())
    values = sent(raw, device).permute(0, 3, 1, 2)  # (B, 3, s, s)
    if device.type == "cpu":  # a GPU takes the colours innermost, as they come
        values = values.contiguous()
    values = values.to(torch.float32).div_(255)
    colours = (torch.tensor(each) for each in (rule.mean, rule.std))
    mean, std = (sent(each, device).view(1, 3, 1, 1) for each in colours)
    return values.sub_(mean).div_(std).to(hardware.dtype)


def to_device(tokens: Any, device: torch.device) -> Any:
    """A tensor, or every tensor in a dict, on the device; no GPU is waited for."""
    if isinstance(tokens, torch.Tensor):
        return sent(tokens, device)
    return {k: to_device(v, device) for k, v in tokens.items()} if _is_dict(tokens) else tokens


def _is_dict(value: Any) -> bool:
    return hasattr(value, "items")


@dataclass
class TorchEncoder(Encoder):
    """An encoder made of functions; the card's modalities say which there are.

    ``image_pass`` takes (B, 3, s, s) normalised pixels, ``text_pass`` the tokens that
    ``tokenizer`` made; both return (B, d).
    """

    card: EncoderCard
    image_rule: ImageRule | None
    hardware: Hardware = field()  # needed: not the default of Encoder
    image_pass: Callable[[torch.Tensor], torch.Tensor] | None = None
    text_pass: Callable[[Any], torch.Tensor] | None = None
    tokenizer: Callable[[list[str]], TextBatch] | None = None
    model: torch.nn.Module | None = None  # where it can be fine-tuned

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """(B, s, s, 3) uint8 → (B, d) float32."""
        assert self.image_pass is not None
        assert self.image_rule is not None
        with self.hardware.lane(), torch.inference_mode():
            return self._vectors(
                self.image_pass(normalised_pixels(pixels, self.image_rule, self.hardware))
            )

    def tokenize(self, texts: list[str]) -> TextBatch:
        """B texts → tokens on the CPU, with counts and truncation."""
        assert self.tokenizer is not None
        return self.tokenizer(texts)

    def encode_text(self, batch: TextBatch) -> np.ndarray:
        """B tokenised texts → (B, d) float32."""
        assert self.text_pass is not None
        with self.hardware.lane(), torch.inference_mode():
            return self._vectors(self.text_pass(to_device(batch.tokens, self.hardware.device)))

    def in_precision(self, precision: str) -> TorchEncoder:
        """A copy that computes in another precision; best of an encoder in float32."""
        hardware = Hardware.of(str(self.hardware.device), precision)
        passes = (self.image_pass, self.text_pass, self.model)
        kept: dict[int, Any] = {id(self.tokenizer): self.tokenizer}  # may hold the model
        for network in networks(*passes):
            kept |= cast(network, hardware)
        image, text, model = copy.deepcopy(passes, kept)
        for network in networks(image, text, model):
            hardware.place(network)
        return replace(
            self,
            card=replace(self.card, precision=precision),
            hardware=hardware,
            image_pass=image,
            text_pass=text,
            model=model,
        )

    def compiled(self) -> TorchEncoder:
        """A copy whose image pass goes through torch.compile."""
        image = torch.compile(self.image_pass) if self.image_pass else None
        return replace(self, image_pass=image)

    def _vectors(self, output: torch.Tensor) -> np.ndarray:
        values = output.float()  # (B, d)
        if self.card.normalised:
            values = F.normalize(values, dim=-1)
        return values.cpu().numpy()


def cast(network: torch.nn.Module, hardware: Hardware) -> dict[int, Any]:
    """For copy.deepcopy: the network's numbers in another precision, so that none is copied twice.

    Maps the id of each floating parameter and buffer to its counterpart in the copy.
    """
    made: dict[int, Any] = {}
    for value in (*network.parameters(), *network.buffers()):
        if value.is_floating_point():
            lower = value.detach().to(hardware.dtype, copy=True)
            if isinstance(value, torch.nn.Parameter):
                lower = torch.nn.Parameter(lower, requires_grad=False)
            made[id(value)] = lower
    return made


def networks(*passes: Any) -> list[torch.nn.Module]:
    """The networks behind passes: a network, a method of one, or a partial whose argument it is."""
    found: dict[int, torch.nn.Module] = {}
    for run in passes:
        for part in (run, getattr(run, "__self__", None), *getattr(run, "args", ())):
            if isinstance(part, torch.nn.Module):
                found[id(part)] = part
    return list(found.values())


__all__ = ["PRECISIONS", "Hardware", "TorchEncoder", "normalised_pixels", "to_device"]
