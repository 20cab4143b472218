"""How much each model was tuned: its trials, what won, and whether a range was too narrow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

Rows = list[dict[str, Any]]
OF_A_TRIAL = ("point", "chosen", "failed", "at_edge")  # and validation metrics


def searches(tried: Rows) -> Rows:
    """One row for each search, of one row for each of its trials (``Outcome.tried``)."""
    found = defaultdict(list)
    for row in tried:
        key = {k: v for k, v in row.items() if k not in OF_A_TRIAL and not k.startswith("valid_")}
        found[tuple(key.items())].append(row)
    return [dict(key) | _summary(rows) for key, rows in found.items()]


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    chosen = next((row for row in rows if row["chosen"]), None)
    valid = next(name for name in rows[0] if name.startswith("valid_"))
    return {
        "trials": len(rows),
        "failed": sum(row["failed"] for row in rows),
        valid.replace("_", " "): None if chosen is None else chosen[valid],
        "chosen": "none" if chosen is None else chosen["point"],
        "at the edge": "" if chosen is None else chosen["at_edge"],
    }


def in_words(rows: Rows) -> list[str]:
    """What a reader has to know of the searches' sizes and ranges."""
    counts: dict[int, list[str]] = defaultdict(list)
    for row in rows:
        if row["recommender"] not in counts[row["trials"]]:
            counts[row["trials"]].append(row["recommender"])
    said = [f"{count} ({', '.join(counts[count])})" for count in sorted(counts, reverse=True)]
    equal = "Every model that was searched got the same number of trials" if len(said) == 1 else (
        "The models did not get the same number of trials, as a search has no more points than "
        "its lists, or the plan names no 'trials'"
    )  # fmt: skip
    lines = [f"{equal}: {'; '.join(said)}."] if said else []
    edge = [row for row in rows if row["at the edge"]]
    if edge:
        lines.append(
            f"In {len(edge)} of {len(rows)} searches a chosen value is at the edge of its range; a "
            "wider range may hold a better one."
        )
    return lines
