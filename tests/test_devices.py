"""Which device --device means, and what a job records of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import accelerate
import pytest
import torch

import mmx.devices
from mmx.devices import described, multiplying_device, sent, usable_device
from mmx.errors import OptionError
from mmx.extract.workers.processes import spread
from mmx.extract.workers.ray_cluster import takes_gpus
from mmx.processes import _must_have_gpus
from tests.catalogue import plain_catalogue


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What was found of the GPUs is forgotten before and after."""
    mmx.devices._gpu_works.cache_clear()
    yield
    mmx.devices._gpu_works.cache_clear()


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs, as far as torch is asked."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(mmx.devices, "_try", lambda device: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")


@pytest.mark.usefixtures("gpus")
def test_auto_is_a_gpu_where_there_is_one() -> None:
    assert usable_device("auto") == torch.device("cuda")
    assert described("auto") == "cuda (NVIDIA H100)"
    assert usable_device("cpu") == torch.device("cpu")


def test_auto_is_the_cpu_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert usable_device("auto") == torch.device("cpu")
    assert described("auto").startswith("cpu (")


@pytest.mark.usefixtures("gpus")
def test_matrices_are_multiplied_on_a_gpu_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [multiplying_device(name) for name in ("cpu", "cpu:0", "cuda", "cuda:1", "auto")] == [
        "cpu", "cpu", "cuda", "cuda:1", "cuda",
    ]  # fmt: skip
    monkeypatch.setattr(mmx.devices, "usable_device", lambda name: torch.device("mps"))
    with pytest.raises(OptionError, match="--device mps: cpu, cuda or auto is expected here"):
        multiplying_device("mps")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "meta", "cuda:9", "cpu:3", "xpu", "mps"])
@pytest.mark.parametrize("gpus", [0, 2])
def test_a_device_that_is_not_here_is_refused_with_those_that_are(
    name: str, gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda gpu: f"H{gpu + 100}")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    listed = "here: auto, cpu" + (", cuda:0 (H100), cuda:1 (H101)" if gpus else "")
    with pytest.raises(OptionError, match=f"^--device {name} ?.*{re.escape(listed)}$") as caught:
        usable_device(name)
    assert "\n" not in str(caught.value)


def test_a_gpu_whose_driver_fails_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(gpu: object) -> str:
        raise RuntimeError("CUDA unknown error")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", broken)
    with pytest.raises(OptionError, match=r"here: auto, cpu, cuda:0$"):
        usable_device("cuda:1")


@pytest.mark.usefixtures("gpus")
def test_one_process_leaves_auto_to_the_encoder_and_several_share_the_gpus() -> None:
    assert spread("auto", None) == ("auto",)
    assert spread("auto", 3) == ("cuda:0", "cuda:1", "cuda:0")


def test_several_processes_share_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert spread("auto", 2) == ("cpu", "cpu")


def test_ray_reserves_the_gpus_of_its_cluster() -> None:
    assert takes_gpus("auto", [{"CPU": 4}, {"CPU": 4, "GPU": 1}])
    assert not takes_gpus("auto", [{"CPU": 4}])
    assert not takes_gpus("cpu", [{"GPU": 1}])


@pytest.mark.usefixtures("gpus")
def test_auto_needs_a_gpu_for_each_process_of_torchrun(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert usable_device("auto").type == "cuda"
    mmx.devices._gpu_works.cache_clear()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with caplog.at_level("INFO", logger="mmx"):
        assert usable_device("auto").type == usable_device("auto").type == "cpu"
    assert caplog.text.count("3 processes for 2 GPUs: the CPU computes") == 1
    with pytest.raises(OptionError, match="3 processes for 2 GPUs"):
        _must_have_gpus(torch.device("cuda"))


@pytest.mark.usefixtures("gpus")
def test_each_process_of_torchrun_opens_the_encoder_on_its_own_gpu_and_waits_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first process writes for longer than the ten minutes of NCCL."""
    given: dict[str, Any] = {}

    class State:
        process_index, num_processes, device = 1, 2, torch.device("cuda", 1)

        def __init__(self, **options: Any) -> None:
            given.update(options)

    def opened(name: str, **options: Any) -> None:
        given.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(accelerate, "PartialState", State)
    monkeypatch.setattr("mmx.extract.finetune.api.open_encoder", opened)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(KeyboardInterrupt):
        mmx.finetune(plain_catalogue(tmp_path / "data", 8), "clip:mini", tmp_path / "run")
    assert given["device"] == "cuda:1"
    assert given["timeout"] >= timedelta(days=1)
    assert given["cpu"] is False


@pytest.mark.usefixtures("gpus")
def test_a_gpu_that_computes_nothing_is_left_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(device: torch.device) -> None:
        raise OptionError("--device cuda:0 cannot be used (no kernel image); use cpu")

    monkeypatch.setattr(mmx.devices, "_try", broken)
    with caplog.at_level("INFO", logger="mmx"):
        assert usable_device("auto").type == "cpu"
    assert "no kernel image" in caplog.text


@pytest.mark.usefixtures("gpus")
def test_an_encoder_of_the_cpu_takes_auto_on_a_machine_with_gpus(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path / "data", 3)
    report = mmx.encode(data, "toy", tmp_path / "toy.parquet", device="auto")
    assert report.encoded == 3


def test_a_device_of_torch_is_one_by_its_name() -> None:
    assert usable_device(torch.device("cpu")) == torch.device("cpu")


def test_what_is_sent_to_a_gpu_is_page_locked_first() -> None:
    """From other memory a copy may wait for the GPU, whatever ``non_blocking`` says."""
    gpu = torch.device("cuda", 1)
    tensor = mock.Mock(spec=torch.Tensor, device=torch.device("cpu"))
    assert sent(tensor, gpu) is tensor.pin_memory.return_value.to.return_value
    tensor.pin_memory.return_value.to.assert_called_once_with(gpu, non_blocking=True)
    there = mock.Mock(spec=torch.Tensor, device=gpu)
    assert sent(there, gpu) is there.to.return_value
    there.pin_memory.assert_not_called()
    numbers = torch.arange(3)
    assert sent(numbers, torch.device("cpu")) is numbers
