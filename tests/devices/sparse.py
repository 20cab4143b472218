"""Products of a sparse matrix, which a GPU and a CPU do not compute alike."""

from __future__ import annotations

from typing import Any

import torch


def refused_by_cusparse(name: str, args: tuple[Any, ...]) -> str:
    """What of a product is refused: more entries than places, as some are given twice."""
    if not _is_product(name, args):
        return ""
    matrix, entries = args[0], args[0].values().numel()
    if entries <= matrix.shape[0] * matrix.shape[1]:
        return ""
    return f"{entries} entries of a matrix {list(matrix.shape)}"


def on_the_cpu(func: Any, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """The operation on the CPU, which has no product of a sparse matrix in bfloat16."""
    if _is_product(name, args) and args[0].dtype != torch.float32:
        return (args[0].to_dense().float() @ args[1].float()).to(args[0].dtype)
    return func(*args, **options)


def _is_product(name: str, args: tuple[Any, ...]) -> bool:
    return name in ("mm", "_sparse_mm") and args[0].layout == torch.sparse_csr
