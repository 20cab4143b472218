"""What torch asks of a GPU's driver, answered for one that is not there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch


def driver(waits: Callable[[str], None]) -> dict[str, Any]:
    """Replacements in ``torch.cuda``; ``waits`` is told what is waited for."""
    marks = Marks(waits)

    def nothing(*args: Any, **options: Any) -> None:
        return None

    return {
        "_lazy_init": nothing, "is_available": lambda: True, "device_count": lambda: 1,
        "get_device_properties": lambda *a: SimpleNamespace(total_memory=1 << 33),
        "synchronize": nothing, "is_bf16_supported": lambda *a, **k: True,
        "get_device_capability": lambda *a: (9, 0), "get_device_name": lambda *a: "a fake GPU",
        "Stream": mock.MagicMock, "stream": lambda s: nullcontext(), "current_stream": nothing,
        "Event": lambda **options: Mark(marks),
        "device": lambda d: nullcontext(), "current_device": lambda: 0,
        "get_rng_state": lambda *a: torch.get_rng_state(), "set_rng_state": nothing,
        "get_rng_state_all": lambda: [torch.get_rng_state()], "set_rng_state_all": nothing,
    }  # fmt: skip


class Marks:
    """All events of the device."""

    def __init__(self, waits: Callable[[str], None]) -> None:
        self.waits, self.count = waits, 0


class Mark:
    """An event. To wait for the last that was recorded is to wait for nearly all that was begun."""

    def __init__(self, marks: Marks) -> None:
        self.marks, self.number = marks, 0

    def record(self, stream: object) -> None:
        self.marks.count += 1
        self.number = self.marks.count

    def synchronize(self) -> None:
        if self.number == self.marks.count:
            self.marks.waits("the last mark")
