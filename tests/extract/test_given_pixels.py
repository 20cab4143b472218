"""Augmented pixels stay until the device has read them, and no longer."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
import torch

from mmx.extract.encoders.hardware import Hardware
from mmx.extract.finetune.ahead import Ahead
from mmx.extract.finetune.pairs import DrawnBatch
from tests.extract.augmentations import small_items
from tests.extract.tiny_objective import objective

COUNT = 5


class Mark:
    """Reached when it is waited for."""

    def __init__(self) -> None:
        self.reached = False

    def synchronize(self) -> None:
        self.reached = True


class Device(Hardware):
    """A device that is behind, or one that is not."""

    marks: list[Mark] | None = None

    def mark(self) -> Any:
        if self.marks is None:
            return None
        self.marks.append(Mark())
        return self.marks[-1]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[DrawnBatch]:
    found = objective(small_items(tmp_path_factory.mktemp("sample")))
    rows = torch.from_numpy(found.pairs.train[: 4 * COUNT])
    return [found.draw(part) for part in rows.split(4)]


def device(marks: list[Mark] | None) -> Device:
    found = Device(torch.device("cpu"), torch.float32)
    object.__setattr__(found, "marks", marks)
    return found


def held(drawn: list[DrawnBatch]) -> list[int]:
    """Which batches have pixels."""
    return [n for n, one in enumerate(drawn) if one.pairs.pixels is not None]  # type: ignore[attr-defined]


def test_a_device_is_one_batch_behind(drawn: list[DrawnBatch]) -> None:
    marks: list[Mark] = []
    with Ahead(0, device(marks), print) as ahead:
        for number, _ in enumerate(ahead.each(drawn)):
            assert held(drawn) == list(range(max(0, number - 1), number + 1))
            assert [mark.reached for mark in marks] == [True] * (number - 1) + [False] * (
                number > 0
            )
        assert held(drawn) == []
        assert [mark.reached for mark in marks] == [True] * COUNT


def test_what_is_done_at_once_keeps_one(drawn: list[DrawnBatch]) -> None:
    with Ahead(0, device(None), print) as ahead:
        for number, _ in enumerate(ahead.each(drawn)):
            assert held(drawn) == [number]
    assert held(drawn) == []


def test_of_an_epoch_that_ends_early_nothing_is_kept(drawn: list[DrawnBatch]) -> None:
    marks: list[Mark] = []
    with Ahead(0, device(marks), print) as ahead:
        with closing(ahead.each(drawn)) as batches:
            next(batches), next(batches)
        assert held(drawn) == []
        assert [mark.reached for mark in marks] == [True, True]


def test_a_cpu_is_never_behind() -> None:
    assert Hardware(torch.device("cpu"), torch.float32).mark() is None
