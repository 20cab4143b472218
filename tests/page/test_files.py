"""The page's files by their text: nothing of another host, nothing inline, no markup from data."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "mmx" / "serve" / "page").iterdir())
ALLOWED = {"http://www.w3.org/2000/svg"}  # a name, never fetched
MARKUP = [
    "innerHTML", "outerHTML", "insertAdjacentHTML", "setHTML", "document.write", "DOMParser",
    "createContextualFragment", "srcdoc", "eval(", "new Function", "javascript:",
]  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file(path: Path) -> None:
    text = path.read_text()
    assert set(re.findall(r"https?://[^\s\"'`<>)]+", text)) <= ALLOWED
    assert [each for each in MARKUP if each in text] == []
    assert len(text.splitlines()) < 300


def test_no_inline_script_or_style() -> None:
    text = (ROOT / "mmx" / "serve" / "page" / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\ssrc=)", text) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", text) == []


def test_every_file_is_used_and_installed() -> None:
    texts = "".join(path.read_text() for path in FILES)
    assert [
        each.name for each in FILES if each.name not in texts and each.name != "index.html"
    ] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "serve/page/*" in project["tool"]["setuptools"]["package-data"]["mmx"]
