"""Which device computes: the one ``--device`` names; ``auto`` is a GPU where there is one."""

from __future__ import annotations

import gc
import os
import sys
from functools import cache
from typing import TYPE_CHECKING

from mmx.errors import OptionError, first_line
from mmx.kinds import must_be
from mmx.logs import log_line

if TYPE_CHECKING:  # torch takes seconds to import, and most commands have no use for it
    import torch

AUTO, CPU = "auto", "cpu"
DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # of NVIDIA, under WSL, of AMD


def usable_device(name: str | torch.device) -> torch.device:
    """The device that ``--device`` names; ``auto`` is a CUDA GPU that works, or else the CPU.

    Raises OptionError where torch does not know the name or this machine lacks the device.
    """
    import torch

    if isinstance(name, torch.device):
        name = str(name)
    must_be("--device", name, str)
    if name == AUTO:
        return torch.device("cuda" if _gpu_works() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OptionError(f"--device {name} is unknown to torch; here: {_here()}") from None
    there = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= there:
        raise OptionError(f"--device {name}: no such device; here: {_here()}")
    if device.type not in ("cpu", "cuda"):
        _try(device)
    return device


def multiplying_device(name: str) -> str:
    """The CPU or CUDA GPU that ``--device`` names, where only matrices are multiplied.

    torch is imported only where there may be a GPU. Raises OptionError as ``usable_device`` does,
    and for another kind of device.
    """
    must_be("--device", name, str)
    may = "torch" in sys.modules or any(map(os.path.exists, DRIVERS))
    if name == CPU or (name == AUTO and not may):
        return CPU
    device = usable_device(name)
    if device.type not in ("cpu", "cuda"):
        raise OptionError(f"--device {name}: cpu, cuda or auto is expected here")
    return CPU if device.type == "cpu" else str(device)


def _here() -> str:
    """What ``--device`` takes on this machine, as a message lists it."""
    import torch

    gpus = [f"cuda:{n}{_called(n)}" for n in range(torch.cuda.device_count())]
    apple = ["mps"] if torch.backends.mps.is_available() else []
    return ", ".join([AUTO, "cpu", *gpus, *apple])


def _called(gpu: int | torch.device) -> str:
    """The GPU's name in brackets, of one that has a working driver."""
    import torch

    try:
        return f" ({torch.cuda.get_device_name(gpu)})"
    except Exception:  # each fault of a driver has its own
        return ""


@cache
def _gpu_works() -> bool:
    """Whether each process of this machine can compute on a GPU of its own.

    A GPU may be there that this build of torch has no code for, or that another program has
    taken whole: the CPU is used then, and a line says so.
    """
    import torch

    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes that torchrun started
    if not torch.cuda.is_available():
        return False
    if (there := torch.cuda.device_count()) < here:
        log_line(f"{here} processes for {there} GPUs: the CPU computes; start fewer for the GPUs")
        return False
    try:
        _try(torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))))
    except OptionError as error:
        log_line(str(error).replace("--device", "the device"))
        return False
    return True


def described(device: str | torch.device) -> str:
    """The device as a line for the user has it: "cuda:0 (NVIDIA H100)", "cpu (8 threads)"."""
    import torch

    found = usable_device(device) if isinstance(device, str) else device
    if found.type == "cuda":
        return f"{found}{_called(found)}"
    if found.type == "cpu":
        count = torch.get_num_threads()
        return f"cpu ({count} thread{'s' if count > 1 else ''})"
    return str(found)


def give_back_memory() -> None:
    """Free the GPU memory that torch keeps for later and nothing uses; imports no torch."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _try(device: torch.device) -> None:
    """Raise OptionError when a device computes nothing here; "meta" never does."""
    import torch

    try:
        torch.zeros(1, device=device).item()
    except Exception as error:  # each back end has its own
        reason = first_line(error).partition(". ")[0]
        raise OptionError(
            f"--device {device} cannot be used ({reason}); here: {_here()}"
        ) from error


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The same numbers on the device, if they are not there; no GPU is waited for.

    They are page-locked on the way, since a copy from other memory may wait until the GPU has done
    all that it was given before.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
