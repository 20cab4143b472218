"""Blocks of rows in several threads: NumPy and SciPy let others run while they compute."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def in_blocks(work: Callable[[slice], None], rows: int, step: int) -> None:
    """Call ``work`` for every ``step`` rows, in as many threads as FAISS (OMP_NUM_THREADS) has."""
    blocks = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
    threads = _threads() if len(blocks) > 1 else 1
    if threads == 1:
        for block in blocks:
            work(block)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, blocks):
            pass


def _threads() -> int:
    import faiss

    count: int = faiss.omp_get_max_threads()
    return count
