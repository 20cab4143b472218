"""Which blocks wait for a worker, and over which of them workers died or hung."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

import pyarrow as pa

from mmx.errors import EncoderError, first_few
from mmx.extract.planning import Block, rows_of
from mmx.extract.stages.progress import Progress

LIMIT = 3  # workers that die over a block before the job ends
HANGS = 2  # workers that hang over a block before it ends; each costs SILENCE
SILENCE = 900.0  # s in which a worker must read a picture or finish a batch; Web gives up before


class PendingBlocks:
    """The blocks of a job that no worker holds."""

    def __init__(self, blocks: Sequence[Block], table: pa.Table, state: Progress) -> None:
        """``blocks`` of the items ``table``; ``state`` gets a remark on workers that hang."""
        self.waiting, self.table, self.state = deque(blocks), table, state
        self.silence = SILENCE
        self._deaths: Counter[int | None] = Counter()  # by part; None: before the first block
        self._hangs: Counter[int | None] = Counter()
        self._blocks = {block.number: block for block in blocks}

    def take(self, most: int = 1) -> list[Block]:
        """The next blocks; none when no block waits."""
        return [self.waiting.popleft() for _ in range(min(most, len(self.waiting)))]

    def opened(self) -> None:
        """A worker is ready: deaths before the first block count no longer."""
        self._deaths.pop(None, None)
        self._hangs.pop(None, None)

    def lost(self, blocks: Sequence[Block], where: str, how: str) -> None:
        """A worker died with these: others will take them.

        Raises EncoderError at LIMIT deaths over one of them, or before the first block.
        """
        over, deaths = self._charge(self._deaths, blocks)
        if deaths >= LIMIT:
            raise EncoderError(
                f"{deaths} workers died {over}, the last on {where} ({how}); fewer --processes "
                "or a smaller --batch-size need less memory, the same command resumes"
            )

    def hung(self, blocks: Sequence[Block], where: str) -> None:
        """A worker was killed after ``silence`` s without progress: others will take these.

        Raises EncoderError when HANGS workers hung over one of them, or before the first block.
        """
        over, hangs = self._charge(self._hangs, blocks)
        still = f"made no progress for {self.silence:.0f} s"
        self.state.remark(f"a worker on {where} {still} and was replaced")
        if hangs >= HANGS:
            raise EncoderError(
                f"{hangs} workers {still} {over}, the last on {where}; a smaller --batch-size "
                "makes shorter steps, else leave these items out of --data or take another "
                "--device; the same command resumes"
            )

    def _charge(self, cost: Counter[int | None], blocks: Sequence[Block]) -> tuple[str, int]:
        """Take the blocks back; where most workers were lost, and how many."""
        self.waiting.extendleft(reversed(blocks))
        held: list[int | None] = [block.number for block in blocks]
        cost.update(held or [None])
        number, count = cost.most_common(1)[0]
        if number is None:
            return "before the first block", count
        ids = rows_of(self.table, self._blocks[number].rows)["item_id"]
        return f"over part {number} (items {first_few(ids.to_pylist())})", count
