"""What a recommender gets, and what it must have.

The module of a recommender is a ``ClosedForm`` or a ``GradientForm``; its record in
``mmx.recommend.models`` says which. A model trained by gradients needs two methods, ``loss`` and
``factors``; every other hook is here with its default. A model of the user's own is a class, a
``GradientModel`` or a ``ClosedModel``, with a ``Config`` in it or beside it; see docs/own.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from torch import nn

from mmx.errors import RunError
from mmx.recommend.facts import Facts
from mmx.recommend.features import Features
from mmx.recommend.interactions import UserItems
from mmx.recommend.scoring import Scorer


@dataclass(frozen=True)
class World:
    """All that a recommender may learn from."""

    train: UserItems  # with ``weights`` where the log has any
    features: dict[str, Features] = field(default_factory=dict)  # modality → vectors
    seed: int = 0  # of what a ClosedForm draws; a Model has its generator

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

    dim: int = 64  # columns of the embeddings; their memory is checked before they are made

    def end_to_end(self) -> Self:
        """The settings where an encoder is trained along; by default the same ones.

        Vectors change from step to step there, so nothing may be computed from them once.
        """
        return self


class FeatureTable(Protocol):
    """A module of a model that holds one modality's vectors."""

    # (items, d) float32, a buffer that is not persistent. End to end it is replaced before every
    # step, by a tensor that takes the gradients: read it in every loss, keep nothing made from it.
    matrix: torch.Tensor


class GradientModel(nn.Module):
    """A recommender trained by gradient steps on (user, positive, negative) triples.

    Its score is an inner product of final embeddings, however they are made. Subclasses define
    ``loss`` and ``factors``, and any other hook that they need.
    """

    whole_batch: bool = False  # the loss contrasts a batch's rows: processes do not split it
    reads_batches: bool = False  # ``loss`` gets its arguments again, on the CPU: nothing waits
    weight_decay: float = 0.0  # of Adam, for all parameters
    generator: torch.Generator | None = None  # what its steps draw from, kept in checkpoints
    # Parameters with one row per item. A row of zeros must mean an item scored by contents alone:
    # `mmx recommend --new-items` gives one to an item that was not there in training.
    item_tables: Sequence[str] = ()
    facts: ClassVar[Facts] = Facts()  # of a model of the user's own; ours have a record
    normalise: bool = False  # its tables hold vectors centred and of norm 1, else as read

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """(B,) int64 numbers each → the scalar to minimise.

        With ``reads_batches`` it has three parameters more: the same numbers on the CPU.
        """
        raise RunError(f"{type(self).__name__} defines no method loss; see mmx.recommend.protocol")

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Final embeddings (users, k) and (items, k); score = their inner product.

        Parameters, or tensors made by this call: the result is kept.
        """
        raise RunError(f"{type(self).__name__} defines no method factors; see its protocol")

    def draw_on(self, device: torch.device) -> None:
        """Called once the model is on its device, where its steps draw from now on.

        On a GPU its generator is made anew from its seed: drawing a step's noise on the CPU can
        take longer than all the rest of the step takes a GPU. So read ``self.generator`` at each
        draw.
        """
        if self.generator is not None and device != self.generator.device:
            seed = self.generator.initial_seed()
            self.generator = torch.Generator(device).manual_seed(seed)

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
        """The tables of a modality's vectors, which end-to-end training fills; by default none.

        A model whose record says ``end_to_end`` has one or more for each of its modalities.
        """
        return []


class ClosedModel:
    """A recommender of the user's own that is solved at once; made without arguments."""

    facts: ClassVar[Facts] = Facts()

    def fit(self, config: Any, world: World) -> Scorer:
        """The solution for a Config, Factors or ItemItem, as in ``ClosedForm``."""
        raise RunError(f"{type(self).__name__} defines no method fit; see mmx.recommend.protocol")


@runtime_checkable
class ClosedForm(Protocol):
    """The module of a recommender that is solved at once, as ``mmx.recommend.models.ease``."""

    @property
    def Config(self) -> type[Any]:  # noqa: N802
        """A frozen dataclass of its settings, each with a default."""
        ...

    def fit(self, config: Any, world: World) -> Scorer:
        """The solution for a Config. What it draws is from ``world.seed``; its record says so.

        The Scorer is one that ``mmx.recommend.serialize`` can save: Factors or ItemItem.
        """
        ...


@runtime_checkable
class GradientForm(Protocol):
    """The module of a recommender that is trained in epochs, as ``mmx.recommend.models.bpr``."""

    @property
    def Config(self) -> type[Any]:  # noqa: N802
        """A ModelConfig: a frozen dataclass of its settings, each with a default."""
        ...

    @property
    def Model(self) -> type[GradientModel]:  # noqa: N802
        """Called as ``Model(config, world, generator)``.

        Initial values are drawn from ``generator`` (on the CPU) alone.
        """
        ...
