"""Tiny and odd worlds for every model, and settings that are odd too: more neighbours than items,
components of length 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mmx.data.vocabulary import Vocabulary
from mmx.recommend.evaluation import evaluate_splits
from mmx.recommend.features import Features
from mmx.recommend.inductive import newcomers
from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.models import ModelRecord
from mmx.recommend.options import TrainOptions
from mmx.recommend.protocol import World
from mmx.recommend.scoring import Scorer, rank
from mmx.recommend.training import train

SOME = ((0, 0), (0, 1), (1, 1), (1, 2), (2, 0))
SETTINGS = (
    {}, {"normalise": False}, {"neighbours": 10**6}, {"dim": 2}, {"components": 1, "latent": 1},
    {"components": 2}, {"keep": 1}, {"feature_dim": 1},
)  # fmt: skip


@dataclass(frozen=True)
class Odd:
    """A world: who took what, and what the items are."""

    users: int
    items: int
    taken: Iterable[tuple[int, int]] = SOME
    held_out: tuple[int, int] = (0, 2)
    dimension: int = 3
    features: str = "drawn"
    modalities: tuple[str, ...] = ("image", "text")
    options: dict[str, Any] = field(default_factory=dict)
    no_negative: bool = False  # so that models trained on pairs must refuse it

    def matrix(self, pairs: Iterable[tuple[int, int]]) -> UserItems:
        users, items = np.array(list(pairs)).T
        return UserItems.from_pairs(users, items, self.users, self.items)

    def vectors(self) -> dict[str, Features]:
        return {name: self._vectors(seed) for seed, name in enumerate(self.modalities)}

    def _vectors(self, seed: int) -> Features:
        shape = (self.items, self.dimension)
        matrix = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        present = np.ones(self.items, dtype=bool)
        if self.features in ("equal", "zero"):
            matrix[:] = 0.1 if self.features == "equal" else 0
        if self.features in ("one", "none"):
            present[self.features == "one" :] = False
        return Features(matrix * present[:, None], present)


ALL_OF_THREE = ((0, 0), (0, 1), (0, 2))
WORLDS = {
    "one user, one item": Odd(1, 1, [(0, 0)], (0, 0), no_negative=True),
    "one user, two items": Odd(1, 2, [(0, 0)], (0, 1)),
    "one user who took all": Odd(1, 3, ALL_OF_THREE, no_negative=True),
    "one of two took all": Odd(2, 3, [*ALL_OF_THREE, (1, 1)], (1, 0)),
    "two items": Odd(2, 2, [(0, 0), (1, 1)], (0, 1)),
    "items nobody took": Odd(3, 9),
    "users who took nothing": Odd(9, 4, held_out=(5, 2)),
    "one dimension": Odd(3, 6, dimension=1),
    "more dimensions than items": Odd(3, 6, dimension=500),
    "one modality": Odd(3, 6, modalities=("audio",)),
    "equal vectors": Odd(3, 6, features="equal"),
    "vectors of zeros": Odd(3, 6, features="zero"),
    "one vector": Odd(3, 6, features="one"),
    "no vector": Odd(3, 6, features="none"),
    "batches of one": Odd(3, 6, options={"batch_size": 1}),
    "a batch larger than the data": Odd(3, 6, options={"batch_size": 10**9}),
    "popular negatives": Odd(3, 6, options={"negatives": "popularity"}),
}


def fitted(record: ModelRecord, odd: Odd, settings: dict[str, Any]) -> Scorer:
    module, matrix = record.load(), odd.matrix(odd.taken)
    world = World(matrix, odd.vectors() if record.features == "required" else {})
    config = module.Config(**settings)
    if record.closed_form:
        return module.fit(config, world)
    model = module.Model(config, world, torch.Generator().manual_seed(0))
    return train(model, interactions(odd), TrainOptions(**{"epochs": 2, **odd.options})).scorer


def interactions(odd: Odd) -> Interactions:
    held_out = odd.matrix([odd.held_out])
    users = Vocabulary([f"u{n}" for n in range(odd.users)], "user")
    items = Vocabulary([f"i{n}" for n in range(odd.items)], "item")
    return Interactions(users, items, odd.matrix(odd.taken), held_out, held_out)


def taken_by(record: ModelRecord) -> list[dict[str, Any]]:
    """Those settings that the model has."""
    known = record.load().Config.__dataclass_fields__
    return [settings for settings in SETTINGS if settings.keys() <= known.keys()]


def check(scorer: Scorer, odd: Odd, settings: dict[str, Any]) -> None:
    """Scores, lists, metrics and a newcomer."""
    users, data = np.arange(odd.users), interactions(odd)
    scores = scorer.scores(users)
    assert scores.shape == (odd.users, odd.items)
    assert sound(scores), settings
    ranked = rank(scorer, users, 20, data.train).items
    assert not data.train.found_in(ranked).any()
    evaluate_splits(scorer, data)
    history = UserItems.from_pairs(np.zeros(1, int), np.zeros(1, int), 1, odd.items)
    assert sound(newcomers(scorer, data.train, history).scores(np.zeros(1, int)))


def sound(scores: np.ndarray) -> bool:
    """Finite, or -inf where nothing is known."""
    return bool((np.isfinite(scores) | np.isneginf(scores)).all())
