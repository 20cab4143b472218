"""What a run cost: time, memory, parameters, energy, and on what. Measured, or null.

    "cost": {"training_seconds": 12.1, "evaluation_seconds": 1.3, "seconds": 14.9,
             "peak_memory_bytes": 812351488, "gpu_peak_memory_bytes": null, "parameters": 64000,
             "cpu_joules": null, "gpu_joules": null, "device": "cpu (8 threads)",
             "processor": "…", "resumed": false}

``seconds`` are of the whole: reading, training, evaluation. A resumed run has seconds of training
and evaluation of all its epochs; what is of one process is null there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from mmx.devices import described
from mmx.recommend.energy import Counters, gpu_counter

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
PROCESSORS = Path("/proc/cpuinfo")
FRESH = 1.02  # of what is in memory: a peak that is not of something before
OF_A_PROCESS = (
    "seconds", "peak_memory_bytes", "gpu_peak_memory_bytes", "cpu_joules", "gpu_joules",
)  # fmt: skip


class Meter:
    """Measures from when it is made."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.start = device, time.perf_counter()
        self.memory = Peak(_memory)
        self.gpu = Peak(lambda: _gpu_memory(device))
        self.counters, self.gpu_energy = Counters(), gpu_counter(device)
        self.before = None if self.gpu_energy is None else self.gpu_energy()

    def record(
        self,
        history: Sequence[dict[str, float]],
        evaluation_seconds: float,
        parameters: int,
        resumed: bool,
    ) -> dict[str, Any]:
        """What config.json says. ``evaluation_seconds`` are those after the training."""
        seconds = time.perf_counter() - self.start
        evaluating = sum(row.get("evaluation_seconds", 0.0) for row in history)
        found = {
            "training_seconds": round(sum(row["seconds"] for row in history), 3),
            "evaluation_seconds": round(evaluating + evaluation_seconds, 3),
            "seconds": round(seconds, 3),
            "peak_memory_bytes": self.memory.reached(),
            "gpu_peak_memory_bytes": self.gpu.reached(),
            "parameters": parameters,
            "cpu_joules": self.counters.stop(),
            "gpu_joules": self._gpu_joules(),
            "device": described(self.device),
            "processor": processor(),
            "resumed": resumed,
        }
        return found | (dict.fromkeys(OF_A_PROCESS) if resumed else {})

    def stop(self) -> None:
        """Read nothing any more."""
        self.counters.stop()

    def _gpu_joules(self) -> float | None:
        if self.gpu_energy is None or self.before is None:
            return None
        with suppress(Exception):  # the GPU may be lost by now
            used = self.gpu_energy() - self.before
            return used / 1e3 if used >= 0 else None  # the driver was loaded again
        return None


@contextmanager
def metering(device: str) -> Iterator[Meter]:
    """A meter that reads nothing any more at the end."""
    meter = Meter(torch.device(device))
    try:
        yield meter
    finally:
        meter.stop()


class Peak:
    """The most memory of a process since this was made, where that can be told."""

    def __init__(self, read: Callable[[], tuple[int, int] | None]) -> None:
        """``read`` returns the peak so far and what is in use now, in bytes."""
        self.read, self.before = read, read()

    def reached(self) -> int | None:
        """None where the peak may be of something before."""
        now = self.read()
        if now is None or self.before is None:
            return None
        peak, used = self.before
        return now[0] if now[0] > peak or peak <= FRESH * used else None


def reset_peaks(device: torch.device | None = None) -> None:
    """Start again from what is in use, so that the next run's peak is its own."""
    with suppress(OSError):
        CLEAR.write_text("5", encoding="utf-8")  # see proc(5)
    if device is not None and device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _memory() -> tuple[int, int] | None:
    """Most and present resident memory of this process."""
    try:
        lines = STATUS.read_text(encoding="utf-8").splitlines()
        found = {name: text for name, _, text in (line.partition(":") for line in lines)}
        peak, used = (int(found[name].split()[0]) << 10 for name in ("VmHWM", "VmRSS"))
    except (OSError, LookupError, ValueError):
        return None
    return peak, used


def _gpu_memory(device: torch.device) -> tuple[int, int] | None:
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated(device), torch.cuda.memory_allocated(device)


def processor() -> str | None:
    """The name of the processor, where the machine tells it."""
    try:
        lines = PROCESSORS.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None)
