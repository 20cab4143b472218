"""Open a weights file without running anything that is in it."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mmx.errors import EncoderError, first_line

NESTINGS = ("state_dict", "module", "model")  # Lightning, DeepSpeed, plain; looked up in this order


def open_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pt`` or ``.safetensors`` file by name; floating ones as float32.

    Raises EncoderError, in one line, for a file that is absent, truncated, not a weights file,
    or holds anything but plain data and tensors.
    """
    if not path.is_file():
        raise EncoderError(f"{path} is not a file; set --weights to the checkpoint")
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    state = {
        str(name).removeprefix("module."): _plain(value)
        for name, value in _innermost(content).items()
        if isinstance(value, Tensor)
    }
    if not state:
        raise EncoderError(f"{path} holds no named tensors; set --weights to a VLMo checkpoint")
    return state


def _innermost(content: Mapping[str, object]) -> Mapping[str, object]:
    for nesting in NESTINGS:
        inner = content.get(nesting)
        if isinstance(inner, Mapping):
            return inner
    return content


def _plain(value: Tensor) -> Tensor:
    return value.detach().float() if value.is_floating_point() else value.detach()


def _safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:
        raise EncoderError(_unreadable(path, "a safetensors file", error)) from error


def _pickled(path: Path) -> Mapping[str, object]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise EncoderError(_refusal(path, error)) from error
    except Exception as error:  # whatever broken bytes make torch.load raise
        raise EncoderError(_unreadable(path, "a PyTorch file", error)) from error
    if not isinstance(content, Mapping):
        kind = type(content).__name__
        raise EncoderError(f"{path} holds a {kind}, not named tensors; set --weights to a VLMo")
    return content


def _refusal(path: Path, error: Exception) -> str:
    """One line for what ``weights_only=True`` refused, with the name that it refused."""
    found = re.search(r"GLOBAL ([\w.]+)|(?:function|class|type) ['<]*([\w.]+)", str(error))
    if found is None:
        return _unreadable(path, "a PyTorch file", error)
    name = found.group(1) or found.group(2)
    return (
        f"{path} holds Python objects besides tensors ({name}), which mmx never runs; "
        "set --weights to a file with the state dict alone"
    )


def _unreadable(path: Path, expected: str, error: Exception) -> str:
    first = first_line(error)[:120]
    size = path.stat().st_size
    return (
        f"{path} ({size} bytes) cannot be read as {expected}; it may be truncated or something "
        f"else: download it again ({first})"
    )
