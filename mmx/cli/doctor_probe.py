"""What `mmx doctor` tries in processes of its own: imports and devices.

A package that crashes its process or never returns is a line of the result, too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import import_module
from typing import Any

from mmx.errors import first_line

PATIENCE = 300.0  # seconds for all imports; a cold disk takes long
PAIR = "pip install --upgrade torch torchvision"  # one has to be built for the other
PAIR_FOR_CPU = (  # which PyPI does not have for Linux
    "pip install --upgrade torch torchvision --index-url https://download.pytorch.org/whl/cpu"
)
MARK = "mmx doctor: "  # before our lines; packages print things, too

Row = tuple[str, str, str]  # check, found, to do


def try_imports(names: list[str]) -> dict[str, str]:
    """Import every module; module → what went wrong in one line, "" for nothing.

    A module that ends the process is named, and the next process continues after it.
    """
    tried: dict[str, str] = {}
    while left := [name for name in dict.fromkeys(names) if name not in tried]:
        lines, end = _child("import_all", left)
        tried.update(json.loads(line) for line in lines)
        if stuck := [name for name in left if name not in tried]:  # it may leave with 0, too
            tried[stuck[0]] = f"{stuck[0]} cannot be imported ({end or 'it ends the process'})"
    return tried


def devices() -> list[Row]:
    """The GPUs, or why there is none, and the CPU. torch has to be importable."""
    lines, end = _child("print_devices", None)
    if end or not lines:
        return [("devices", f"torch cannot list them: {end}", PAIR)]
    return [(check, found, to_do) for check, found, to_do in json.loads(lines[-1])]


def _child(function: str, argument: object) -> tuple[list[str], str]:
    """Run a function of this module in a process that has our import path.

    Returns its marked lines, and how it ended: "" for well.
    """
    script = "import json, sys; sys.path[:], name, argument = json.loads(sys.argv[1]); "
    script += "from mmx.cli import doctor_probe; getattr(doctor_probe, name)(argument)"
    command = [sys.executable, "-P", "-c", script, json.dumps([sys.path, function, argument])]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        return _marked(error.stdout or b""), f"no end within {PATIENCE:.0f} s"
    code = done.returncode
    end = f"signal {-code} ends the process" if code < 0 else f"exit code {code}" if code else ""
    return _marked(done.stdout), end


def _marked(printed: bytes) -> list[str]:
    lines = printed.decode(errors="replace").splitlines()
    return [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]


def _tell(value: object) -> None:
    print(f"\n{MARK}{json.dumps(value)}", flush=True)


# In the child


def import_all(names: list[str]) -> None:
    """Import each and print (name, what went wrong or "")."""
    for name in names:
        try:
            import_module(name)
            said = ""
        except Exception as error:
            said = _trouble(name, error)
        _tell((name, said))


def _trouble(name: str, error: Exception) -> str:
    """One line that begins with the module that is at fault."""
    from mmx.packages import broken_package

    line = (broken_package(error) or "").rpartition("; ")[0]  # without its advice
    return line or f"{name} cannot be imported ({type(error).__name__}: {first_line(error)})"


def print_devices(_: object) -> None:
    """Print the rows on GPUs and the CPU."""
    import torch

    gpus = [_gpu(torch, index) for index in range(torch.cuda.device_count())]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpu = f"{torch.get_num_threads()} threads, {cores} cores; {_bfloat16('cpu')}"
    _tell([*(gpus or [("gpu", *_no_gpu(torch))]), ("cpu", cpu, "")])


def _gpu(torch: Any, index: int) -> Row:
    facts = torch.cuda.get_device_properties(index)
    memory = f"{facts.total_memory / 2**30:.1f} GiB"
    return f"gpu cuda:{index}", f"{facts.name}, {memory}; {_bfloat16(f'cuda:{index}')}", ""


def _bfloat16(device: str) -> str:
    import torch

    from mmx.extract.encoders.hardware import Hardware

    fast = Hardware(torch.device(device), torch.float32).fast_precision
    return {"bfloat16": "native bfloat16", "float16": "native float16, no native bfloat16"}.get(
        fast, "no native bfloat16"
    )


def _no_gpu(torch: Any) -> tuple[str, str]:
    """Why there is none, and what to do where the driver's tool shows that there should be."""
    driver = shutil.which("nvidia-smi") is not None
    if not (torch.version.cuda or torch.version.hip):
        if torch.backends.mps.is_available():
            return "Apple GPU: --device mps", ""
        return f"none: torch {torch.__version__} is a build for the CPU", PAIR if driver else ""
    try:
        torch.cuda.init()
        why = "torch finds no device"
    except Exception as error:
        why = first_line(error).partition(". ")[0]
    return f"none: {why}", "update the NVIDIA driver" if driver else ""
