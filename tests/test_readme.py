"""The first page, word for word: its commands and its Python run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(heading: str, page: str) -> list[str]:
    """The code blocks under one heading."""
    section = re.split(r"^## ", page, flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(heading)]
    return re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory as ``make demo`` leaves one: the demo, and the plans beside it."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "plans").symlink_to(ROOT / "plans")
    run("mmx demo", folder)
    return folder


def run(line: str, folder: Path) -> str:
    """One line of the shell; what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_command_line(clone: Path) -> None:
    (block,) = blocks("From the command line", (ROOT / "README.md").read_text(encoding="utf-8"))
    export, *lines = block.splitlines()
    assert export.startswith("export MMX_DATA=")
    assert len(lines) <= 10
    for line in lines:
        run(f"{export}\n{line}", clone)
    assert (clone / "runs/vbpr-clip-mini/metrics.json").exists()


@pytest.mark.slow
def test_the_python(clone: Path) -> None:
    (block,) = blocks("From Python", (ROOT / "README.md").read_text(encoding="utf-8"))
    (clone / "first.py").write_text(block, encoding="utf-8")
    printed = run("python first.py", clone).splitlines()
    assert re.match(r"0\.\d+", printed[0])
    assert [line.split()[0] for line in printed[1:6]] == ["1", "2", "3", "4", "5"]


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for name in re.findall(r"^make (\w+)", page, re.MULTILINE):
        assert name in targets
