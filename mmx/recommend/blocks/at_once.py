"""How much of a large product is made at once."""

from __future__ import annotations

import torch

ON_GPU = 1 << 26  # numbers: 256 MiB in float32


def numbers_at_once(on_cpu: int, x: torch.Tensor) -> int:
    """Numbers in a block where ``x`` is: ``on_cpu``, as the cache holds, or ``ON_GPU``.

    Each operation costs a GPU's host 5 to 40 µs, however small it is (on an H200); with the CPU's
    blocks three quarters of the operations of GRCN, LGMRec and MENTOR, or more, were of blocks.
    """
    return on_cpu if x.is_cpu else max(on_cpu, ON_GPU)
