"""``mmx compare`` as its users type it; in this process where that shows the same, sooner."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mmx.cli import text_files
from mmx.cli.app import app
from mmx.errors import MmxError
from tests.experiments.made_runs import CLIP, made_run

FEW = [0.1, 0.4, 0.2, 0.0, 0.3, 0.5]
MORE = [0.2, 0.5, 0.2, 0.1, 0.4, 0.7]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs."""
    folder = tmp_path_factory.mktemp("compared")
    made_run(folder / "bpr", FEW)
    made_run(folder / "vbpr", MORE, model="vbpr", features=CLIP)
    return folder


@pytest.fixture(autouse=True)
def _there(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", "bpr", "vbpr", *arguments])


@pytest.mark.slow
def test_as_a_user_runs_it(made: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mmx", "compare", "bpr", "vbpr"],
        cwd=made, capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    assert "vbpr clip:image" in done.stdout
    assert "0.3500" in done.stdout
    assert "+40.0 %" in done.stdout
    assert "Against 'bpr', the best without features by validation" in done.stderr
    assert "one split: the tests are over its users" in done.stderr


def test_formats() -> None:
    found = json.loads(run("--format", "json", "--quiet").stdout)
    assert found == json.loads(run("--json", "--quiet").stdout)
    assert [arm["arm"] for arm in found["arms"]] == ["bpr", "vbpr clip:image"]
    assert run("--format", "markdown").stdout.startswith("| arm | runs |")
    assert r"\toprule" in run("--format", "latex").stdout
    assert run("--format", "csv").stdout.startswith("arm,metric,")
    one = run("--metrics", "recall@5 , ndcg@10", "--format", "csv")
    assert "recall@5" in str(one.exception)  # which these runs do not have
    assert len(run("--metrics", "recall@20,ndcg@10", "--format", "csv").stdout.splitlines()) == 5


@pytest.mark.parametrize(
    ("suffix", "start"),
    [(".md", "| arm"), (".tex", "% \\use"), (".csv", "arm,"), (".json", "{"), (".txt", "| arm")],
)
def test_out(made: Path, suffix: str, start: str) -> None:
    out = made / f"table{suffix}"
    assert run("--out", out.name).exit_code == 0
    assert out.read_text().startswith(start)
    assert "exists; set --out elsewhere, or --overwrite" in str(run("--out", out.name).exception)
    assert run("--out", out.name, "--overwrite").exit_code == 0


def test_nothing_of_others_is_replaced(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (made / "mine.md").write_text("# my notes\n")
    for _ in range(2):
        error = run("--out", "mine.md", "--overwrite").exception
        assert "is not an earlier output of this command" in str(error)
        assert (made / "mine.md").read_text() == "# my notes\n"
        monkeypatch.setattr(text_files, "is_marked", lambda path: None)  # a file system without
    assert run("--out", "free.md").exit_code == 0
    assert run("--out", "free.md", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "latx"), "--format latx is unknown; did you mean 'latex'?"),
        (("--format", "csv", "--json"), "--json and --format csv are given; drop one"),
        (("--overwrite",), "--overwrite goes with --out"),
        (("--out", "x.docx"), "its suffix names no format"),
        (("--out", "no/where.md"), "no folder no for where.md"),
        (("--against", "vbrp"), "--against vbrp is not an arm"),
        (("--metrics", ","), "--metrics names none"),
        (("--metrics", "recall@7"), "--metrics recall@7"),
        (("bpr",), "bpr is given twice"),
        (("absent",), "no run at absent; make one with `mmx train`"),
    ],
)
def test_mistakes(arguments: tuple[str, ...], said: str) -> None:
    error = run(*arguments).exception
    assert isinstance(error, MmxError)
    assert said in str(error)
    assert "\n" not in str(error)
