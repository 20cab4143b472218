"""Popularity: every user is shown what most users took. The floor under every table.

    s_ui = |U_i|, the number of users who took item i in training, or the sum of their weights

It learns nothing about users, so that a new one gets the same list.

Equations: none; it is a count.

Released code: none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmx.recommend.protocol import World
from mmx.recommend.scoring import Factors


@dataclass(frozen=True)
class Config:
    """Popularity has no hyper-parameters."""


def fit(config: Config, world: World) -> Factors:
    """Embeddings of length 1: a one for each user, its count for each item."""
    users = np.ones((world.n_users, 1), dtype=np.float32)
    return Factors(users, world.train.item_sums()[:, None].astype(np.float32))
