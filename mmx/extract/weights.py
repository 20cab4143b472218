"""Weights from a file: read safely, checked strictly, known by their SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmx.errors import EncoderError, first_few, first_line
from mmx.extract.hub import quiet

if TYPE_CHECKING:
    import torch

PICKLED = (".pt", ".pth", ".bin")
NESTINGS = ("state_dict", "model_state_dict", "model", "module", "net", "weights")
PREFIXES = ("module.", "_orig_mod.")  # of torch's DataParallel and compile


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The parameters in a checkpoint file, by name, on the CPU.

    Safetensors, or a pickle of tensors only (.pt, .pth, .bin). Usual wrappings such as
    {"state_dict": ...} and "module." before every name are removed. Raises EncoderError.
    """
    if path.suffix == ".safetensors":
        content = _read_safetensors(path)
    elif path.suffix in PICKLED:
        content = _read_pickle(path)
    else:
        raise EncoderError(f"--weights {path} must end in .safetensors, {', '.join(PICKLED)}")
    state = _unwrapped(content)
    foreign = [name for name, value in state.items() if not hasattr(value, "untyped_storage")]
    if foreign or not state:
        raise EncoderError(
            f"--weights {path} is not a state dict: "
            + (f"{first_few(foreign)} is not a tensor" if foreign else "it holds no tensors")
        )
    return state


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise EncoderError(f"--weights {path} is unreadable ({first_line(error)[:120]})") from error


def _read_pickle(path: Path) -> Any:
    import torch

    try:
        with quiet():
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler raises nearly anything on broken bytes
        text = str(error)
        if "TorchScript" in text:
            raise EncoderError(
                f"--weights {path} is a TorchScript program; save its state_dict() as safetensors"
            ) from error
        if "GLOBAL" in text or "Unsupported class" in text:
            raise EncoderError(
                f"--weights {path} holds Python objects besides tensors, which may run code; "
                "save its state_dict() as safetensors"
            ) from error
        raise EncoderError(f"--weights {path} is unreadable ({first_line(error)[:120]})") from error


def _unwrapped(content: Any) -> dict[str, Any]:
    inner = next(
        (content[k] for k in NESTINGS if _is_dict(content) and _is_dict(content.get(k))), 0
    )
    if _is_dict(inner):
        return _unwrapped(inner)
    state = dict(content) if _is_dict(content) else {}
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            return _unwrapped({name.removeprefix(prefix): state[name] for name in state})
    return state


def _is_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def load_strictly(
    model: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    *,
    source: str,
    architecture: str,
    heads: tuple[str, ...] = (),
) -> None:
    """Put every parameter of ``state`` into its place in ``model``.

    Names that begin with one of ``heads`` may be left over: a classifier that is not used.
    Batch counters, which no vector depends on, may be absent. Raises EncoderError in one line
    when anything else is missing, left over or of another shape.
    """
    wanted = model.state_dict()
    given = {k: v for k, v in state.items() if k in wanted or not _under(k, heads)}
    complaints = _complaints(wanted, given)
    if complaints:
        raise EncoderError(
            f"{source} does not fit {architecture}: {'; '.join(complaints)}; "
            "name the architecture it was trained as"
        )
    model.load_state_dict(given, strict=False)


def _under(name: str, heads: tuple[str, ...]) -> bool:
    return any(name == head or name.startswith(head + ".") for head in heads)


def _complaints(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    missing = [k for k in wanted if k not in given and not k.endswith("num_batches_tracked")]
    unknown = [k for k in given if k not in wanted]
    reshaped = [
        f"{k} is {tuple(v.shape)}, not {tuple(wanted[k].shape)}"
        for k, v in given.items()
        if k in wanted and v.shape != wanted[k].shape
    ]
    kinds = [(missing, "missing"), (unknown, "unknown"), (reshaped, "of another shape")]
    return [f"{len(names)} {kind} ({first_few(names)})" for names, kind in kinds if names]


def parameters_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256, in hex, over the names, types, shapes and values of all parameters.

    Names are taken in sorted order, so that it depends only on the parameters.
    """
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
