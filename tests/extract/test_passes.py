"""Passes in lanes: smaller batches where memory runs out, and errors that end the run."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from mmx.errors import NO_MEMORY, EncoderError, out_of_memory
from mmx.extract.stages import passes
from mmx.extract.stages.passes import Halving, Lanes
from mmx.extract.stages.progress import Progress


class OutOfMemoryError(RuntimeError):
    """Named as torch's is."""


def limited(most: int, seen: list[int]):
    """A pass that has memory for so many rows; gives the row numbers."""

    def run(part: slice) -> np.ndarray:
        rows = part.stop - part.start
        seen.append(rows)
        if rows > most:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return np.arange(part.start, part.stop)[:, None]

    return run


def test_halving_finds_what_fits_and_keeps_it() -> None:
    fit, seen = Halving(), []
    run = limited(5, seen)
    assert fit(run, 32)[:, 0].tolist() == list(range(32))
    assert seen == [32, 16, 8, 4, 4, 4, 4, 4, 4, 4, 4]
    seen.clear()
    assert fit(run, 6)[:, 0].tolist() == list(range(6))
    assert seen == [4, 2]


def test_what_torch_keeps_is_given_back_before_a_smaller_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Libraries take memory beside torch's, and find none where torch keeps it all."""
    seen: list[int] = []
    monkeypatch.setattr(passes, "give_back_memory", lambda: seen.append(0))
    Halving()(limited(8, seen), 32)
    assert seen == [32, 0, 16, 0, 8, 8, 8, 8]


def test_no_memory_for_one_item_is_an_error() -> None:
    with pytest.raises(EncoderError, match="single item; --precision bfloat16"):
        Halving()(limited(0, []), 7)


def test_other_errors_are_not_swallowed() -> None:
    def broken(part: slice) -> np.ndarray:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        Halving()(broken, 7)


def test_what_counts_as_out_of_memory() -> None:
    import torch

    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(MemoryError())
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"))
    assert out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cu…"))
    assert out_of_memory(RuntimeError("GET was unable to find an engine to execute this computa"))
    assert all(out_of_memory(RuntimeError(f"Error: {words.upper()}!")) for words in NO_MEMORY)
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not out_of_memory(ValueError("out of memory"))


def test_lanes_work_at_the_same_time_and_no_further_ahead() -> None:
    meeting, together, most = threading.Barrier(2, timeout=20), 0, []

    def run() -> None:
        nonlocal together
        together += 1
        most.append(together)
        meeting.wait()  # hangs until the other lane is here too
        together -= 1

    with Lanes(2, Progress()) as lanes:
        for _ in range(8):
            lanes.submit(run)
            assert len(lanes._running) <= 3
        lanes.drain()
    assert max(most) >= 2


def test_an_error_in_a_lane_is_raised_and_the_rest_is_dropped() -> None:
    ran = []

    def fail() -> None:
        raise ValueError("broken pass")

    def slow() -> None:
        time.sleep(0.05)
        ran.append(1)

    def work() -> None:
        with Lanes(1, Progress()) as lanes:
            lanes.submit(fail)
            for _ in range(100):
                lanes.submit(slow)

    with pytest.raises(ValueError, match="broken pass"):
        work()
    assert len(ran) < 5
