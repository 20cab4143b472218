"""What a model is built from: the sizes, the training interactions, the item features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch

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


class GradientModel(Protocol):
    """A recommender trained by gradient steps on (user, positive, negative) triples.

    Its score is an inner product of final embeddings, whatever happens before.
    """

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """(B,) numbers each → the scalar to minimise."""
        ...

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Final embeddings (users, k) and (items, k); score = their inner product."""
        ...
