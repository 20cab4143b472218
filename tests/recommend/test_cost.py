"""What a run cost: made-up counters, and the figures of a real run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mmx.recommend import cost, energy
from mmx.recommend.cost import Meter, Peak, processor
from mmx.recommend.energy import Counters, gpu_counter
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions
from tests.catalogue import random_log, write_interactions, write_items

CPU = torch.device("cpu")


def zone(root: Path, name: str, label: str, used: object, most: object = 1000_000_000) -> Path:
    """A made-up folder of RAPL."""
    folder = root / name
    folder.mkdir(parents=True)
    for file, value in (("name", label), ("energy_uj", used), ("max_energy_range_uj", most)):
        if value is not None:
            (folder / file).write_text(f"{value}\n")
    return folder


def test_packages_are_summed_and_a_counter_may_start_again(tmp_path: Path) -> None:
    one = zone(tmp_path, "intel-rapl:0", "package-0", 990_000_000)
    two = zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    inner = zone(tmp_path, "intel-rapl:0:0", "core", 1)
    other = zone(tmp_path, "intel-rapl:2", "psys", 1)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 1)
    counters = Counters(tmp_path)
    assert counters.zones == [one, two]
    for folder in (inner, other):
        (folder / "energy_uj").write_text("999999\n")
    (one / "energy_uj").write_text("20000000\n")  # 10 J up to the range, 20 J after it
    (two / "energy_uj").write_text("8000000\n")
    assert counters.update() == pytest.approx(30 + 3)
    (one / "energy_uj").write_text("19000000\n")  # once more around
    assert counters.stop() == pytest.approx(33 + 999)
    assert counters.over.is_set()


def test_it_is_read_between_so_that_no_turn_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "PAUSE", 0.001)
    one = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    counters = Counters(tmp_path)
    (one / "energy_uj").write_text("5000000\n")
    for _ in range(10_000):
        if counters.last[one] == 5_000_000:
            break
        energy.threading.Event().wait(0.001)
    assert counters.stop() == 5.0


@pytest.mark.parametrize("broken", ["missing", "text", "later", "no range", "wrong range", "one"])
def test_what_cannot_be_read_is_no_figure(tmp_path: Path, broken: str) -> None:
    one = zone(tmp_path, "intel-rapl:0", "package-0", 50, {"no range": None, "wrong range": 7}.get(
        broken, 1000))  # fmt: skip
    two = zone(tmp_path, "intel-rapl:1", "package-1", 50)
    if broken in ("missing", "one"):
        (two / "energy_uj").unlink()
    if broken == "text":
        (one / "energy_uj").write_text("not a number")
    counters = Counters(tmp_path)
    if broken == "later":
        (one / "energy_uj").unlink()
    if "range" in broken:
        (one / "energy_uj").write_text("1")
    assert counters.update() is None
    (one / "energy_uj").write_text("60")  # readable again: the time between is lost
    assert counters.stop() is None


def test_a_machine_without_counters(tmp_path: Path) -> None:
    assert Counters(tmp_path / "nowhere").stop() is None
    zone(tmp_path, "intel-rapl:0", "psys", 1)
    assert Counters(tmp_path).stop() is None


def test_a_gpu_s_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_counter(CPU) is None
    readings = iter([100, 2100, 7100])
    asked: list[str] = []
    nvml: Any = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: asked.append(uuid) or "handle",
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(readings),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="ab-cd")
    )
    read = gpu_counter(torch.device("cuda"))
    assert read is not None
    assert asked == ["GPU-ab-cd"]
    meter = Meter(CPU)
    meter.gpu_energy, meter.before = read, read()
    assert meter._gpu_joules() == 5.0
    assert meter._gpu_joules() is None  # the GPU is lost
    meter.gpu_energy = lambda: 3
    assert meter._gpu_joules() is None  # the driver was loaded again
    meter.stop()
    nvml.nvmlInit = lambda: 1 / 0
    assert gpu_counter(torch.device("cuda")) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_counter(torch.device("cuda")) is None


@pytest.mark.parametrize(
    ("before", "after", "reached"),
    [((100, 100), (180, 120), 180), ((100, 50), (100, 60), None), ((100, 50), (120, 60), 120),
     ((100, 99), (100, 60), 100), (None, (1, 1), None), ((1, 1), None, None)],
)  # fmt: skip
def test_a_peak_is_that_of_the_run(before: Any, after: Any, reached: int | None) -> None:
    readings = iter([before, after])
    assert Peak(lambda: next(readings)).reached() == reached


def test_a_resumed_run_has_no_figures_of_one_process() -> None:
    history = [{"seconds": 1.0, "evaluation_seconds": 0.5}, {"seconds": 2.0}]
    meter = Meter(CPU)
    found = meter.record(history, 0.25, 7, resumed=False)
    assert (found["training_seconds"], found["evaluation_seconds"]) == (3.0, 0.75)
    assert found["seconds"] >= 0
    assert (found["parameters"], found["resumed"]) == (7, False)
    assert found["device"].startswith("cpu (")
    again = meter.record(history, 0.25, 7, resumed=True)
    assert again["training_seconds"] == 3.0
    assert {name for name in again if again[name] is None} >= set(cost.OF_A_PROCESS)
    json.dumps(found)


def test_the_peak_of_this_process() -> None:
    if cost._memory() is None:
        pytest.skip("this machine does not tell it")
    cost.reset_peaks()
    peak = Peak(cost._memory)
    held = np.ones(60 << 17)  # 60 MiB
    reached = peak.reached()
    assert reached is not None
    assert reached >= held.nbytes
    assert peak.before is not None
    assert reached - peak.before[1] < 50 * held.nbytes


def test_a_run_keeps_what_it_cost(tmp_path: Path) -> None:
    write_items(tmp_path / "data", [{"item_id": f"i{n}"} for n in range(20)])
    write_interactions(tmp_path / "data", random_log(12, 20, 8))
    few = TrainOptions(epochs=2, device="cpu")
    job = TrainJob(tmp_path / "data", "bpr", training=few, settings=["dim=8"])
    found = fit(job, tmp_path / "bpr").config["cost"]
    assert found["parameters"] == 8 * (12 + 20) + 20  # and a bias for each item
    assert 0 < found["training_seconds"] < found["seconds"]
    assert found["evaluation_seconds"] > 0
    assert found["gpu_peak_memory_bytes"] is None
    memory = found["peak_memory_bytes"]
    assert memory is None or memory > 10 << 20
    ease = fit(TrainJob(tmp_path / "data", "ease"), tmp_path / "ease").config["cost"]
    assert ease["parameters"] == 20 * 20
    assert not [one for one in energy.threading.enumerate() if one.name == "energy"] or (
        found["cpu_joules"] is not None
    )


def test_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "PROCESSORS", tmp_path / "cpuinfo")
    assert processor() is None
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: Fast 9000 @ 3 GHz\nx : y\n")
    assert processor() == "Fast 9000 @ 3 GHz"
