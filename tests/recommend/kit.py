"""The clubs of ``mmx.testing``, by the name that tests call them."""

from __future__ import annotations

from mmx.testing.clubs import (
    CLUBS,
    COLD,
    NEITHER,
    NO_IMAGE,
    NO_TEXT,
    Place,
    all_scores,
    club_of,
    trained,
    write_place,
)

__all__ = [
    "CLUBS",
    "COLD",
    "NEITHER",
    "NO_IMAGE",
    "NO_TEXT",
    "Place",
    "all_scores",
    "club_of",
    "trained",
    "write_place",
]
