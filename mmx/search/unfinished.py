"""Lists of all items that an interrupted job has made, kept next to its output.

    .similar.parquet.HASH.lists/000003.part    one for each block of items: the SHA-256 of what
                                               follows, and Parquet

The hash in the name is that of the job: the same command reads the parts and makes only the others,
and no other job does. A part that is damaged is made again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmx import __version__
from mmx.atomic import forget_unfinished, replacing, unfinished
from mmx.search.index import digest_of
from mmx.search.searcher import LISTS, Ids, Searcher

ENDING = "lists"
DIGEST = 32  # bytes of a SHA-256


@dataclass(frozen=True)
class KeptLists:
    """The parts of one job."""

    out: Path
    folder: Path

    @classmethod
    def of(
        cls, out: Path, searcher: Searcher, k: int, among: Ids | None, index: str | None
    ) -> KeptLists:
        """Those of ``similar_all`` to a file; vectors, options and items say which job it is."""
        rows = sha256(searcher.within(among).tobytes()).hexdigest()
        facts = [__version__, str(LISTS), digest_of(searcher.vectors), rows, k, index]
        facts.append(searcher.step(k))
        job = sha256(json.dumps(facts).encode()).hexdigest()
        return cls(out, unfinished(out, job, ENDING))

    def keep(self, number: int, make: Callable[[], pa.Table]) -> pa.Table:
        """The part of a block: as it was kept, or else made and kept.

        Raises TargetError when it cannot be written.
        """
        path = self.folder / f"{number:06}.part"
        found = _read(path)
        if found is None:
            found = make()
            buffer = pa.BufferOutputStream()
            pq.write_table(found, buffer)
            packed = buffer.getvalue().to_pybytes()
            with replacing(path) as temporary:
                temporary.write_bytes(sha256(packed).digest() + packed)
        return found

    def forget(self) -> None:
        """Delete all parts of jobs with this output."""
        forget_unfinished(self.out, ENDING)


def _read(path: Path) -> pa.Table | None:
    """None where there is none, or a damaged one."""
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    digest, packed = raw[:DIGEST], raw[DIGEST:]
    return pq.read_table(pa.BufferReader(packed)) if sha256(packed).digest() == digest else None
