"""Energy as the machine's own counters tell it: processors by RAPL, a GPU by NVML.

A counter is of the whole package or GPU, whoever used it. Where it cannot be read, or not for the
whole of the time, there is no figure: nothing is estimated.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

POWERCAP = Path("/sys/class/powercap")  # of Linux; most let only root read the counters
PACKAGE = re.compile(r"intel-rapl:\d+")  # AMD's are there under the same name; inner zones are not
PAUSE = 60.0  # s between readings: a counter of 65 kJ starts again after four minutes at 270 W


class Counters:
    """Joules of all processor packages since this was made."""

    def __init__(self, root: Path = POWERCAP) -> None:
        self.zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if _is_package(zone)]
        self.joules: float | None = 0.0 if self.zones else None
        self.last = {zone: self._reading(zone / "energy_uj") for zone in self.zones}
        self.lock, self.over = threading.Lock(), threading.Event()
        if self.joules is not None:
            threading.Thread(target=self._watch, name="energy", daemon=True).start()

    def update(self) -> float | None:
        """The sum so far; None where a counter could not be read."""
        with self.lock:
            for zone in self.zones if self.joules is not None else ():
                used = self._used(zone)
                self.joules = None if used is None or self.joules is None else self.joules + used
            return self.joules

    def stop(self) -> float | None:
        """The sum; nothing is read any more."""
        self.over.set()
        return self.update()

    def _watch(self) -> None:
        while not self.over.wait(PAUSE):
            self.update()

    def _used(self, zone: Path) -> float | None:
        """Joules since the last reading. The counter starts again at 0 above its range."""
        now, before = self._reading(zone / "energy_uj"), self.last[zone]
        self.last[zone] = now
        if now is None or before is None:
            return None
        if now < before:
            most = self._reading(zone / "max_energy_range_uj")
            if most is None or most < before:
                return None
            now += most
        return (now - before) / 1e6

    def _reading(self, file: Path) -> int | None:
        try:
            return int(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.joules = None
            return None


def _is_package(zone: Path) -> bool:
    if not PACKAGE.fullmatch(zone.name):
        return False
    try:
        return (zone / "name").read_text(encoding="utf-8").startswith("package")
    except (OSError, ValueError):
        return False


def gpu_counter(device: torch.device) -> Callable[[], int] | None:
    """Reads the millijoules that a GPU has used since its driver was loaded.

    None where there is no GPU, no package ``nvidia-ml-py``, or the GPU does not count.
    """
    if device.type != "cuda":
        return None
    try:
        nvml: Any = __import__("pynvml")
        nvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # each version of the library and the driver has errors of its own
        return None
    return lambda: int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
