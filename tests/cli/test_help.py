"""``--help`` of the long commands: options under the headings of their subjects, each once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.commands import COMMANDS
from tests.fork_server import run_mmx

HEADINGS = {
    "extract": ["Input", "Encoder", "Speed and devices", "Web", "Output", "Other"],
    "train": [
        "Input", "Training", "End to end", "Web", "Speed and devices", "Output", "Other",
    ],
    "finetune": [
        "Input", "Encoder", "Training", "Speed and devices", "Web", "Output", "Other",
    ],
}  # fmt: skip


def shown(command: str) -> str:
    """What ``--help`` prints."""
    done = run_mmx([*command.split(), "--help"], Path.cwd())
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", sorted(HEADINGS))
def test_the_options_are_in_groups(command: str) -> None:
    page = shown(command)
    assert re.findall(r"^(\w[\w ]*):$", page, re.MULTILINE) == HEADINGS[command]


@pytest.mark.parametrize("command", sorted(HEADINGS))
def test_every_option_is_shown_once(command: str) -> None:
    page = shown(command).partition("\nInput:")[2]
    listed = re.findall(r"^  (?:-\w, )?(--[\w-]+)", page, re.MULTILINE)
    options = {max(p.opts, key=len) for p in COMMANDS[command].params} - {"--devices"}
    assert len(listed) == len(set(listed))
    assert options <= set(listed)


def test_arguments_of_a_short_command_come_first() -> None:
    page = shown("recommend")
    assert page.index("\nArguments:") < page.index("--user")
