"""One modality of a catalogue inside a model: frozen vectors and what stands in for absent ones."""

from __future__ import annotations

import torch
from torch import nn

from mmx.recommend.features import Features


class Content(nn.Module):
    """Frozen item vectors; items without one take a learned default, which starts at the mean."""

    matrix: torch.Tensor  # (items, d), zero where absent
    absent: torch.Tensor  # (items, 1) float, 1 where absent

    def __init__(self, features: Features, *, normalise: bool = True) -> None:
        """``normalise`` centres the present vectors and scales them to norm 1 first."""
        super().__init__()
        known = features.normalised() if normalise else features
        matrix = torch.from_numpy(known.matrix)
        absent = torch.from_numpy(~known.present)[:, None].float()
        self.register_buffer("matrix", matrix, persistent=False)
        self.register_buffer("absent", absent, persistent=False)
        self.default = nn.Parameter(matrix.sum(0) / max(1, int(known.present.sum())))  # (d,)

    @property
    def dimension(self) -> int:
        """d."""
        return self.matrix.shape[1]

    def forward(self, weight: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:
        """Vectors times ``weight`` (k, d) → (n, k) of (n,) item numbers, or of all items.

        Absent rows of the matrix are zero, so the default is added after the product and the
        (n, d) vectors are never copied.
        """
        rows, absent = (self.matrix, self.absent) if items is None else (
            self.matrix[items], self.absent[items]
        )  # fmt: skip
        projected = rows @ weight.T  # (n, k)
        return torch.addcmul(projected, absent, (weight @ self.default)[None, :])
