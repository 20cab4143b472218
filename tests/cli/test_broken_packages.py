"""A package that is absent, broken or of another version is one line that names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmx.data.dataset import load_items
from mmx.extract.encoders import open_encoder
from mmx.extract.pipeline import extract
from mmx.packages import broken_package
from tests.catalogue import plain_catalogue, random_log, write_interactions

pytestmark = pytest.mark.slow

NMS = "raise RuntimeError('operator torchvision::nms does not exist')"
SYMBOL = "raise OSError('libx.so: undefined symbol: _ZN3c10')"


def refused(folder: Path, modules: dict[str, str], *arguments: str) -> str:
    """The one line of a command that meets modules of these contents first on its path."""
    for name, content in modules.items():
        (folder / "fakes" / name).mkdir(parents=True)
        (folder / "fakes" / name / "__init__.py").write_text(content)
    path = [str(folder / "fakes"), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "mmx", *arguments, "-q"], cwd=folder, capture_output=True, text=True,
        timeout=180, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("mmx: error: ")
    return line.removeprefix("mmx: error: ")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    plain_catalogue(tmp_path / "d", items=8)
    write_interactions(tmp_path / "d", random_log(6, 8, 5))
    extract(load_items(tmp_path / "d"), open_encoder("toy"), tmp_path / "d/toy.parquet")
    return tmp_path


@pytest.mark.parametrize("content", [NMS, SYMBOL, "import torch.nothing_of_this_name"])
def test_torchvision_that_does_not_fit_torch(folder: Path, content: str) -> None:
    command = "extract --model clip:mini --data d --out out.parquet"
    said = refused(folder, {"torchvision": content}, *command.split())
    assert said.startswith("torchvision cannot be imported (")
    assert "it must fit torch 2." in said
    assert said.endswith(": pip install --upgrade torch torchvision")


@pytest.mark.parametrize(
    ("package", "command", "mend"),
    [
        ("torchvision", "extract --model torchvision:resnet50", "torch torchvision"),
        ("open_clip", "extract --model clip:mini", "open_clip_torch"),
        ("open_clip", "finetune --model clip:mini", "open_clip_torch"),
        ("transformers", "extract --model clip:hf:nobody/nothing", "transformers"),
        ("timm", "extract --model timm:resnet50", "timm"),
        ("sentence_transformers", "extract --model sbert:x", "sentence-transformers"),
        ("faiss", "train --model lattice --features d/toy.parquet", "faiss-"),
        ("torch", "train --model bpr", "torch"),
    ],
)
def test_each_package(folder: Path, package: str, command: str, mend: str) -> None:
    said = refused(folder, {package: SYMBOL}, *command.split(), "--data", "d", "--out", "new")
    assert said.startswith(f"{package} cannot be imported (OSError: libx.so: undefined symbol")
    assert f"pip install --upgrade {mend}" in said


def test_what_is_absent() -> None:
    missing = "raise ModuleNotFoundError(\"No module named 'timm'\", name='timm')"
    with pytest.raises(ModuleNotFoundError) as caught:
        exec(missing)
    assert broken_package(caught.value) == "timm is not installed; pip install --upgrade timm"


def test_what_another_version_lacks() -> None:
    with pytest.raises(ImportError) as caught:
        from transformers import NothingOfThisName  # noqa: F401
    said = broken_package(caught.value)
    assert said is not None
    assert said.startswith("transformers cannot be imported (ImportError: cannot import name")


def test_other_errors_are_none_of_it() -> None:
    for error in (RuntimeError("x"), ImportError("x"), ModuleNotFoundError("x", name="mmx.x")):
        assert broken_package(error) is None
