"""The dataset card: hostile texts in it, and how one is recognised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmx.data.checks import card

NONE = {"groups": 0, "items": 0, "examples": []}
HOSTILE = "a|b\n## c <script> \\| d"
REPORT: dict[str, Any] = {
    "name": HOSTILE, "items": 12345, "source": HOSTILE, "license": None, "dropped": 3,
    "import_left_out": [{"why": HOSTILE, "interactions": 1, "of": 2000}],
    "content": {"items.parquet": "0f"},
    "pictures": {"ok": 1, "missing": 2, "not_looked_at": 0, "plain": 0, "same_file": NONE,
                 "unreadable": {"truncated image": 7}, "look_alike": NONE},
    "texts": {"missing": 0,
              "same_text": {"groups": 1, "items": 2, "examples": [[HOSTILE, "|"]]}},
    "filters": [], "split": {}, "popularity": {},
}  # fmt: skip


def test_texts_open_no_cell_no_line_and_no_markup() -> None:
    text = card.as_markdown(REPORT)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.replace("\\\\", "").replace("\\|", "").count("|") == 3 for line in rows)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Dataset", "## Pictures", "## Texts",
    ]  # fmt: skip
    assert "\\<script" in text  # shown as it is
    assert "<script" not in text.replace("\\<", "")
    for row in ("| items | 12,345 |", "| licence | not said |", "| truncated image | 7 |",
                "| interactions with items that are not in the table | 3 |"):  # fmt: skip
        assert row in rows


def test_a_split_that_is_impossible_or_without_times() -> None:
    split = {"rule": "given", "impossible": "no test interactions"}
    assert dict(card.sections(REPORT | {"split": split}))["Split"] == [
        ("rule", "given"), ("impossible", "no test interactions"),
    ]  # fmt: skip


def test_cards_are_recognised(tmp_path: Path) -> None:
    for name, text, ours in (
        ("a.md", card.as_markdown(REPORT), True), ("b.md", "# mine\n", False),
        ("c.md", card.MARK + " and more\n", False), ("a.json", card.as_json(REPORT), True),
        ("b.json", "{}", False), ("c.json", "[1]", False), ("d.json", "{", False),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
        assert card.is_card(tmp_path / name) is ours
    assert not card.is_card(tmp_path / "none.md")
