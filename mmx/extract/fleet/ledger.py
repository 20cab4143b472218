"""Which blocks wait for a worker, and which have cost some."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from mmx.errors import EncoderError
from mmx.extract.planning import Block

LIMIT = 3  # workers that a block may cost


class Ledger:
    """The blocks of a job that no worker holds."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.waiting = deque(blocks)
        self._deaths: Counter[int | None] = Counter()  # by part; None: before the first block

    def take(self, most: int = 1) -> list[Block]:
        """The next blocks; none when all are given out."""
        return [self.waiting.popleft() for _ in range(min(most, len(self.waiting)))]

    def opened(self) -> None:
        """A worker is ready: those that died on the way to it were no rule."""
        self._deaths.pop(None, None)

    def lost(self, blocks: Sequence[Block], where: str, how: str) -> None:
        """A worker died with these in its hands: others shall take them.

        Raises EncoderError when one of them, or the way to the first, has cost LIMIT workers.
        """
        self.waiting.extendleft(reversed(blocks))
        held: list[int | None] = [block.number for block in blocks]
        self._deaths.update(held or [None])
        number, deaths = self._deaths.most_common(1)[0]
        if deaths >= LIMIT:
            over = "before the first block" if number is None else f"over part {number}"
            raise EncoderError(
                f"{deaths} workers died {over}, the last on {where} ({how}); fewer --processes "
                "or a smaller --batch-size need less memory, the same command goes on"
            )
