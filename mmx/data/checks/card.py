"""The dataset card: what a check found, as rows of a table, as Markdown, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmx.files import parse_json
from mmx.markdown import escaped, table_head, table_row

NAMES = ("dataset.md", "dataset.json")  # of a card in the dataset directory
MARK = "<!-- dataset card, made by mmx data check -->"
MADE = "mmx data check"
SUFFIXES = {".md": "markdown", ".json": "json"}

Rows = list[tuple[str, Any]]


def is_card(path: Path) -> bool:
    """Whether a file is a card of `mmx data check`."""
    try:
        if path.suffix == ".md":
            with path.open("rb") as file:
                return file.readline(len(MARK) + 2).strip() == MARK.encode()
        return bool(parse_json(path.read_bytes())["made_by"] == MADE)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def as_json(report: dict[str, Any]) -> str:
    """The whole report."""
    whole = {"made_by": MADE, **report}
    return json.dumps(whole, indent=2, ensure_ascii=False, default=str) + "\n"


def as_markdown(report: dict[str, Any]) -> str:
    """The sections as tables."""
    lines = [MARK, "", f"# {_cell(report['name'])}"]
    for title, rows in sections(report):
        lines += ["", f"## {title}", "", table_head(["", ""]).rstrip()]
        lines += [table_row([_cell(name), _cell(value)]).rstrip() for name, value in rows]
    return "\n".join(lines) + "\n"


def sections(report: dict[str, Any]) -> list[tuple[str, Rows]]:
    """What a reader sees, by subject; subjects of which nothing is known are left out."""
    made = [
        ("Dataset", _of_dataset(report)),
        ("Pictures", _of_pictures(report["pictures"])),
        ("Texts", _of_texts(report["texts"])),
        ("Interactions", [(s["step"], _counts(s)) for s in report["filters"]]),
        ("Split", _of_split(report["split"])),
        ("Popularity", _of_popularity(report["popularity"])),
    ]
    return [(title, rows) for title, rows in made if rows]


def _of_dataset(report: dict[str, Any]) -> Rows:
    rows: Rows = [("items", report["items"])]
    rows += [
        ("source", report["source"] or "not said"),
        ("licence", report["license"] or "not said"),
    ]
    dropped = report["dropped"]
    rows += [("interactions with items that are not in the table", dropped)] if dropped else []
    rows += [(f"import: {left['why']}", f"{left['interactions']:,} of {left['of']:,} left out")
             for left in report["import_left_out"]]  # fmt: skip
    return rows + [(f"SHA-256 of {name}", value) for name, value in report["content"].items()]


def _of_pictures(found: dict[str, Any]) -> Rows:
    rows: Rows = [("readable", found["ok"]), ("missing", found["missing"])]
    rows += list(found["unreadable"].items())
    rows += [("not looked at", found["not_looked_at"])] if found["not_looked_at"] else []
    rows += [
        ("of nearly one shade", found["plain"]),
        ("the same file", _groups(found["same_file"])),
    ]
    return [*rows, ("look alike", _groups(found["look_alike"]))]


def _of_texts(found: dict[str, Any]) -> Rows:
    return [("missing", found["missing"]), ("the same text", _groups(found["same_text"]))]


def _of_split(found: dict[str, Any]) -> Rows:
    if not found:
        return []
    if "impossible" in found:
        return [("rule", found["rule"]), ("impossible", found["impossible"])]
    rows: Rows = [("rule", f"{found['rule']}, seed {found['seed']}")]
    rows += [(name, _counts(part)) for name, part in found["parts"].items()]
    if "pairs_in_two_parts" in found:
        rows.append(("pairs of user and item in two parts", found["pairs_in_two_parts"]))
    share = found["leaked_share"]
    shown = "unknown without timestamps" if share is None else f"{100 * share:.3g} %"
    return [
        *rows,
        ("test interactions older than the last training one of their item", shown),
        ("users without a test item", found["users_without_test"]),
        ("test users without training", found["test_users_without_training"]),
        ("items never in training", found["items_never_in_training"]),
        ("items without an interaction", found["items_without_interaction"]),
        ("test interactions with items never in training",
         found["test_interactions_with_such_items"]),
    ]  # fmt: skip


def _of_popularity(found: dict[str, float]) -> Rows:
    tops = [(f"interactions of the top {n[4:]} % of items", f"{100 * share:.3g} %")
            for n, share in found.items() if n.startswith("top_")]  # fmt: skip
    return [*tops, ("Gini", f"{found['gini']:.3f}")] if found else []


def _counts(found: dict[str, Any]) -> str:
    return (
        f"{found['interactions']:,} interactions of {found['users']:,} users with "
        f"{found['items']:,} items"
    )


def _groups(found: dict[str, Any]) -> str:
    if not found["groups"]:
        return "none"
    listed = "; ".join(" = ".join(ids) for ids in found["examples"])
    return f"{found['groups']:,} groups, {found['items']:,} items: {listed}"


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else escaped(str(value))
