"""How the program ends: with the code of the command, its output written, nothing torn down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.catalogue import plain_catalogue

# What lives until the interpreter is taken apart says so; what was registered to run at exit runs.
PROGRAM = """
import atexit, os, sys
import mmx.cli
class Last:
    def __del__(self, write=os.write): write(2, b"torn down")
sys.last_of_all = Last()
command = mmx.cli.main
def main():
    atexit.register(lambda: print("at exit", file=sys.stderr))
    command()
mmx.cli.main = main
mmx.cli.program()
"""


def run(*arguments: str, where: Path, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=where, stdout=more.get("stdout", subprocess.PIPE), stderr=subprocess.PIPE,
        text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("info", "data"), 0, "at exit\n"),
        (("info", "nowhere"), 1, "mmx: error: "),
        (("info",), 2, "Missing argument"),
        (("info", "nowhere", "--debug"), 1, "Traceback"),
        (("--help",), 0, "at exit\n"),
    ],
)
def test_it_ends_with_the_code_and_is_not_taken_apart(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    plain_catalogue(tmp_path / "data", items=3)
    done = run(*arguments, where=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.endswith("at exit\n")
    assert bool(done.stdout) == (code == 0)
    assert "torn down" not in done.stderr


def test_output_that_cannot_be_written_is_a_mistake(tmp_path: Path) -> None:
    plain_catalogue(tmp_path / "data", items=3)
    with open("/dev/full", "w") as full:
        done = run("info", "data", where=tmp_path, stdout=full)
    assert done.returncode == 1
    assert "mmx: error: the output cannot be written: No space left on device; free" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_argument_that_is_not_utf8_is_a_mistake(tmp_path: Path) -> None:
    """A shell passes any bytes on."""
    plain_catalogue(tmp_path / "data", items=3)
    done = run("sql", "select 1 as a", "--out", "\udcff.parquet", where=tmp_path)
    assert done.returncode == 1
    said = "mmx: error: the argument '\\udcff.parquet' is not UTF-8; write it as UTF-8"
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_tables_on_this_machine_are_read_without_a_python_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmx.data.dataset import load_items

    plain_catalogue(tmp_path / "data", items=3)
    monkeypatch.delattr(Path, "open")
    assert len(load_items(tmp_path / "data")) == 3
