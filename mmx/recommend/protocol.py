"""What a recommender is given, and all that the training loop asks of it.

A model's module holds ``Config``, a frozen dataclass of its settings, and one of

- ``Model(config, world, generator)``, a GradientModel that is trained in epochs; its Config is a
  ModelConfig. Initial values are drawn from ``generator`` alone;
- ``fit(config, world)`` → Scorer (``mmx.recommend.scoring``), a closed form.

Two methods are enough, ``loss`` and ``factors``. Every other hook stands here with its default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import nn

from mmx.errors import RunError
from mmx.recommend.features import Features
from mmx.recommend.interactions import UserItems


@dataclass(frozen=True)
class World:
    """All that a recommender may learn from."""

    train: UserItems
    features: dict[str, Features] = field(default_factory=dict)  # modality → vectors

    @property
    def n_users(self) -> int:
        """Users, with or without training interactions."""
        return self.train.n_users

    @property
    def n_items(self) -> int:
        """Items of the whole catalogue."""
        return self.train.n_items


class ModelConfig:
    """What the Config of a GradientModel has besides its own fields."""

    dim: int = 64  # columns of the embeddings; what they need of memory is checked before

    def end_to_end(self) -> Self:
        """The settings where an encoder is trained along; by default the same ones.

        Vectors change from step to step there: what is worked out from them once must go.
        """
        return self


class FeatureTable(Protocol):
    """A module of a model that holds one modality's vectors."""

    # (items, d) float32, a buffer that is not persistent. End to end another tensor is put here
    # before every step and takes the gradients: read it in every loss, keep nothing made from it.
    matrix: torch.Tensor


class GradientModel(nn.Module):
    """A recommender trained by gradient steps on (user, positive, negative) triples.

    Its score is an inner product of final embeddings, whatever happens before. Subclasses define
    ``loss`` and ``factors``, and of the rest what they need.
    """

    whole_batch: bool = False  # the loss contrasts the rows of a batch: processes do not split it
    weight_decay: float = 0.0  # of Adam, for all parameters
    generator: torch.Generator | None = None  # a CPU one of its own, kept in checkpoints
    normalise: bool = False  # its tables hold vectors centred and of norm 1, else as they come

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """(B,) int64 numbers each → the scalar to minimise."""
        raise RunError(f"{type(self).__name__} defines no method loss; see mmx.recommend.protocol")

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Final embeddings (users, k) and (items, k); score = their inner product."""
        raise RunError(f"{type(self).__name__} defines no method factors; see its protocol")

    def epoch_start(self, generator: torch.Generator) -> None:
        """Called before each epoch, to rebuild or resample a graph; by default nothing.

        ``generator`` is the training loop's, on its device, and is kept in checkpoints.
        """

    def after_backward(self) -> None:
        """Called after each step's backward pass, before clipping; by default nothing."""

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Adam's groups; by default all parameters that train, at ``lr``."""
        mine = [p for p in self.parameters() if p.requires_grad]
        return [{"params": mine, "lr": lr, "weight_decay": self.weight_decay}]

    def feature_tables(self, modality: str) -> Sequence[FeatureTable]:
        """Where its vectors of a modality lie, to be renewed end to end; by default nowhere.

        A model whose record says ``end_to_end`` has one or more for each modality it was given.
        """
        return []
