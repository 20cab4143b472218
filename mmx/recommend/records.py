"""What is known of a recommender without its module: what ``mmx models`` shows."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from mmx.recommend.defaults import defaults_of
from mmx.recommend.facts import LR

if TYPE_CHECKING:
    from mmx.recommend.protocol import ClosedForm, GradientForm


@dataclass(frozen=True)
class ModelRecord:
    """What ``mmx models`` shows of a recommender."""

    name: str
    title: str
    module: str  # a ClosedForm or a GradientForm of mmx.recommend.protocol
    features: str  # "none" or "required"
    citation: str
    closed_form: bool = False  # solved at once; else trained in epochs
    seeded: bool = False  # a closed form that draws something; else it is the same for all seeds
    cold_items: bool = False  # scores items that nobody took, by what they are
    new_users: bool = True  # scores users given as a list of items
    end_to_end: bool = False  # can train an encoder: its Model has ``feature_tables``
    lr: float = LR  # of Adam, where ``--lr`` names none; nothing to a closed form
    weights: bool = False  # a closed form that reads ``world.train.weights``

    def load(self) -> ClosedForm | GradientForm:
        """The module (imports torch)."""
        return cast("ClosedForm | GradientForm", import_module(self.module))

    def defaults(self) -> dict[str, Any]:
        """The settings of its Config and their defaults; the module is not imported."""
        return defaults_of(self.module)

    @property
    def honours_weights(self) -> bool:
        """Whether pairs count by the column ``weight``: in epochs they are drawn by it."""
        return self.weights or not self.closed_form

    @property
    def uses_seed(self) -> bool:
        """Whether another ``--seed`` makes another model."""
        return self.seeded or not self.closed_form

    def blamed(self) -> AbstractContextManager[None]:
        """Around what runs the model: names the file of one of the user's own in its errors."""
        return nullcontext()

    @property
    def code(self) -> dict[str, Any] | None:
        """Name and SHA-256 of code of the user's own, which a run's record keeps; else None."""
        return None
