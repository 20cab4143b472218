"""Pictures altered at random while an encoder trains, each as its own training did.

CLIP (Radford et al., ICML 2021, section 2.4; open_clip's defaults): a random crop of 90 to 100 %
of the area. VLMo (its published code): 50 to 100 %, mirrored half of the time, then RandAugment
(Cubuk et al., 2020) of two operations at level 7 of 10, each applied half of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as V

LEVEL = 0.7
STRENGTH = 1.8 * LEVEL + 0.1  # of brightness and sharpness; 1 changes nothing
RATIO = 4 / 3  # widest crop; its inverse is the tallest

Picture = torch.Tensor  # (3, s, s) uint8
Rng = np.random.Generator


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training picture."""

    smallest: float  # share of the area that a crop keeps at least
    mirror: bool = False
    operations: bool = False  # RandAugment

    def __call__(self, pixels: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        """(n, s, s, 3) uint8 and a seed for each → the same shape; equal seeds do the same."""
        pairs = zip(pixels.permute(0, 3, 1, 2), seeds.tolist(), strict=True)
        with torch.autocast("cpu", enabled=False):  # also within passes in bfloat16
            altered = [self._one(picture, np.random.default_rng(seed)) for picture, seed in pairs]
        return torch.stack(altered).permute(0, 2, 3, 1).contiguous()

    def _one(self, picture: Picture, rng: Rng) -> Picture:
        side = picture.shape[-1]
        picture = V.resized_crop(
            picture, *_box(side, self.smallest, rng), [side, side],
            interpolation=InterpolationMode.BICUBIC, antialias=True,
        )  # fmt: skip
        if self.mirror and rng.random() < 0.5:
            picture = V.horizontal_flip(picture)
        for number in rng.choice(len(OPERATIONS), 2) if self.operations else ():
            if rng.random() < 0.5:
                picture = OPERATIONS[number](picture, rng)
        return picture


CLIP = Augmentation(0.9)
VLMO = Augmentation(0.5, mirror=True, operations=True)


def _box(side: int, smallest: float, rng: Rng) -> tuple[int, int, int, int]:
    """Top, left, height and width of a crop, px; the whole picture where none fits in ten tries."""
    for _ in range(10):
        area = rng.uniform(smallest, 1.0) * side**2
        ratio = np.exp(rng.uniform(-np.log(RATIO), np.log(RATIO)))
        width, height = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < width <= side and 0 < height <= side:
            top, left = rng.integers(side - height + 1), rng.integers(side - width + 1)
            return int(top), int(left), height, width
    return 0, 0, side, side


def _moved(shear: tuple[float, float], shift: tuple[float, float], turn: float) -> Operation:
    """Shear (radians), shift (px) and turn (degrees), each to either side."""

    def run(picture: Picture, rng: Rng) -> Picture:
        sign = 1 if rng.random() < 0.5 else -1
        return V.affine(
            picture, sign * turn, [sign * s for s in shift], 1.0,
            [float(np.degrees(sign * s)) for s in shear], InterpolationMode.BILINEAR,
        )  # fmt: skip

    return run


Operation = Callable[[Picture, Rng], Picture]
OPERATIONS: tuple[Operation, ...] = (
    lambda picture, rng: picture,
    lambda picture, rng: V.autocontrast(picture),
    lambda picture, rng: V.equalize(picture),
    lambda picture, rng: V.adjust_brightness(picture, STRENGTH),
    lambda picture, rng: V.adjust_sharpness(picture, STRENGTH),
    _moved((0.3 * LEVEL, 0), (0, 0), 0),
    _moved((0, 0.3 * LEVEL), (0, 0), 0),
    _moved((0, 0), (10 * LEVEL, 0), 0),
    _moved((0, 0), (0, 10 * LEVEL), 0),
    _moved((0, 0), (0, 0), 30 * LEVEL),
)
