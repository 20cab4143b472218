"""Pictures of different sizes resized together, by two matrix products for all of them.

Resizing a side is linear: number i of the result is Σ_j w_ij x_j. With pictures laid side by side
in an array of the largest one's size, and weights of 0 beyond their own sides, a group takes as
many operations as one picture. A GPU has each done before the CPU could hand over the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from mmx.devices import sent
from mmx.extract.pictures.images import ImageRule, offset, scaled_size

PART = 8  # pictures that are resized together; more take more memory
STEP = 64  # px


def resized_together(pictures: Sequence[torch.Tensor], rule: ImageRule) -> torch.Tensor:
    """(h, w, 3) uint8 each → (n, size, size, 3) uint8, on their device.

    torch's filters with antialias for pictures that become smaller, in float32: the same numbers
    but for rounding. PART of them at a time, for the memory.
    """
    parts = [pictures[start : start + PART] for start in range(0, len(pictures), PART)]
    return torch.cat([_resized(part, rule) for part in parts])


def _resized(pictures: Sequence[torch.Tensor], rule: ImageRule) -> torch.Tensor:
    n, size, device = len(pictures), rule.size, pictures[0].device
    height, width = (_whole(max(p.shape[side] for p in pictures)) for side in (0, 1))
    canvas = torch.empty((n, height, 3, width), dtype=torch.uint8, device=device)
    for place, picture in zip(canvas, pictures, strict=True):
        place[: picture.shape[0], :, : picture.shape[1]] = picture.transpose(1, 2)
    sides = torch.tensor([_sides(p.shape[1], p.shape[0], rule) for p in pictures])  # (n, 2, 3)
    across, down = sent(sides, device).unbind(1)
    rows, inside_rows = _weights(down, height, rule)
    columns, inside_columns = _weights(across, width, rule)
    small = torch.bmm(rows, canvas.view(n, height, 3 * width).float())  # (n, size, 3 width)
    small = torch.bmm(small.view(n, 3 * size, width), columns.mT)  # (n, size · 3, size)
    inside = inside_rows[:, :, None, None] & inside_columns[:, None, None, :]
    fill = rule.fill if isinstance(rule.fill, tuple) else (rule.fill,) * 3
    around = torch.tensor(fill, dtype=torch.float32).reshape(3, 1)
    small = torch.where(inside, small.view(n, size, 3, size), sent(around, device))
    return small.round_().clamp_(0, 255).to(torch.uint8).transpose(2, 3)


def _whole(side: int) -> int:
    """Rounded up: torch keeps memory for later by its size, so there should be few sizes."""
    return -(-side // STEP) * STEP


def _sides(width: int, height: int, rule: ImageRule) -> list[list[float]]:
    """For either side: its length, that after the resize, and where of that the result begins."""
    pairs = zip((width, height), scaled_size(width, height, rule), strict=True)
    return [[side, target, offset(target - rule.size, rule)] for side, target in pairs]


def _weights(
    sides: torch.Tensor, longest: int, rule: ImageRule
) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 3) numbers of ``_sides`` → weights (n, size, longest), and (n, size) bool.

    False: the picture ends before, and the weights are NaN.
    """
    length, target, start = (x[:, None, None] for x in sides.unbind(1))  # (n, 1, 1)
    made = torch.arange(rule.size, device=sides.device)[:, None] + start  # (n, size, 1)
    read = torch.arange(longest, device=sides.device)  # (longest,)
    scale = length / target
    away = (read + 0.5 - (made + 0.5) * scale) / scale  # in pixels of the result
    weights = KERNELS[rule.interpolation](away.abs_()) * (read < length)
    inside = (made >= 0) & (made < target)
    return weights / weights.sum(2, keepdim=True), inside[:, :, 0]


def _bilinear(away: torch.Tensor) -> torch.Tensor:
    """The triangle, 1 - |x|."""
    return (1 - away).clamp_(min=0)


def _bicubic(away: torch.Tensor) -> torch.Tensor:
    """Keys' cubic with a = -½ (Keys, IEEE Transactions on ASSP 1981, equation 15)."""
    near = (1.5 * away - 2.5) * away.square() + 1
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    return torch.where(away < 1, near, torch.where(away < 2, far, 0.0))


KERNELS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "bilinear": _bilinear,
    "bicubic": _bicubic,
}
