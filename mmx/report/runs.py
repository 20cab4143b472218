"""The parts of a report that are of runs: figures, curves, users, popularity, cold items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmx.errors import OptionError, RunError
from mmx.experiments.comparison import Comparison, compare_runs
from mmx.experiments.comparison_text import differences, legend, means
from mmx.report.facts import BINS, CUTOFFS, METRIC, RunFacts
from mmx.report.markup import note, table
from mmx.report.page import Section
from mmx.report.svg import SERIES, Line, bars, chart, intervals, lines

K = CUTOFFS[-1]
SHOWN = ("recall@10", "ndcg@10", "recall@20", "ndcg@20")
BEYOND = {  # what of the lists is shown, and how it is called
    "coverage": "coverage (share of the catalogue shown)",
    "gini": "Gini index (0: all items equally often)",
    "popularity": "training interactions of an item shown",
    "popularity-lift": "popularity lift (0: as popular as what users took)",
    "novelty": "novelty (bits)",
}
Facts = Sequence[RunFacts]


def comparison(paths: Sequence[Path]) -> tuple[Comparison | None, str]:
    """The tests between several runs, or why there are none."""
    if len(paths) < 2:
        return None, "One run: there is nothing to test it against."
    try:
        return compare_runs(paths), ""
    except (OptionError, RunError) as error:
        return None, f"No tests: {error}"


def metrics_section(facts: Facts, found: Comparison | None, why: str) -> Section:
    """The test metrics, with marks where a test was possible."""
    if found is None:
        named = [name for name in SHOWN if all(name in one.metrics["test"] for one in facts)]
        rows = [[one.name, *(one.metrics["test"][name] for name in named)] for one in facts]
        body = table(["run", *named], rows, "Test metrics") + note(why)
        return Section("metrics", "Test metrics", "", body)
    shown = means(found)
    body = table(list(shown[0]), [list(row.values()) for row in shown], "Test metrics")
    body += note(legend(found))
    if tests := differences(found):
        said = f"Differences from {found.against}; p-values after Holm-Bonferroni"
        body += table(list(tests[0]), [list(row.values()) for row in tests], said)
        drawn = intervals(_differences(found)[:10], f"difference from {found.against}")
        body += f'<div class="charts">{chart("Differences with 95 % intervals", drawn)}</div>'
    body += "".join(map(note, found.notes))
    return Section("metrics", "Test metrics", "", body)


def _differences(found: Comparison) -> list[tuple[str, float, float, float]]:
    return [
        (f"{r['arm']}, {r['metric']}", r["low"], r["mean"] - r["baseline_mean"], r["high"])
        for r in found.results
        if "p_t" in r and r["metric"] in (METRIC, f"ndcg@{K}")
    ]


def curves_section(facts: Facts) -> Section:
    """Validation and loss by epoch."""
    shown = facts[:SERIES]
    valid = [_curve(one, f"valid_{METRIC}") for one in shown]
    several = [one for one in valid if len(one.x) > 1]
    closed = [one.name for one in facts if one.history.num_rows < 2]
    body = ""
    if several:
        more = "The dot is the epoch that was kept."
        drawing = lines(several, "epoch", f"validation {METRIC}")
        names = [one.name for one in several]
        body += chart(f"Validation {METRIC}", drawing, names, more)
        losses = [_relative(_curve(one, "loss")) for one in shown]
        losses = [one for one in losses if len(one.x) > 1]
        if losses:
            drawing = lines(losses, "epoch", "loss / first loss")
            body += chart("Training loss", drawing, [one.name for one in losses],
                          "Losses of different models are not of one kind: each is divided by its "
                          "first.")  # fmt: skip
    body = f'<div class="charts">{body}</div>' if body else ""
    if closed:
        body += note(f"Solved at once, without epochs: {', '.join(closed)}.")
    if len(facts) > SERIES:
        body += note(f"The first {SERIES} of {len(facts)} runs are drawn.")
    return Section("learning", "Learning curves", "", body)


def _curve(one: RunFacts, column: str) -> Line:
    if column not in one.history.column_names or "epoch" not in one.history.column_names:
        return Line(one.name, [], [])
    x, y = (one.history[name].to_pylist() for name in ("epoch", column))
    pairs = zip(x, y, strict=True)
    there = [(float(a), float(b)) for a, b in pairs
             if isinstance(a, int) and isinstance(b, int | float) and math.isfinite(b)]  # fmt: skip
    best = one.config.get("best_epoch")
    mark = float(best) if isinstance(best, int) else None
    return Line(one.name, [a for a, _ in there], [b for _, b in there], mark)


def _relative(line: Line) -> Line:
    first = line.y[0] if line.y and line.y[0] else 1.0
    return Line(line.name, line.x, [value / first for value in line.y], line.mark)


def users_section(facts: Facts) -> Section:
    """How the metric is distributed over users, and by how much they trained on."""
    edges = [f"{n / BINS:.1f}-{(n + 1) / BINS:.1f}" for n in range(BINS)]
    spread = {one.name: (one.spread / max(one.spread.sum(), 1)).tolist() for one in facts[:SERIES]}
    drawing = bars(["0", *edges], spread, f"{METRIC} of a user", "share of users")
    body = chart(f"Users by {METRIC}", drawing, list(spread), "0: nothing found.")
    above = [_share_above(one) for one in facts[:SERIES]]
    drawing = lines(above, f"{METRIC} of at least", "share of users")
    body += chart(f"Users with {METRIC} of at least …", drawing, list(spread))
    body += _grouped(facts, "activity", "users with few, some, many training items",
                     f"{METRIC} by activity of the user")  # fmt: skip
    zero = [f"{one.name} finds nothing in {K} items for {_percent(one.spread[0], one.spread.sum())}"
            " of the users" for one in facts[:SERIES]]  # fmt: skip
    return Section(
        "users", "Distributions over users", f"{'; '.join(zero)}.",
        f'<div class="charts">{body}</div>{_sampled(facts)}',
    )  # fmt: skip


def _share_above(one: RunFacts) -> Line:
    """At 0, 0.1 … 1: the share of users who have more, or as much."""
    inner = one.spread[1:]
    left = np.concatenate([np.cumsum(inner[::-1])[::-1], [0]]) / max(one.spread.sum(), 1)
    return Line(one.name, [n / BINS for n in range(BINS + 1)], [*left.tolist()])


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / max(whole, 1):.0f} %"


def _grouped(facts: Facts, by: str, x: str, title: str) -> str:
    names: list[str] = []
    series: dict[str, list[float]] = {}
    for one in facts[:SERIES]:
        rows = [row for row in one.groups if row["by"] == by and row["group"] != "harmonic mean"]
        names = [str(row["group"]) for row in rows]
        series[one.name] = [float(row[METRIC]) for row in rows]
    return chart(title, bars(names, series, x, METRIC), list(series))


def popularity_section(facts: Facts) -> Section:
    """Coverage and popularity of the lists, and which items fill them."""
    rows = [[said, *(one.beyond[f"{name}@{K}"] for one in facts)] for name, said in BEYOND.items()]
    heads = [f"lists of {K}", *(one.name for one in facts)]
    groups = [name for name, share in facts[0].shares.items() if share[0]]
    series = {
        "of the catalogue": [facts[0].shares[g][0] for g in groups],
        "of training": [facts[0].shares[g][1] for g in groups],
    }
    series |= {
        f"of the lists of {one.name}": [one.shares.get(g, (0, 0, 0))[2] for g in groups]
        for one in facts[: SERIES - 2]
    }
    drawing = bars(groups, series, "items by popularity", "share")
    more = ("Head: the most popular items, with 20 % of the training interactions; tail: the least "
            "popular, with 20 %; cold: none.")  # fmt: skip
    body = f'<div class="charts">{chart("What the lists show", drawing, list(series), more)}</div>'
    return Section("popularity", "Popularity and coverage", "", table(heads, rows) + body
                   + _sampled(facts))  # fmt: skip


def cold_section(facts: Facts) -> Section:
    """Head, torso, tail, and items without training interactions."""
    charts = _grouped(facts, "popularity", "held-out items that count", f"{METRIC} by popularity")
    charts += _grouped(facts, "training", "held-out items that count", f"{METRIC}, warm and cold")
    rows = [
        [f"{row['by']}: {row['group']}", one.name, row["users"], row["items"],
         *(row[name] for name in SHOWN if name in row)]
        for place in range(len(facts[0].groups))
        for one in facts
        if (row := one.groups[place])["by"] != "activity"
    ]  # fmt: skip
    heads = [
        "items",
        "run",
        "users",
        "different items",
        *(n for n in SHOWN if n in facts[0].groups[0]),
    ]
    cold = [row for row in facts[0].groups if row["group"] == "cold"]
    said = "No held-out item is without training interactions: cold has no value."
    none = "" if any(row["users"] for row in cold) else note(said)
    lead = "Only held-out items of the group count; all items compete."
    body = f'<div class="charts">{charts}</div>{table(heads, rows)}{none}{_sampled(facts)}'
    return Section("cold", "Cold items and the tail", lead, body)


def _sampled(facts: Facts) -> str:
    one = facts[0]
    if one.ranked_users == one.test_users:
        return ""
    return note(f"Figures by group and of lists are over {one.ranked_users:,} of "
                f"{one.test_users:,} test users, drawn at random.")  # fmt: skip
