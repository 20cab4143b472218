"""What a model of the user's own says of itself: ``facts = Facts(features="required")``."""

from __future__ import annotations

from dataclasses import dataclass

from mmx.bounds import check, number
from mmx.errors import one_of
from mmx.kinds import must_be, must_be_switches

FEATURES = ("none", "required")
LR = 1e-3  # of Adam, as most papers have it


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What ``mmx models`` and the checks before a training go by. Raises OptionError."""

    features: str = "none"  # or "required": it reads the items' vectors
    cold_items: bool = False  # scores items that nobody took, by what they are
    new_users: bool = True  # scores users given as a list of items
    end_to_end: bool = False  # can train an encoder: it has ``feature_tables``
    weights: bool = False  # a ClosedModel that reads ``world.train.weights``; others need not
    seeded: bool = False  # a ClosedModel that draws something, from ``world.seed``
    lr: float = LR  # of Adam, where ``--lr`` names none; nothing to a ClosedModel
    citation: str = ""

    def __post_init__(self) -> None:
        one_of("features of Facts", self.features, FEATURES)
        must_be_switches(self, "cold_items", "new_users", "end_to_end", "weights", "seeded")
        check("lr of Facts: ", self.lr, number(0, above=True))
        must_be("citation of Facts", self.citation, str)
