"""What texts say of the command line: every ``mmx X`` and ``--y`` in them, looked up in the CLI."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Set
from typing import Any

import typer.main

from mmx.cli.app import app
from mmx.extract.encoders import listing
from mmx.recommend.models import MODELS

BLANK = "…"  # stands for what an f-string fills in
PROSE = {  # words that follow the name of the program, or --model, in sentences
    "away", "can", "did", "exported", "for", "itself", "knows", "needs", "never", "raises", "sets",
    "ships", "without", "writes",
}  # fmt: skip
FOREIGN = {"--help"}  # of every command
SHELL = ("mmx ", "$ mmx ", "python ", "torchrun ", "pip ")  # how a line of a shell starts
NAMED = re.compile(r"(?<![\w./-])mmx ([a-z][\w-]*)(?: ([a-z][\w-]*))?")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
MODEL = re.compile(r"--model ([a-z][\w-]*)\b(?![\w.]*:[A-Z])")  # not mine.py:Model
SETTING = re.compile(r"--set ([a-z]\w*)")


def _commands(group: Any, prefix: str = "") -> dict[str, Any]:
    """Every command and group by what one types behind ``mmx``."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        found[prefix + name] = command
        if hasattr(command, "commands"):
            found |= _commands(command, f"{prefix}{name} ")
    return found


def _options(command: Any) -> set[str]:
    return {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | FOREIGN


ROOT = typer.main.get_command(app)
FOUND = _commands(ROOT)
COMMANDS = {name: _options(command) for name, command in FOUND.items()}
GROUPS = {name.split()[0] for name in COMMANDS if " " in name}
OPTIONS = _options(ROOT).union(*COMMANDS.values())
NAMES = {record.spec.partition(":")[0] for record in listing()} | MODELS.keys() | PROSE
SETTINGS = {name for m in MODELS.values() for name in m.load().Config.__dataclass_fields__}


def options_of_module(name: str) -> set[str]:
    """Those of the commands that a module defines; of all where it defines none."""
    mine = [n for n, c in FOUND.items() if getattr(c.callback, "__module__", None) == name]
    return set().union(*(COMMANDS[n] for n in mine)) or OPTIONS


def texts_of(source: str) -> Iterator[tuple[int, str]]:
    """Every text in Python source with its line: messages, help, docstrings and all others.

    Literals that stand side by side or are added are one text; so is what an f-string is made of.
    """
    inner: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        text = _text(node)
        if text is not None and id(node) not in inner:
            inner.update(id(part) for part in ast.walk(node))
            yield node.lineno, text  # type: ignore[attr-defined]


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or BLANK for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = [_text(node.left), _text(node.right)]
        return None if sides == [None, None] else "".join(side or BLANK for side in sides)
    return None


def untrue(text: str, known: Set[str] = OPTIONS, *, page: bool = False) -> list[str]:
    """The commands, options, models and settings in a text that do not exist.

    In a line of a shell, also one between back-quotes, an option must be one of the command before
    it, and what stands before is another program's. Any other option must be a ``known`` one, or
    one of a command before it. Of a ``page`` of Markdown only lines of a shell name commands.
    """
    wrong: list[str] = []
    for part, code in _parts(text):
        shell = part.strip().startswith(SHELL) and (code or not page)
        if shell or not page:
            wrong += [f"mmx {name}" for name in _unknown_commands(part)]
        wrong += _unknown_options(part, known, shell)
    wrong += [f"--model {m}" for m in MODEL.findall(text) if m not in NAMES]
    return wrong + [f"--set {name}" for name in SETTING.findall(text) if name not in SETTINGS]


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """A text by its lines and back-quotes, and which of these are code."""
    for place, block in enumerate(re.split(r"```\w*\n|```", re.sub(r"\\\n\s*", " ", text))):
        fenced = place % 2 == 1
        for count, span in enumerate([block] if fenced else re.split("``|`", block)):
            yield from ((line, fenced or count % 2 == 1) for line in span.split("\n"))


def _unknown_commands(part: str) -> Iterator[str]:
    for name, inner in NAMED.findall(part):
        if name in GROUPS and inner:
            if f"{name} {inner}" not in COMMANDS:
                yield f"{name} {inner}"
        elif name not in COMMANDS.keys() | PROSE:
            yield name


def _unknown_options(part: str, known: Set[str], shell: bool) -> Iterator[str]:
    allowed, start = known, 0
    for match in NAMED.finditer(part):
        if not shell:
            yield from (o for o in OPTION.findall(part[start : match.start()]) if o not in allowed)
        whole = f"{match[1]} {match[2]}"
        mine = COMMANDS.get(whole if whole in COMMANDS else match[1], FOREIGN)
        allowed, start = mine if shell else allowed | mine, match.end()
    if not shell or start:
        yield from (o for o in OPTION.findall(part[start:]) if o not in allowed)
