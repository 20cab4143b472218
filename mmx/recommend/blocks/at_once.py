"""How much of a large product is made at once."""

from __future__ import annotations

import torch

ON_GPU = 1 << 26  # numbers: 256 MiB in float32


def numbers_at_once(on_cpu: int, x: torch.Tensor) -> int:
    """Numbers in a block where ``x`` is: ``on_cpu``, as the cache holds, or as many as fill a GPU.

    A GPU needs some 10 µs for each operation that it is given, however small: on an H200, blocks
    of the CPU's size made up nine tenths of a step of GRCN, LGMRec and MENTOR.
    """
    return on_cpu if x.is_cpu else max(on_cpu, ON_GPU)
