"""A list as it is answered. The JSON of an item is made once, and joined with that of others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmx.serve.answers import compact
from mmx.serve.items import ServedItems


@dataclass
class Listing:
    """Items, best first."""

    ids: list[str]
    scores: list[float]
    items: list[str]  # JSON of what is shown of each
    reasons: dict[int, dict[str, Any]]  # by place in the list, where one is known
    note: str | None = None

    def json(self) -> bytes:
        """``answers.ListOut`` as JSON, in ASCII. Raises ValueError for a score of NaN."""
        known = {place: compact(reason) for place, reason in self.reasons.items()}
        # Without items this is one empty text, which is not read.
        scores = compact([round(score, 6) for score in self.scores])[1:-1].split(",")
        rows = [
            f'{{"rank":{place + 1},"score":{score},"item":{item},'
            f'"reason":{known.get(place, "null")}}}'
            for place, (score, item) in enumerate(
                zip(scores, self.items, strict=False)
            )  # no items: one empty score
        ]
        return f'{{"items":[{",".join(rows)}],"note":{compact(self.note)}}}'.encode("ascii")

    def as_dict(self) -> dict[str, Any]:
        """The same as Python has it."""
        found: dict[str, Any] = json.loads(self.json())
        return found


def listing(items: ServedItems, ids: list[str], scores: list[float]) -> Listing:
    """The list of some items and their scores."""
    return Listing(ids, scores, items.texts(ids), {})


def listings(items: ServedItems, several: Sequence[tuple[list[str], list[float]]]) -> list[Listing]:
    """Several lists, whose items are read together."""
    items.texts([one for ids, _ in several for one in ids])
    return [listing(items, ids, scores) for ids, scores in several]
