"""Weights files: read safely, identified by content, refused in one line."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mmx.atomic import file_sha256
from mmx.errors import EncoderError
from mmx.extract.weights import (
    load_strictly,
    parameters_sha256,
    read_state_dict,
)

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, -2.0])}


def assert_state(got: dict[str, torch.Tensor]) -> None:
    assert sorted(got) == sorted(STATE)
    assert all(torch.equal(got[name], STATE[name]) for name in STATE)


def test_safetensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    assert_state(read_state_dict(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3},
        {"model": {"state_dict": STATE}},
        {f"module.{k}": v for k, v in STATE.items()},
        {"model_state_dict": {f"_orig_mod.module.{k}": v for k, v in STATE.items()}},
    ],
)
def test_pickles_and_their_wrappings(tmp_path: Path, suffix: str, content: object) -> None:
    path = tmp_path / f"w{suffix}"
    torch.save(content, path)
    assert_state(read_state_dict(path))
    torch.save(content, path, _use_new_zipfile_serialization=False)
    assert_state(read_state_dict(path))


class Harm:
    """Would create a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, zipped: bool) -> None:
    path, target = tmp_path / "w.pt", tmp_path / "harm"
    torch.save(
        {"state_dict": STATE, "x": Harm(target)}, path, _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(EncoderError, match="may run code; save its state_dict"):
        read_state_dict(path)
    assert not target.exists()
    path.write_bytes(pickle.dumps(Harm(target)))
    with pytest.raises(EncoderError):
        read_state_dict(path)
    assert not target.exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript_says_what_it_is(tmp_path: Path) -> None:
    module = torch.jit.trace(torch.nn.Linear(3, 2), torch.zeros(1, 3))
    torch.jit.save(module, tmp_path / "w.pt")
    with pytest.raises(EncoderError, match="TorchScript program; save its state_dict"):
        read_state_dict(tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_broken_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(STATE, path)
    else:
        save_file(STATE, path)
    whole = path.read_bytes()
    for broken in (whole[:-20], whole[:40], b"", b"version https://git-lfs.github.com/spec/v1\n"):
        path.write_bytes(broken)
        with pytest.raises(EncoderError, match="unreadable") as error:
            read_state_dict(path)
        assert "\n" not in str(error.value)


def test_a_safetensors_header_of_a_terabyte(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    with pytest.raises(EncoderError, match="unreadable"):
        read_state_dict(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "it holds no tensors"),
        ([1, 2], "it holds no tensors"),
        (STATE["bias"], "it holds no tensors"),
        ({"weight": STATE["weight"], "lr": 0.1}, "lr is not a tensor"),
    ],
)
def test_other_contents(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(EncoderError, match=message):
        read_state_dict(tmp_path / "w.pt")


def test_other_endings(tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(b"x")
    with pytest.raises(EncoderError, match=r"must end in .safetensors, .pt, .pth, .bin"):
        read_state_dict(tmp_path / "w.onnx")


def load(state: dict[str, torch.Tensor], heads: tuple[str, ...] = ()) -> torch.nn.Linear:
    model = torch.nn.Linear(3, 2)
    load_strictly(model, state, source="--weights w.pt", architecture="line", heads=heads)
    return model


def test_strict_loading() -> None:
    assert torch.equal(load(STATE).weight, STATE["weight"])
    head = {"fc.weight": torch.zeros(1), "fc": torch.zeros(1)}
    assert torch.equal(load(STATE | head, heads=("fc",)).bias, STATE["bias"])
    for state, message in [
        ({"weight": STATE["weight"]}, r"1 missing \(bias\)"),
        (STATE | head, r"2 unknown \(fc.weight, fc\)"),
        (STATE | {"fcx": torch.zeros(1)}, r"1 unknown \(fcx\)"),
        (STATE | {"bias": torch.zeros(3)}, r"1 of another shape \(bias is \(3,\), not \(2,\)\)"),
    ]:
        with pytest.raises(EncoderError, match=message):
            load(state, heads=("fc.",) if message.startswith("2") else ("fc",))


def test_only_batch_counters_may_be_absent() -> None:
    model = torch.nn.BatchNorm2d(3)
    state = {k: v for k, v in model.state_dict().items() if k != "num_batches_tracked"}
    load_strictly(model, state, source="w", architecture="norm")
    del state["running_mean"]
    with pytest.raises(EncoderError, match=r"1 missing \(running_mean\)"):
        load_strictly(model, state, source="w", architecture="norm")


def test_parameters_sha256_depends_on_the_parameters_and_nothing_else() -> None:
    digest = parameters_sha256(STATE)
    backwards = {name: STATE[name] for name in reversed(STATE)}
    strided = STATE | {"weight": STATE["weight"].T.contiguous().T}
    assert digest == parameters_sha256(backwards) == parameters_sha256(strided)
    changed = [
        {"weight": STATE["weight"], "Bias": STATE["bias"]},
        STATE | {"bias": torch.tensor([1.0, 2.0])},
        STATE | {"bias": STATE["bias"].double()},
        STATE | {"weight": STATE["weight"].reshape(3, 2)},
        STATE | {"count": torch.tensor(3)},
    ]
    others = {parameters_sha256(state) for state in changed}
    assert len(others) == len(changed)
    assert digest not in others
    assert parameters_sha256({"half": torch.zeros(2, dtype=torch.bfloat16)})


@pytest.mark.skipif(sys.byteorder != "little", reason="the bytes of this machine's floats")
def test_parameters_sha256_is_what_it_says() -> None:
    text = b"bias torch.float32 (2,)\n" + struct.pack("<2f", 1, -2)
    text += b"weight torch.float32 (2, 3)\n" + struct.pack("<6f", *range(6))
    assert parameters_sha256(STATE) == hashlib.sha256(text).hexdigest()


def test_file_sha256(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc" * 100_000)
    assert file_sha256(tmp_path / "f") == hashlib.sha256(b"abc" * 100_000).hexdigest()
