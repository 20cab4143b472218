"""The result of training: the model at its best epoch, and the history."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from mmx.recommend.scoring import Factors


@dataclass
class Trained:
    """The model at its best epoch so far, and the history."""

    scorer: Factors
    state: dict[str, torch.Tensor]  # parameters of the best epoch
    history: list[dict[str, float]] = field(default_factory=list)  # one row per epoch
    best_epoch: int = 0
    best: float = float("-inf")  # validation Recall@20
    resumed: bool = False  # whether another process trained the first epochs
