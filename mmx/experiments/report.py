"""What is written for a grid: results, table, tests, embeddings. Only finished cells count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmx.atomic import replacing, write_text
from mmx.experiments.alignment import describe
from mmx.experiments.cells import columns
from mmx.experiments.costs import LEGEND as COSTS
from mmx.experiments.costs import cost_of, costs
from mmx.experiments.gains import gains, in_words
from mmx.experiments.grid import Grid
from mmx.experiments.outcome import Finished, Outcome
from mmx.experiments.plan import Plan
from mmx.experiments.searches import in_words as search_words
from mmx.experiments.searches import searches
from mmx.experiments.significance import compare
from mmx.experiments.statistics import LEVEL
from mmx.recommend.features import FeatureSpec
from mmx.recommend.run import read_table
from mmx.recommend.validation import VALIDATED_ON

VALID = f"valid {VALIDATED_ON}"
LEGEND = (
    "Test metrics, mean ± standard deviation over the seeds, and validation Recall@20. A closed "
    "form that draws nothing runs once."
)
TESTED = (
    " * and †: differs from the features '{}' on the same recommender with p < 0.05 (two-sided "
    "paired t-test, Wilcoxon; over users, Holm-Bonferroni corrected)."
)
CONTROLLED = (
    " A row with a control has the same features changed, so that they say nothing of their item "
    "(drop: fewer items have any), drawn with each seed, also for a closed form; its marks compare "
    "it with its own features."
)
WORDS = (
    "What is left of a gain when features say nothing of their item (test, means over the seeds; "
    "the model without features is the best by validation, unless the plan names it):"
)
REPEATED = (
    "Test metrics, mean ± standard deviation over splits and seeds, and validation Recall@20. A "
    "closed form that draws nothing runs once on each split."
)
TESTED_ON_SPLITS = (
    " *: differs from the features '{}' on the same recommender with p < 0.05 (two-sided t-test "
    "over the means of the splits, corrected for their common training data; Holm-Bonferroni)."
)
UNVALIDATED = (
    " In {} no validation user has training interactions: the last epoch counts, and nothing is "
    "chosen by validation."
)
Rows = list[dict[str, Any]]


@dataclass
class Report:
    """All tables of a grid."""

    results: Rows = field(default_factory=list)  # one row per cell
    table: Rows = field(default_factory=list)  # one row per dataset, recommender, features
    search: Rows = field(default_factory=list)  # one row per trial
    searches: Rows = field(default_factory=list)  # one row per search
    search_words: list[str] = field(default_factory=list)  # on the sizes of the searches
    significance: Rows = field(default_factory=list)
    embeddings: Rows = field(default_factory=list)
    cost: Rows = field(default_factory=list)  # one row like those of the table
    controls: Rows = field(default_factory=list)  # one row per control and metric
    words: list[str] = field(default_factory=list)  # what the controls say
    failures: Rows = field(default_factory=list)


def report(grid: Grid, outcome: Outcome) -> Report:
    """Gather and write everything under the grid's folder."""
    plan, out = grid.plan, grid.out
    tests, left = compare(plan, outcome.finished), gains(plan, outcome.finished)
    searched = searches(outcome.tried)
    made = Report(
        results=[_result(plan, one, out) for one in outcome.finished],
        table=summary(plan, outcome.finished, tests),
        search=outcome.tried,
        searches=searched,
        search_words=search_words(searched),
        significance=tests,
        embeddings=_embeddings(grid, outcome.finished),
        cost=costs(plan, outcome.finished),
        failures=list(outcome.failures),
        controls=left,
        words=in_words(plan, left),
    )
    names = ("controls",) if plan.controlled else ()
    for name in ("results", "search", "significance", "embeddings", *names):
        _write(getattr(made, name), out / f"{name}.parquet")
    text = f"{markdown(made.table)}\n{legend(plan, outcome.finished)}\n"
    if made.words:
        text += f"\n{WORDS}\n\n" + "".join(f"- {line}\n" for line in made.words)
    if made.searches:
        text += f"\n{markdown(made.searches)}\n" + "".join(f"{x}\n" for x in made.search_words)
    if made.embeddings:
        text += f"\n{markdown(made.embeddings)}\nAlignment and uniformity: lower is better.\n"
    if made.cost:
        text += f"\n{markdown(made.cost)}\n{COSTS}\n"
    write_text(out / "table.md", text)
    return made


