"""No message, help text, docstring or page names a command or an option that does not exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.messages import COMMANDS, OPTION, OPTIONS, options_of_module, texts_of, untrue

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "mmx").rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_texts_of_the_program_name_what_exists() -> None:
    """What a command's own module says names that command's options only, or others' with it."""
    wrong = []
    for path in MODULES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        known = options_of_module(name)
        for line, text in texts_of(path.read_text()):
            wrong += [f"{path.relative_to(ROOT)}:{line}: {what}" for what in untrue(text, known)]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_what_exists(page: Path) -> None:
    scripts = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "scripts").glob("*.py")]
    theirs = {o for path in scripts for o in OPTION.findall(path.read_text())}
    assert untrue(page.read_text(), OPTIONS | theirs, page=True) == []


PLANTED = '''
"""Made by `mmx fetch`."""

def one(path):
    """Run ``mmx extract --epochs``."""
    raise DataError(
        f"no table at {path}; make one "
        "with `mmx" " fetch`"
    )

def two():
    raise OptionError(f"{x} is there; --overwrit" "e, or --replace")
    note("mmx store unite does it: " + f"mmx train --exact {x}")
    typer.Option(help="Needs --features or --feature; see `mmx models --model`.")
    tell(f"choose --model easy, or --set dimm={x}")
'''


def test_what_is_planted_is_found() -> None:
    found = [what for _, text in texts_of(PLANTED) for what in untrue(text)]
    assert sorted(found) == [
        "--epochs", "--exact", "--feature", "--model", "--model easy", "--replace", "--set dimm",
        "mmx fetch", "mmx fetch", "mmx store unite",
    ]  # fmt: skip


def test_in_a_command_s_own_module_other_options_are_found() -> None:
    text = "drop --exact, or run `mmx extract --exact` before"
    assert untrue(text, options_of_module("mmx.cli.evaluate")) == ["--exact"]
    assert untrue(text, options_of_module("mmx.cli.extract")) == []
    assert options_of_module("mmx.cli.output") == OPTIONS


def test_a_line_of_a_shell_is_that_command_s() -> None:
    assert untrue("`torchrun --nproc 2 -m mmx train --exact`", page=True) == ["--exact"]
    assert (
        untrue("```sh\npip install --upgrade x\n```\nmmx does what --exact says", page=True) == []
    )
    assert untrue("```\nmmx train \\\n  --exakt\n```", page=True) == ["--exakt"]
    assert {"train", "store", "store merge"} <= COMMANDS.keys()
