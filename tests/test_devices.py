"""Which device --device means, and what a job records of it."""

from __future__ import annotations

import pytest
import torch

from mmx.devices import described, usable_device
from mmx.errors import OptionError
from mmx.extract.workers.processes import spread
from mmx.extract.workers.ray_cluster import actor_device


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs, as far as torch is asked."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
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


@pytest.mark.parametrize("name", ["gpu", "cuda:x", ""])
def test_an_unknown_name_is_refused_with_those_that_work(name: str) -> None:
    with pytest.raises(OptionError, match="auto, cpu or cuda"):
        usable_device(name)


@pytest.mark.usefixtures("gpus")
def test_one_process_leaves_auto_to_the_encoder_and_several_share_the_gpus() -> None:
    assert spread("auto", None) == ("auto",)
    assert spread("auto", 3) == ("cuda:0", "cuda:1", "cuda:0")


def test_several_processes_share_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert spread("auto", 2) == ("cpu", "cpu")


def test_ray_uses_the_gpus_of_its_cluster() -> None:
    assert actor_device("auto", [{"CPU": 4}, {"CPU": 4, "GPU": 1}]) == "cuda"
    assert actor_device("auto", [{"CPU": 4}]) == "cpu"
    assert actor_device("cpu", [{"GPU": 1}]) == "cpu"
