"""One modality of a catalogue inside a model: frozen vectors, and a default for absent ones."""

from __future__ import annotations

import weakref
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mmx.mapped import gather, is_mapped
from mmx.recommend.blocks.at_once import numbers_at_once
from mmx.recommend.blocks.initial import bias, xavier
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.features import Features

BLOCK_BYTES = 16 << 20  # gathered at once; larger blocks cost new pages each time


class Content(nn.Module):
    """Frozen item vectors; items without one take a learned default, which starts at the mean."""

    matrix: torch.Tensor  # (items, d), zero where absent
    absent: torch.Tensor  # (items, 1) float, 1 where absent

    def __init__(self, features: Features, *, normalise: bool = True) -> None:
        """``normalise`` centres the present vectors and scales them to norm 1 first."""
        super().__init__()
        known = features.normalised() if normalise else features
        self._pages = known.matrix if is_mapped(known.matrix) else None
        matrix = torch.from_numpy(known.matrix)
        absent = torch.from_numpy(~known.present)[:, None].float()
        self.register_buffer("matrix", matrix, persistent=False)
        self.register_buffer("absent", absent, persistent=False)
        self._halved = Halved()
        self.default = nn.Parameter(torch.from_numpy(known.mean))  # (d,)

    @property
    def dimension(self) -> int:
        """d."""
        return self.matrix.shape[1]

    def forward(
        self,
        weight: torch.Tensor,
        items: torch.Tensor | None = None,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Vectors times ``weight`` (k, d) → (n, k) of (n,) item numbers, or of all items.

        Absent rows of the matrix are zero, so the default is added after the product and the
        (n, d) vectors are never changed. Under bfloat16 autocast the frozen vectors are kept in
        bfloat16 as well, which halves what is read and gathered in every step; not where they are
        mapped from a file. ``out`` (n, k), if given, takes the result, of large catalogues block
        by block.
        """
        half = torch.is_autocast_enabled(weight.device.type)
        absent = self.absent if items is None else self.absent[items]
        if self._pages is not None and self.matrix.device.type == "cpu":
            projected = product_of_file(self._pages, weight, items, out)
        else:
            projected = product(self._halved(self.matrix) if half else self.matrix, weight, items)
            projected = projected if out is None else out.copy_(projected)
        return projected.addcmul_(absent, (weight @ self.default).float()[None, :])


class ProjectedContent(nn.Module):
    """One modality's frozen vectors through a linear layer: W f_i + b."""

    def __init__(
        self, features: Features, dim: int, generator: torch.Generator, *, normalise: bool
    ) -> None:
        """W (dim, d) and b (dim,) are drawn from ``generator``; ``normalise`` as in Content."""
        super().__init__()
        self.content = Content(features, normalise=normalise)
        self.weight = xavier(dim, features.dimension, generator)
        self.offset = bias(features.dimension, dim, generator)

    def forward(self, items: torch.Tensor | None = None) -> torch.Tensor:
        """(n,) item numbers → (n, dim), or (items, dim) of all."""
        return self.content(self.weight, items) + self.offset


def projections(
    features: Mapping[str, Features], dim: int, generator: torch.Generator, *, normalise: bool
) -> nn.ModuleDict:
    """A ProjectedContent for each modality in the order of their names, by ``module_key``."""
    return nn.ModuleDict(
        {
            module_key(name): ProjectedContent(found, dim, generator, normalise=normalise)
            for name, found in sorted(features.items())
        }
    )


class Halved:
    """A frozen matrix in bfloat16, made once: autocast would make it in every step.

    The last copy is let go before the next is made, and the matrix is not held by it.
    """

    def __init__(self) -> None:
        self._of: weakref.ref[torch.Tensor] | None = None
        self._half: torch.Tensor | None = None

    def __call__(self, matrix: torch.Tensor) -> torch.Tensor:
        """The copy of the last matrix, if it is the same; end to end it changes in every step."""
        if self._half is None or self._of is None or self._of() is not matrix:
            self._half = None
            self._of, self._half = weakref.ref(matrix), matrix.bfloat16()
        return self._half


def product(
    matrix: torch.Tensor, weight: torch.Tensor, rows: torch.Tensor | None = None
) -> torch.Tensor:
    """Rows of ``matrix`` (m, d), all or the (n,) given, times ``weight`` (k, d) → (n, k) float32.

    In the matrix's precision. Gathered in blocks that the allocator keeps for the next one.
    """
    turned = weight.T.to(matrix.dtype)
    if rows is None:
        return (matrix @ turned).float()
    parts = rows.split(_rows_at_once(matrix))
    return torch.cat([F.embedding(part, matrix) @ turned for part in parts]).float()


def product_of_file(
    pages: np.ndarray,
    weight: torch.Tensor,
    rows: torch.Tensor | None = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """``product`` of a matrix that is mapped from a file, which is read in the same blocks."""
    every = torch.arange(len(pages)) if rows is None else rows
    parts = every.split(_rows_at_once(torch.from_numpy(pages)))
    products = (torch.from_numpy(gather(pages, part.numpy())) @ weight.T for part in parts)
    if out is None:
        return torch.cat(list(products)).float()
    at = 0
    for one in products:
        out[at : at + len(one)] = one
        at += len(one)
    return out


def _rows_at_once(matrix: torch.Tensor) -> int:
    numbers = numbers_at_once(BLOCK_BYTES // matrix.element_size(), matrix)
    return max(1, numbers // matrix.shape[1])
