"""One black picture through a network: does it work at this size, and what comes out?"""

from __future__ import annotations

from collections.abc import Callable

import torch

from mmx.errors import EncoderError, first_line
from mmx.extract.encoders.request import Request
from mmx.extract.encoders.torch_encoder import Hardware
from mmx.extract.pictures.images import ImageRule


def pooled_dimension(
    network: Callable[[torch.Tensor], torch.Tensor],
    rule: ImageRule,
    hardware: Hardware,
    request: Request,
) -> int:
    """d of the (1, d) output. Raises EncoderError when the pass fails or gives no such array."""
    black = torch.zeros(1, 3, rule.size, rule.size, device=hardware.device, dtype=hardware.dtype)
    try:
        with torch.inference_mode():
            output = network(black)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = first_line(error)
        raise EncoderError(
            f"{request.spec} fails on a picture of {rule.size} px in {request.precision} "
            f"({reason}); another --image-size or --precision may work"
        ) from error
    shape: tuple[int, ...] = tuple(getattr(output, "shape", ()))
    if len(shape) != 2:
        raise EncoderError(f"{request.spec} gives no pooled features but shape {shape}")
    return shape[1]
