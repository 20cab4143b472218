"""Memory that decoding processes share with the job: bounded, used again, locked for a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mmx.extract.stages import decoders, reading
from mmx.extract.stages.slots import Slots, mapped
from tests.catalogue import plain_catalogue
from tests.extract.beside import run

pytestmark = pytest.mark.usefixtures("none_left")


def test_memory_is_bounded_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, made, add = plain_catalogue(tmp_path / "d", 300), [], Slots._add
    monkeypatch.setattr(Slots, "_add", lambda slots: (made.append(1), add(slots)))
    assert run(data, tmp_path / "x.parquet", 1).encoded == 300
    assert 0 < len(made) <= reading.LOOK_AHEAD + decoders.AHEAD + 4  # those, and the lane's


def test_slots_are_shared_and_locked_while_they_are_used() -> None:
    locked: list[int] = []

    @contextmanager
    def lock(pixels: np.ndarray) -> Iterator[None]:
        locked.append(pixels.ctypes.data)
        yield
        locked.remove(pixels.ctypes.data)

    with Slots((2, 9, 9, 3), lock) as slots:
        (first, one), (second, two) = slots.take(), slots.take()
        assert len(set(locked)) == 2
        one[:], two[:] = 1, 2
        other = mapped(slots.file, second, slots.shape)
        assert (other == 2).all()
        other[:] = 3
        assert (two == 3).all()
        assert (one == 1).all()
        slots.give_back(first)
        assert slots.take()[1] is one
    assert locked == []


class Driver:
    """As much of a CUDA driver as locks memory; it refuses where ``answer`` is not 0."""

    def __init__(self, answer: int) -> None:
        self.answer, self.locked = answer, []

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:  # noqa: N802
        self.locked += [(address, size)] if self.answer == 0 else []
        return self.answer

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802
        self.locked = [pair for pair in self.locked if pair[0] != address]
        return 0


@pytest.mark.parametrize("answer", [0, 1])
def test_a_driver_may_lock_memory_or_refuse(monkeypatch: pytest.MonkeyPatch, answer: int) -> None:
    import torch

    from mmx.extract.encoders.hardware import Hardware

    pixels, driver = np.zeros(4096, np.uint8), Driver(answer)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: driver)
    with Hardware.of("cpu", "float32").page_locked(pixels):
        assert driver.locked == []
    with Hardware(torch.device("cuda"), torch.float32).page_locked(pixels):
        assert driver.locked == ([(pixels.ctypes.data, 4096)] if answer == 0 else [])
    assert driver.locked == []

    def none() -> None:
        raise RuntimeError("no driver")

    monkeypatch.setattr(torch.cuda, "cudart", none)
    with Hardware(torch.device("cuda"), torch.float32).page_locked(pixels):
        pixels[:] = 1
