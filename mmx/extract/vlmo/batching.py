"""How a batch is cut before it runs: no needless padding, nothing too large for the caches."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mmx.extract.vlmo.config import VLMoConfig

SLICE_BYTES = 24 << 20  # glibc maps 32 MiB and more every time, which costs page faults


def cropped(ids: Tensor, mask: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """ids and mask (B, T) without the columns that are padding in every row.

    At least 8 columns stay or are added, or ``longest`` if that is less: matrix products with
    fewer rows use other kernels on some machines, which round differently.
    """
    used = mask.bool().any(dim=0).nonzero()
    length = max(int(used.max()) + 1 if len(used) else 1, min(8, longest))
    more = (0, max(0, length - ids.shape[1]))
    return F.pad(ids[:, :length], more), F.pad(mask[:, :length], more)


def slice_size(config: VLMoConfig, tokens: int, bytes_each: int = 4) -> int:
    """Samples of ``tokens`` tokens whose largest activation fits ``SLICE_BYTES``."""
    hidden = tokens * (config.hidden or 4 * config.width)
    return max(1, SLICE_BYTES // (bytes_each * max(hidden, config.heads * tokens * tokens)))


def in_slices(function: Callable[..., Tensor], size: int, *tensors: Tensor) -> Tensor:
    """``function`` of the batch, on a CPU without gradients in slices of ``size`` samples."""
    batch = len(tensors[0])
    if torch.is_grad_enabled() or tensors[0].device.type != "cpu" or batch <= size:
        return function(*tensors)
    count = -(-batch // size)
    parts = zip(*(torch.tensor_split(t, count) for t in tensors), strict=True)
    return torch.cat([function(*part) for part in parts])
