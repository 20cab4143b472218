"""Lists of a run as its scorer."""

from __future__ import annotations

import numpy as np
import pytest

from mmx.recommend.listed import Listed
from mmx.recommend.soundness import check_scorer


@pytest.mark.parametrize(
    ("indptr", "items", "said"),
    [
        ([0, 1, 2, 3], [0, 1, 2], "not those of 2 users"),
        ([0, 2, 3], [0, 1], "not those of 2 users"),
        ([0, 3, 2], [0, 1], "not those of 2 users"),
        ([0.0, 1.0, 2.0], [0, 1], "not those of 2 users"),
        ([0, 1, 2], [0, 5], "the lists name others than the 5 items"),
        ([0, 1, 2], [-1, 0], "the lists name others than the 5 items"),
    ],
)
def test_damaged_lists_are_refused(indptr: list, items: list, said: str) -> None:
    check_scorer(Listed(np.array([0, 1, 2]), np.array([4, 0]), 5), 2, 5)
    with pytest.raises(ValueError, match=said):
        check_scorer(Listed(np.array(indptr), np.array(items), 5), 2, 5)
    with pytest.raises(ValueError, match="and 4 items"):
        check_scorer(Listed(np.array([0, 1, 2]), np.array([0, 1]), 5), 2, 4)
