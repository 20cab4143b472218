"""Blocks of rows: each is worked on once, however many threads there are."""

from __future__ import annotations

import numpy as np
import pytest

from mmx.recommend import threads
from mmx.recommend.threads import in_blocks


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("rows", "step"), [(0, 4), (1, 4), (4, 4), (11, 4), (100, 1)])
def test_every_row_once(count: int, rows: int, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_threads", lambda: count)
    seen = np.zeros(rows, dtype=int)

    def work(block: slice) -> None:
        assert 0 < block.stop - block.start <= step
        seen[block] += 1

    in_blocks(work, rows, step)
    assert (seen == 1).all()


@pytest.mark.parametrize("count", [1, 3])
def test_an_error_comes_through(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_threads", lambda: count)

    def work(block: slice) -> None:
        if block.start == 5:
            raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        in_blocks(work, 9, 1)
