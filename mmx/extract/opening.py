"""An encoder by name that a job opens when it needs it, which may be never."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmx.cache.card import EncoderCard
from mmx.extract.encoder import Encoder
from mmx.extract.encoders import check_request
from mmx.extract.engine import engine_for
from mmx.extract.later import sign_of_life
from mmx.extract.pictures.images import ImageRule
from mmx.extract.remembered import hint_of, recall, remember
from mmx.extract.settings import Before
from mmx.extract.workers.job import Engine, Recipe
from mmx.logs import log_line


@dataclass(frozen=True)
class Opening:
    """What it takes to open an encoder and the engine that uses it."""

    recipe: Recipe
    devices: str  # as --device says it
    where_to: Mapping[str, Any] = field(default_factory=dict)  # the other arguments of engine_for
    log: Callable[[str], None] = log_line

    def __post_init__(self) -> None:
        check_request(self.recipe.model, **self.recipe.options)

    def open(self) -> tuple[Engine | None, Encoder]:
        """Both; remembers what they are. Raises what engine_for and open_encoder do."""
        began = time.time_ns()
        with sign_of_life(self.log, f"opening {self.recipe.model}"):
            engine, here = engine_for(self.recipe, self.devices, **self.where_to)
            encoder = self.recipe.open(here, self.log)
        if encoder.files:
            with suppress(OSError, ValueError):  # as in ``remembered``
                remember(self._hint(), encoder.card, encoder.files, began)
        return engine, encoder

    def remembered(self) -> EncoderCard | None:
        """The card that ``open`` would give, as far as is known without opening."""
        try:
            return recall(self._hint())
        except (OSError, ValueError):  # the folder is gone, or mmx's own is too large
            return None

    def _hint(self) -> Path:
        given = {"model": self.recipe.model, **self.recipe.options}
        return hint_of({"encoder": given, "devices": self.devices, **self.where_to})


def card_without_opening(
    opening: Opening, before: Before, there: EncoderCard, precision: str | None
) -> EncoderCard | None:
    """The card of a job, where it is clear that it is that of the store; None: open the encoder.

    ``there`` is the store's card and ``before`` what the run decided that made it, ``precision``
    what is wanted now, as in ExtractOptions.
    """
    known = opening.remembered()
    if known is None:
        return None
    wanted = before.precision if precision == "auto" else precision
    measured = before.accuracy is not None or wanted == known.precision
    card = replace(known, precision=wanted or known.precision)
    return card if measured and not there.differences(card) else None


def rule_of(card: EncoderCard) -> ImageRule | None:
    """The image rule in a card. Raises TypeError or an MmxError for one of another version."""
    return None if card.image_rule is None else ImageRule(**card.image_rule)
