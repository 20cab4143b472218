"""A command in a forked process is what it is in one that Python starts."""

from __future__ import annotations

import os
import subprocess
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.catalogue import write_interactions, write_items
from tests.fork_server import run_mmx, server, started_mmx

FACTS = """
import atexit, os, signal, sys, threading
main = sys.modules["__main__"]
print(sys.argv, sys.path, os.getcwd(), sorted(os.environ.items()), main.__spec__.name)
rest = {"open_clip", "pandas", "timm", "torch._dynamo", "torchvision", "transformers"}
print(sorted(rest & {*sys.modules}), threading.active_count())
print([signal.getsignal(number) for number in (2, 13)], signal.getsignal(15).__name__)
for file in (sys.stdin, sys.stdout, sys.stderr):
    print(file.isatty(), file.encoding, file.errors, file.line_buffering)
os.write(2, b"written to the file\\n")
atexit.register(print, "the end")
"""
KILLED = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset, and models whose code says what a process is, kills it, and waits."""
    folder = tmp_path_factory.mktemp("here")
    write_items(folder / "data", [{"item_id": "a"}])
    write_interactions(folder / "data", [("u", "a")])
    for name, code in (("facts", FACTS), ("killed", KILLED), ("asleep", "while True: pass")):
        (folder / f"{name}.py").write_text(code)
    return folder


def command(name: str, model: str) -> list[str]:
    return [name, "--data", "data", "--model", f"{model}.py:Mine"]


@pytest.mark.parametrize(
    "arguments",
    [
        command("extract", "facts"),
        command("train", "killed"),
        ["train", "--modle", "x"],
        ["sql", "select 'ü' as a"],
    ],
    ids=["facts", "killed", "usage", "sql"],
)
def test_it_is_the_same(here: Path, arguments: list[str]) -> None:
    environment = {**os.environ, "MMX_X": "1"}  # once: a thread of an earlier test may change it
    one, other = (run(arguments, here, environment) for run in RUNS)
    assert one.args != other.args  # the second is Python's
    for text, same in ((one.stdout, other.stdout), (one.stderr, other.stderr)):
        lines = zip_longest(text.splitlines(), same.splitlines())
        assert [differing(a or "", b or "") for a, b in lines if a != b] == []
    assert one.returncode == other.returncode
    assert one.stdout.endswith("the end\n") == ("facts.py:Mine" in arguments)


def differing(one: str, other: str) -> tuple[str, str]:
    """Where two lines part: pytest shows the start of a long one only."""
    pairs = enumerate(zip_longest(one, other))
    start = max(next((place for place, (a, b) in pairs if a != b), 0) - 60, 0)
    return one[start:][:200], other[start:][:200]


RUNS = (run_mmx, started_mmx)


def test_one_that_does_not_end_is_killed(here: Path) -> None:
    for _ in range(2):
        with pytest.raises(subprocess.TimeoutExpired):
            run_mmx(command("train", "asleep"), here, timeout=2)


def test_another_environment_starts_python(here: Path) -> None:
    done = run_mmx(["models"], here, {**os.environ, "NO_COLOR": "1"})
    assert done.args[1:] == ["-m", "mmx", "models"]


@pytest.mark.parametrize("name", ["models", "extract"])
def test_no_thread_is_lost_in_a_fork(name: str) -> None:
    run_mmx([name, "--help"], Path.cwd())  # its server has imported everything then
    process, _ = server(name == "models")
    names = [path.read_text().strip() for path in Path(f"/proc/{process.pid}/task").glob("*/comm")]
    assert len(names) - names.count("jemalloc_bg_thd") == 1  # which is made for forks


def test_what_packages_set_later_is_no_other_environment(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch, scikit-learn, polars and tokenizers: all tests together import them."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(here))
    monkeypatch.setenv("KMP_INIT_AT_FORK", "FALSE")
    monkeypatch.setenv("_RJEM_MALLOC_CONF", "dirty_decay_ms:500")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    assert run_mmx(["--version"], here).args == ["--version"]
