"""Files of tensors are mapped, and keep what was read when the file is replaced."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from mmx.atomic import replacing
from mmx.torch_files import load_checked, save_checked


def own_memory() -> int:
    """Bytes that this process holds and that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_holds_no_copy(tmp_path: Path) -> None:
    save_checked({"x": torch.ones(8 << 20)}, tmp_path / "a")
    save_checked({"x": torch.ones(2)}, tmp_path / "small")
    load_checked(tmp_path / "small")  # what loads once
    before = own_memory()
    found = load_checked(tmp_path / "a")["x"]
    assert found.sum() == 8 << 20
    assert own_memory() - before < 16 << 20


def test_what_was_loaded_may_change_and_the_file_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_checked({"x": torch.arange(5.0)}, path)
    kept, changed = load_checked(path)["x"], load_checked(path)["x"]
    changed += 1
    assert load_checked(path)["x"].tolist() == kept.tolist() == [0, 1, 2, 3, 4]
    with replacing(path) as temporary:
        save_checked({"x": torch.zeros(5)}, temporary)
    assert kept.tolist() == [0, 1, 2, 3, 4]
    assert changed.tolist() == [1, 2, 3, 4, 5]
    path.unlink()
    assert kept.sum() == 10
