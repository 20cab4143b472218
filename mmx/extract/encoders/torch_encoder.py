"""The passes that all torch encoders share: pixels and tokens in, float32 vectors out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from mmx.cache.card import EncoderCard
from mmx.errors import OptionError, suggestion
from mmx.extract.encoder import TextBatch
from mmx.extract.images import ImageRule

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Hardware:
    """Where and in which number format the passes run."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, device: str, precision: str) -> Hardware:
        """Raises OptionError for a device that is not there or an unknown precision."""
        if precision not in PRECISIONS:
            raise OptionError(f"--precision {precision}{suggestion(precision, PRECISIONS)}")
        try:
            place = torch.device(device)
            torch.empty(0, device=place)
        except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
            reason = str(error).splitlines()[0]
            raise OptionError(f"--device {device} cannot be used ({reason}); try cpu") from error
        return cls(place, PRECISIONS[precision])

    def place(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model for inference: weights cast and moved, no gradients, no dropout."""
        return model.to(self.device, self.dtype).eval().requires_grad_(False)


def normalised_pixels(pixels: np.ndarray, rule: ImageRule, hardware: Hardware) -> torch.Tensor:
    """(B, s, s, 3) uint8 → (B, 3, s, s), scaled to [0, 1], minus mean, over std.

    In float32 and in torchvision's order of operations, so that every number equals the one
    of the library's own transform; cast to the passes' precision only then.
    """
    device = hardware.device
    raw = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).to(device)
    values = raw.permute(0, 3, 1, 2).contiguous().to(torch.float32).div_(255)  # (B, 3, s, s)
    mean = torch.tensor(rule.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(rule.std, device=device).view(1, 3, 1, 1)
    return values.sub_(mean).div_(std).to(hardware.dtype)


def to_device(tokens: Any, device: torch.device) -> Any:
    """A tensor, or every tensor in a dict, on the device."""
    if isinstance(tokens, torch.Tensor):
        return tokens.to(device)
    return {k: to_device(v, device) for k, v in tokens.items()} if _is_dict(tokens) else tokens


def _is_dict(value: Any) -> bool:
    return hasattr(value, "items")


@dataclass
class TorchEncoder:
    """An encoder made of functions; which of them there are, the card's modalities say.

    ``image_pass`` takes (B, 3, s, s) normalised pixels, ``text_pass`` the tokens that
    ``tokenizer`` made; both return (B, d).
    """

    card: EncoderCard
    image_rule: ImageRule | None
    hardware: Hardware
    image_pass: Callable[[torch.Tensor], torch.Tensor] | None = None
    text_pass: Callable[[Any], torch.Tensor] | None = None
    tokenizer: Callable[[list[str]], TextBatch] | None = None
    model: torch.nn.Module | None = None  # where it can be fine-tuned

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """(B, s, s, 3) uint8 → (B, d) float32."""
        assert self.image_pass is not None
        assert self.image_rule is not None
        with torch.inference_mode():
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
        with torch.inference_mode():
            return self._vectors(self.text_pass(to_device(batch.tokens, self.hardware.device)))

    def encode_fused(self, pixels: np.ndarray, batch: TextBatch) -> np.ndarray:
        """None of these encoders has a pass for pairs."""
        raise NotImplementedError(f"{self.card.name} has no fused pass")

    def _vectors(self, output: torch.Tensor) -> np.ndarray:
        values = output.float()  # (B, d)
        if self.card.normalised:
            values = F.normalize(values, dim=-1)
        return values.cpu().numpy()
