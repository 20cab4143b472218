"""Weights files that are refused: with code in them, broken, or of another model."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from mmx.errors import EncoderError, MmxError
from mmx.extract.vlmo import load
from tests.extract.tiny_checkpoint import STANDARD, published, saved


class Malicious:
    """Pickled, it wants to run a command when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("how", ["torch", "plain", "nested"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, how: str) -> None:
    path, proof = tmp_path / "evil.pt", tmp_path / "proof"
    state = published(STANDARD)
    content = {"state_dict": state, "callback": Malicious(proof)} if how == "nested" else None
    content = content or (state | {"x": Malicious(proof)})
    if how == "plain":
        path.write_bytes(pickle.dumps(Malicious(proof), protocol=2))
    else:
        torch.save(content, path)
    with pytest.raises(EncoderError, match=r"evil\.pt holds Python objects .*system") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert not proof.exists()


def broken(kind: str, path: Path) -> Path:
    whole = saved(path, published(STANDARD)).read_bytes()
    content = {
        "empty": b"",
        "one byte": b"P",
        "half": whole[: len(whole) // 2],
        "last byte lost": whole[:-1],
        "jpeg": b"\xff\xd8\xff\xe0" + bytes(range(256)) * 9,
        "html": b"<!DOCTYPE html><html>Not found</html>",
        "middle lost": whole[:2000] + whole[9000:],
    }
    path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize(
    "kind", ["empty", "one byte", "half", "last byte lost", "jpeg", "html", "middle lost"]
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_broken_file_is_one_clear_line(tmp_path: Path, kind: str, suffix: str) -> None:
    path = broken(kind, tmp_path / f"weights{suffix}")
    with pytest.raises(EncoderError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG: dict[str, Any] = {
    "a list": [torch.zeros(3)],
    "a tensor": torch.zeros(3),
    "no tensors": {"epoch": 3, "args": {"lr": 0.1}},
    "another model": {"conv1.weight": torch.zeros(3, 3), "fc.weight": torch.zeros(2, 2)},
    "an image transformer": {
        "transformer.cls_token": torch.zeros(1, 1, 8),
        "transformer.patch_embed.proj.weight": torch.zeros(8, 3, 16, 16),
    },
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, what: str) -> None:
    with pytest.raises(EncoderError, match=r"a\.pt (holds|is not a VLMo)") as caught:
        load(saved(tmp_path / "a.pt", WRONG[what]))
    assert "\n" not in str(caught.value)


def test_missing_foreign_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    def change(**values: Any) -> Path:
        state = published(STANDARD) | values
        return saved(tmp_path / "a.pt", {k: v for k, v in state.items() if v is not None})

    with pytest.raises(EncoderError, match=r"lacks transformer\.norm\.weight"):
        load(change(**{"transformer.norm.weight": None}))
    with pytest.raises(EncoderError, match=r"has transformer\.extra, which no VLMo has"):
        load(change(**{"transformer.extra": torch.zeros(2)}))
    with pytest.raises(EncoderError, match=r"transformer\.norm\.bias is \(3,\), expected \(8,\)"):
        load(change(**{"transformer.norm.bias": torch.zeros(3)}))
    with pytest.raises(EncoderError, match="relative positions are not a square"):
        load(change(relative_position_bias_table=torch.zeros(400, 6)))
    with pytest.raises(EncoderError, match="7 columns"):
        load(change(relative_position_bias_table=torch.zeros(422, 7)))
    load(change(**{"rank_output.weight": torch.zeros(2)}))  # a head mmx does not know is left out


def test_an_absent_file_or_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.pt"):
        with pytest.raises(MmxError, match="is not a file; set --weights"):
            load(path)
