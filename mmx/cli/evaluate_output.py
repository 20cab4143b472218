"""What ``mmx evaluate`` shows, and ``mmx train`` at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmx.cli.output import note, print_table


def print_metrics(metrics: dict[str, dict[str, float]]) -> None:
    """One row per metric and split, one column per cut-off."""
    from mmx.recommend.metrics import METRICS

    splits = [name for name in ("valid", "test") if name in metrics]
    cutoffs = _cutoffs(metrics[splits[0]])
    rows = [
        [split, metric, *(metrics[split].get(f"{metric}@{k}", float("nan")) for k in cutoffs)]
        for split in splits
        for metric in METRICS
    ]
    print_table(["split", "metric", *(f"@{k}" for k in cutoffs)], rows, decimals=4)
    for split in splits:
        left_out = metrics["counts"][f"{split}_users_without_training"]
        extra = f", {left_out:.0f} without training items left out" if left_out else ""
        users, items = (metrics["counts"][f"{split}_{what}"] for what in ("users", "items"))
        note(f"{split}: {users:.0f} users, {items:.0f} different items{extra}")


def print_beyond(found: Mapping[str, float]) -> None:
    """One row per metric of the lists, one column per cut-off."""
    cutoffs = _cutoffs(found)
    names = dict.fromkeys(name.rpartition("@")[0] for name in found)
    rows = [[name, *(found[f"{name}@{k}"] for k in cutoffs)] for name in names]
    print_table(["of the lists", *(f"@{k}" for k in cutoffs)], rows, decimals=4)


def print_groups(rows: Sequence[Mapping[str, Any]]) -> None:
    """One row per group, with two metrics at the middle cut-offs."""
    from mmx.recommend.metrics import MEASURED

    cutoffs = _cutoffs(rows[0])
    shown = [name for name in MEASURED if name in rows[0]]
    shown = shown or [f"{name}@{cutoffs[-1]}" for name in ("recall", "ndcg")]
    heads = ["by", "group", "training", "users", "items", *shown]
    print_table(heads, [_row(row, shown) for row in rows], decimals=4)
    if not any(row["users"] for row in rows if row["group"] == "cold"):
        note("no held-out item is without training interactions: cold has no value")


def _row(row: Mapping[str, Any], shown: Sequence[str]) -> list[Any]:
    least, most = row["least"], row["most"]
    span = "" if least is None else f"{least}" if least == most else f"{least}-{most}"
    users = "" if row["users"] is None else row["users"]
    return [row["by"], row["group"], span, users, row["items"], *(row[name] for name in shown)]


def _cutoffs(metrics: Mapping[str, Any]) -> list[int]:
    return sorted({int(key.rpartition("@")[2]) for key in metrics if "@" in key})
