"""Jobs that cannot fit in this machine's memory end in one line, before or while they allocate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmx.errors import RunError, first_line, out_of_memory

LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container; "max" where there is none
SHARE_OF_BEST = 64  # of the memory that a matrix of the best epoch may take: the part of it
SHARE_OF_GPU = 8  # of a GPU's memory that the best epoch's embeddings may take, or its state
COPIES = 4  # of a trained number: itself, its gradient, and Adam's two moments


def memory_there() -> int:
    """Bytes of the machine, or of the container that this process runs in."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(LIMIT.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return whole


def must_fit(what: str, needed: int, remedy: str) -> None:
    """Raise RunError when the ``needed`` bytes of ``what`` are more than there are."""
    there = memory_there()
    if needed > there:
        raise RunError(
            f"{what} needs {needed / 2**30:,.0f} GiB of memory, of which this machine has "
            f"{there / 2**30:,.0f}; {remedy}"
        )


@contextmanager
def allocating(what: str, remedy: str) -> Iterator[None]:
    """Turn what numpy and torch raise when memory runs out into one RunError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        reason = first_line(error) if str(error).strip() else "none is left"
        raise RunError(f"{what} does not fit in memory ({reason}); {remedy}") from error