def legend(plan: Plan, finished: Sequence[Finished] = ()) -> str:
    """What the table's figures and marks are, and where nothing picked the epoch."""
    blind = {one.cell.dataset: None for one in finished if not one.validated}
    said = UNVALIDATED.format(", ".join(blind)) if blind else ""
    tested = _tested(plan, finished) + (CONTROLLED if plan.controlled else "")
    return (REPEATED if plan.repeat_splits > 1 else LEGEND) + tested + said


def _tested(plan: Plan, finished: Sequence[Finished]) -> str:
    """Which test the marks are of."""
    several = len({one.cell.repeat for one in finished}) > 1
    return (TESTED_ON_SPLITS if several else TESTED).format(plan.baseline) if plan.baseline else ""


def summary(plan: Plan, finished: Sequence[Finished], tests: Rows) -> Rows:
    """The table of the paper: one row for each dataset, recommender, features entry and control."""
    runs = defaultdict(list)
    for one in finished:
        cell = one.cell
        runs[cell.dataset, cell.recommender, cell.features, cell.arm].append(one)
    marks = {(*_key(test), test["metric"]): _mark(test) for test in tests}
    rows = []
    for key, group in runs.items():
        row: dict[str, Any] = {"dataset": key[0], "recommender": key[1]}
        row |= columns(plan, group[0].cell)
        if plan.repeat_splits > 1:
            row["splits"] = len({one.cell.repeat for one in group})
        row["seeds"] = len({one.cell.training.seed for one in group})
        tested = [one.metrics("test") for one in group]
        for name in plan.metrics:
            row[name] = _spread([m[name] for m in tested]) + marks.get((*key, name), "")
        row[VALID] = _spread([one.metrics("valid")[VALIDATED_ON] for one in group])
        rows.append(row)
    return rows


def markdown(rows: Rows) -> str:
    """Rows of one kind as a Markdown table."""
    columns = list(rows[0]) if rows else ["nothing is finished yet"]
    lines = [columns, ["---"] * len(columns)]
    lines += [[_cell(row[name]) for name in columns] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["dataset"], row["recommender"], row["features"], row.get("control")


def _mark(test: dict[str, Any]) -> str:
    """Of the primary test where there are several splits, else of the two over users."""
    marks = {"p_t_holm": "*", "p_wilcoxon_holm": "†"}
    if test["splits"] > 1:
        marks = {"p_split_holm": "*"}
    return "".join(mark for name, mark in marks.items() if test[name] < LEVEL)


def _spread(values: list[float]) -> str:
    mean = f"{np.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.4f}"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "—" if value is None else str(value)


def _result(plan: Plan, one: Finished, out: Path) -> dict[str, Any]:
    cell = one.cell
    history = read_table(one.path / "history.parquet").to_pylist()
    row = columns(plan, cell) | {
        "recommender": cell.recommender,
        "model": cell.model.rpartition("/")[2],
        "split_seed": cell.split_seed,
        "seed": cell.training.seed,
    }
    row |= {"settings": " ".join(cell.settings), "search": cell.point}
    row |= {"run": str(one.path.relative_to(out)), "rounds": len(history)}
    row |= cost_of(one)
    row["seconds"] = float(sum(r.get("seconds", 0.0) for r in history))
    for split in ("valid", "test"):
        row |= {f"{split}_{name}": value for name, value in one.metrics(split).items()}
    return row


def _embeddings(grid: Grid, finished: Sequence[Finished]) -> Rows:
    """One row for each dataset and features entry that a finished cell used."""
    rows: Rows = []
    seen = set()
    for one in finished:
        cell, entry = one.cell, grid.plan.features[one.cell.features]
        ends = bool(entry.end_to_end)  # its embeddings are of a recommender's run
        key = (cell.dataset, cell.features, cell.recommender if ends else "")
        if entry.empty or key in seen:
            continue
        seen.add(key)
        own = [FeatureSpec(one.path / "features.parquet")]
        specs = own if ends else grid.artifacts.specs(cell.dataset, cell.features)
        ids = grid.artifacts.items(cell.dataset).ids
        name = f"{cell.features} ({cell.recommender})" if ends else cell.features
        rows.append({"dataset": cell.dataset, "features": name, **describe(specs, ids)})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in columns} for row in rows]


def _write(rows: Rows, path: Path) -> None:
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows), temporary)
