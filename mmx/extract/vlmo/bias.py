"""What is added to the attention logits: relative position biases and the padding mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmx.devices import sent
from mmx.extract.vlmo.config import VLMoConfig
from mmx.extract.vlmo.positions import relative_index


@dataclass(frozen=True)
class LogitBias:
    """The bias of each block, made when the block needs it.

    ``relative`` is (L, 1, H, N, N) or None, ``padding`` (B, 1, 1, N), 0 or -inf, or None when
    nothing is padded. Their sum is B times as large as ``relative``, so never held for all blocks.
    """

    relative: Tensor | None
    padding: Tensor | None

    def of(self, block: int) -> Tensor | None:
        """(1 or B, 1 or H, 1 or N, N) for ``scaled_dot_product_attention``; None for nothing."""
        if self.relative is None:
            return self.padding
        bias = self.relative[block]
        return bias if self.padding is None else bias + self.padding


def padding_bias(mask: Tensor, before: int, length: int, dtype: torch.dtype) -> Tensor | None:
    """``mask`` (B, T), 1 on tokens → (B, 1, 1, before + length), -inf on padding.

    ``before`` tokens of an image come first; a text is taken as padded to ``length`` tokens.
    None where nothing is padded, except on a GPU, which would have to be waited for to know.
    """
    mask = F.pad(mask.bool(), (0, length - mask.shape[1]))
    if mask.device.type == "cpu" and bool(mask.all()):
        return None
    keys = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    keys = keys.masked_fill(~mask, float("-inf"))
    return F.pad(keys, (before, 0))[:, None, None, :]


class RelativeBias:
    """The bias of every block, gathered from the table once and not for each batch.

    What is gathered is used by the image, the text and the fused pass. It is kept while no
    gradient is needed and the table has the same numbers. On a GPU passes run on several streams,
    and one would read what another has not yet gathered: there ``keep`` alone makes it.
    """

    def __init__(self, config: VLMoConfig) -> None:
        self.config = config
        self.kept: tuple[Tensor, Tensor] | None = None  # a copy of the table, what came of it
        # of the table on a GPU, where comparing would wait for all passes
        self._version: tuple[int, int] | None = None

    def of(self, table: Tensor | None, queries: slice, keys: slice) -> Tensor | None:
        """(L, 1, H, queries, keys); tokens are counted from the image's [CLS], texts follow.

        None where there is no table.
        """
        if table is None:
            return None
        if torch.is_grad_enabled():
            return self._gathered(table, queries, keys)
        if not self._is_kept(table):
            if table.device.type != "cpu":
                return self._gathered(table, queries, keys)
            self.keep(table)
        assert self.kept is not None
        return self.kept[1][..., queries, keys]

    @torch.no_grad()
    def keep(self, table: Tensor) -> None:
        """Gather it for the passes to come, as long as the table is not trained."""
        self.kept = (table.clone(), self._gathered(table, slice(None), slice(None)))
        self._version = _version(table)

    def _is_kept(self, table: Tensor) -> bool:
        if self.kept is None:
            return False
        if table.device.type == "cpu":
            return _same(self.kept[0], table)
        version = None if table.requires_grad else _version(table)
        return version is not None and version == self._version

    def _gathered(self, table: Tensor, queries: slice, keys: slice) -> Tensor:
        config = self.config
        index = relative_index(config.grid, config.max_text_len, config.table_text_len)
        index = index[queries, keys]
        rows = sent(torch.from_numpy(index.flatten()), table.device)
        columns = table.t().contiguous()  # (L·H, rows); block l has columns l·H to (l+1)·H - 1
        return columns[:, rows].view(config.depth, 1, config.heads, *index.shape)


def _version(table: Tensor) -> tuple[int, int] | None:
    """Another one after every change; None where torch counts none (made in inference mode)."""
    return None if table.is_inference() else (table.data_ptr(), table._version)


def _same(one: Tensor, other: Tensor) -> bool:
    alike = (one.dtype, one.device) == (other.dtype, other.device)
    return alike and torch.equal(one, other)
