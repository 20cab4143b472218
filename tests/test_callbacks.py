"""Callbacks: ``progress`` takes numbers or a state of them, ``log`` takes a line."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from mmx.extract.encoders import open_encoder
from mmx.extract.encoders.request import Request
from mmx.extract.encoders.vlmo import open_vlmo
from mmx.extract.vlmo.records import obtain
from mmx.extract.vlmo.tokenizer import open_tokenizer
from mmx.extract.workers.job import Recipe

ROOT = Path(__file__).parents[1]
LINE = "Callable[[str], None]"


def callbacks(tree: ast.AST) -> list[tuple[str, str]]:
    """(name, annotation) of all arguments and fields that are called progress or log."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation:
            found.append((node.arg, ast.unparse(node.annotation)))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.append((node.target.id, ast.unparse(node.annotation)))
    return [(name, kind) for name, kind in found if name in ("progress", "log")]


def wrong(source: str) -> list[str]:
    return [
        name
        for name, kind in callbacks(ast.parse(source))
        if "Callable" in kind and (LINE in kind) != (name == "log")
    ]


def test_progress_takes_numbers_and_log_takes_lines() -> None:
    files = [*(ROOT / "mmx").rglob("*.py"), *(ROOT / "mmx").rglob("*.pyi")]
    found = {path.name: wrong(path.read_text(encoding="utf-8")) for path in files}
    assert {name: names for name, names in found.items() if names} == {}


def test_planted_faults_are_found() -> None:
    assert wrong(f"def f(progress: {LINE}) -> None: ...") == ["progress"]
    assert wrong("class A:\n    log: Callable[[int], None] | None = None") == ["log"]
    assert wrong(f"def f(log: {LINE}, progress: Callable[[int], None]) -> None: ...") == []


def test_all_that_open_an_encoder_take_a_log() -> None:
    for function in (open_encoder, open_vlmo, open_tokenizer, obtain, Recipe.open, Request):
        names = inspect.signature(function).parameters.keys()
        assert "log" in names, function
        assert "progress" not in names, function
