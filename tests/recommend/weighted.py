"""The toy world with weights on its pairs."""

from __future__ import annotations

import numpy as np

from mmx.recommend.interactions import UserItems
from mmx.recommend.protocol import World
from tests.recommend.toy import N_ITEMS, N_USERS, PAIRS, toy_features

GIVEN = np.array([(1.0, 3.0, 10.0, 0.4)[n % 4] for n in range(len(PAIRS))])
X = np.zeros((N_USERS, N_ITEMS))
X[tuple(np.array(PAIRS).T)] = GIVEN
TRAIN = UserItems.from_pairs(*np.array(PAIRS[::-1]).T, N_USERS, N_ITEMS, GIVEN[::-1])
WORLD = World(TRAIN, toy_features("image", "text"))
