"""Every command of the program, as typer sees it."""

from __future__ import annotations

from typing import Any

import typer.main

from mmx.cli.app import app


def commands(group: Any, prefix: str = "") -> dict[str, Any]:
    """Every command by what is typed after ``mmx``: "train", "store diff"."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        found |= commands(command, f"{prefix}{name} ") if inner else {prefix + name: command}
    return found


COMMANDS = commands(typer.main.get_command(app))
