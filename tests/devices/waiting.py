"""Where the program waits for a GPU: the host needs a number, a size or a copy that it has to make.

What torch's CUDA code does inside an operation is known from its source only: an operation waits
where the size of its result is known on the device alone, or where it looks at the values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

ALWAYS = {
    "_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "unique_consecutive", "equal",
    "bincount", "masked_select", "_coalesce", "multinomial",
}  # fmt: skip
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
Has = Callable[[torch.Tensor], bool]  # whether a tensor is on the GPU


def wait_in(name: str, args: tuple[Any, ...], options: dict[str, Any], has: Has) -> str:
    """What is waited for in an operation that has a tensor of the GPU; empty for nothing."""
    if name in ALWAYS:
        return name
    if name == "repeat_interleave" and options.get("output_size") is None:
        return name
    if name == "copy_":
        free = bool(options.get("non_blocking")) or args[2:3] == (True,)
        return copy_between(has(args[1]), has(args[0]), free)
    if name in INDEXED:
        return _wait_in_index(name, args, has)
    return ""


def copy_between(from_gpu: bool, to_gpu: bool, free: bool) -> str:
    """Of a copy. One to the host is read next, so ``free``, not waiting, counts the other way."""
    if from_gpu == to_gpu or (to_gpu and free):
        return ""
    return f"a copy to {'cuda' if to_gpu else 'cpu'}"


def _wait_in_index(name: str, args: tuple[Any, ...], has: Has) -> str:
    places = [one for one in args[1] if isinstance(one, torch.Tensor)]
    masks = [one for one in places if one.dtype in (torch.bool, torch.uint8)]
    one_number = "put" in name and args[2].numel() == 1 and not has(args[2])  # it fills
    if masks and not one_number:
        return f"{name} by a mask"
    if has(args[0]) and not all(has(one) for one in places):
        return f"{name} by numbers of the CPU"
    return ""
