"""The popularity curve of a dataset, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mmx.data.checks.log import popularity


def test_shares_and_gini() -> None:
    counts = np.array([1, 6, 1, 2])
    found = popularity(counts)
    assert found["top_1"] == found["top_10"] == 0.6  # at least one item
    assert found["top_50"] == 0.8
    pairs = np.abs(counts[:, None] - counts).sum()
    assert found["gini"] == pytest.approx(pairs / (2 * len(counts) * counts.sum()))
    assert popularity(np.full(200, 3)) == pytest.approx(
        {"top_1": 0.01, "top_10": 0.1, "top_50": 0.5, "gini": 0.0}
    )
