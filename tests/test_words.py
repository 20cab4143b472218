"""Docs and help are in plain English: none of the words below, which read as translated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.commands import COMMANDS

ROOT = Path(__file__).parents[1]
PLAIN = {
    r"(?<!there )\b(is|are|was|were) no\b(?! (longer|more|less|better|different)\b)": "is not a",
    r"\bstands\b(?! (for|out)\b)|\bstand in\b": "is, is written",
    r"\banew\b": "again",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bnew-ish\b": "rare",
    r"\bshoppers?\b(?!-\d)": "user",
    r"\bknock(s|ed)? at\b": "contact",
    r"\bby death\b": "that died",
    r"\bat hand\b": "available",
    r"\b(asks|asked) for\b": "requested, needs",
    r"\btold of\b": "reports",
    r"\b(lie|lies|lying) (at|beside|in|under)\b": "is next to, is in",
    r"\b(go|goes|went|gone) on\b(?! to\b)": "continue, resume",
    r"\bnothing but\b": "only",
    r"\b(one may|may one)\b": "you can",
    r"\bby and by\b": "gradually",
    r"\b(bears|whence|whereof|thereof|therein)\b": "a plain word",
    r"\b(let|lets) go of\b": "release",
    r"\bvery same\b": "same",
    r"\b(was|were) to be\b|\b(is|was) wanted\b": "what is there, not what was planned",
    r"\b(crew|fleet|hired|ledger)\b": "worker, pending blocks",
}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def quaint(text: str) -> list[str]:
    """Each find with the words around it and what to write instead."""
    text = " ".join(text.split())
    return [
        f"…{text[max(0, found.start() - 40) : found.end() + 30]}…: "
        f"for {found.group()!r} write {plain!r}"
        for pattern, plain in PLAIN.items()
        for found in re.finditer(pattern, text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_in_plain_words(page: Path) -> None:
    found = quaint(page.read_text()) if page.exists() else []
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_is_in_plain_words(name: str) -> None:
    helps = [COMMANDS[name].help, *(getattr(p, "help", None) for p in COMMANDS[name].params)]
    found = [line for text in helps if text for line in quaint(text)]
    assert not found, "\n".join(found)


PLANTED = """
This is no store. The test stands beside. It is written anew. A mended file. New-ish items.
600 shoppers. It knocked at a host. It costs some by death. None was at hand. Four were asked for.
It is told of it. The part lies beside. The job goes on. It holds nothing but tensors. One may wait.
By and by. Who bears it? It lets go of it. The very same. It was to be. A fleet.
"""
HONEST = """
There is no store, it is no longer there, and that is no more than a part. It stands for a user, and
goes on to the next one. User shopper-001 understands the recommendation; ask for help. Please
amend the standard, lie down, see which of them is the same and wait for what is to be done.
"""


def test_a_planted_word_is_found() -> None:
    assert len(quaint(PLANTED)) == len(PLAIN)
    assert any("for 'anew' write 'again'" in line for line in quaint(PLANTED))
    assert quaint("One word split by a line: it\n  goes\n  on.")


def test_honest_uses_pass() -> None:
    assert quaint(HONEST) == []
