"""Docs are tested: every command and model is described, every option has help."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mmx.cli.app import app
from mmx.recommend.models import MODELS

ROOT = Path(__file__).parents[1]


def commands(group: Any, prefix: str = "") -> dict[str, Any]:
    """Every command by what one types after ``mmx``: "train", "store diff"."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        found |= commands(command, f"{prefix}{name} ") if inner else {prefix + name: command}
    return found


COMMANDS = commands(typer.main.get_command(app))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_documented(name: str) -> None:
    page = (ROOT / "docs/commands.md").read_text()
    assert f"## mmx {name}\n" in page
    assert COMMANDS[name].help


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_has_help(name: str) -> None:
    for parameter in COMMANDS[name].params:
        if parameter.name != "help":
            assert getattr(parameter, "help", None), f"mmx {name}: {parameter.name}"


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_is_documented(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs/models.md").read_text()


def test_documented_options_exist() -> None:
    """Every ``mmx …`` line in the docs uses commands and options that are there."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for line in re.findall(r"^mmx .*$", page.read_text(), re.MULTILINE):
            words = re.sub(r'"[^"]*"|\'[^\']*\'', "QUOTED", line.split("  #")[0]).split()
            command = COMMANDS.get(words[1]) or COMMANDS.get(" ".join(words[1:3]))
            assert command is not None, f"{page.name}: {line}"
            known = {opt for p in command.params for opt in (*p.opts, *p.secondary_opts)}
            used = {w.split("=")[0] for w in words if w.startswith("--")}
            assert used <= known | {"--help"}, f"{page.name}: {line}: {used - known}"


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} → {target}"
