"""A comparison as text: Markdown, LaTeX, CSV, JSON, and the rows that a terminal shows.

Names of arms hold names of files, which may hold anything: each format escapes them.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from typing import Any

from mmx.experiments.comparison import Comparison
from mmx.experiments.repeated import Row
from mmx.experiments.statistics import LEVEL
from mmx.markdown import escaped, one_line, table_head, table_row

BEST = "▲"  # where there is no bold
BOLD = "Bold: highest of its column"
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip
HEADS = {"recall": "Recall", "precision": "Precision", "hitrate": "HitRate", "mrr": "MRR",
         "map": "MAP", "ndcg": "NDCG"}  # fmt: skip
COLUMNS = (  # of CSV
    "arm", "metric", "runs", "splits", "users", "mean", "deviation", "best", "baseline_mean",
    "gain", "low", "high", "effect_size", "p_split", "p_split_holm", "p_t", "p_t_holm",
    "p_wilcoxon", "p_wilcoxon_holm",
)  # fmt: skip


def means(found: Comparison) -> list[Row]:
    """One row for each arm: mean ± deviation of each metric, with the marks of the tests."""
    rows = []
    for arm in found.arms:
        row: Row = {"arm": arm["arm"], "runs": len(arm["runs"])}
        for result in found.results:
            if result["arm"] == arm["arm"]:
                best = f" {BEST}" if result["best"] else ""
                row[result["metric"]] = _spread(result) + _marks(found, result) + best
        rows.append(row)
    return rows


def differences(found: Comparison) -> list[Row]:
    """One row for each arm and metric against the arm that it is compared with."""
    rows = []
    for result in found.results:
        if "p_t" not in result:
            continue
        row: Row = {"arm": result["arm"], "metric": result["metric"]}
        row["gain"] = f"{100 * result['gain']:+.1f} %"
        row["difference"] = _fixed(result["mean"] - result["baseline_mean"], "+")
        row["95 % interval"] = f"{_fixed(result['low'], '+')} … {_fixed(result['high'], '+')}"
        row["d"] = _fixed(result["effect_size"], "+", 3)
        if found.splits > 1:
            row["p splits"] = _p(result["p_split_holm"])
        row |= {"p t": _p(result["p_t_holm"]), "p Wilcoxon": _p(result["p_wilcoxon_holm"])}
        rows.append(row)
    return rows


def legend(found: Comparison, best: str = f"{BEST}: highest of its column") -> str:
    """What the figures and marks are."""
    several = found.splits > 1
    over = "splits and seeds" if several else "seeds"
    said = f"Test metrics, mean ± standard deviation over {over}. {best}."
    if not any("p_t" in row for row in found.results):
        return said
    marked = "*: p < 0.05, two-sided paired t-test over users; †: Wilcoxon"
    if several:
        marked = (
            f"*: p < 0.05, two-sided t-test over the means of {found.splits} splits, corrected for "
            "their common training data"
        )
    return f"{said} Against '{one_line(found.against)}', {found.chosen}. {marked}; Holm-Bonferroni."


def to_markdown(found: Comparison) -> str:
    """Two tables and what they are; the best of a column is bold."""
    parts = [_markdown(means(found)), f"{escaped(legend(found, BOLD))}\n"]
    if tests := differences(found):
        parts.append(_markdown(tests))
    parts += ["".join(f"- {escaped(note)}\n" for note in found.notes)] if found.notes else []
    return "\n".join(parts)


def to_latex(found: Comparison) -> str:
    """A table of a paper, for the package booktabs; the best of a column is bold."""
    heads = [_head(name) for name in found.metrics]
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex(legend(found, BOLD))}}}",
        rf"\begin{{tabular}}{{l{'c' * len(heads)}}}",
        r"\toprule",
        " & ".join(["Model", *heads]) + r" \\",
        r"\midrule",
    ]
    for arm in found.arms:
        cells = [_tex_cell(found, r) for r in found.results if r["arm"] == arm["arm"]]
        lines.append(" & ".join([_tex(arm["arm"]), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def to_csv(found: Comparison) -> str:
    """One row for each arm and metric, numbers in full; empty where there is no test."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for result in found.results:
        writer.writerow({name: _cell(result.get(name)) for name in COLUMNS})
    return file.getvalue()


def to_json(found: Comparison) -> str:
    """All that was found; NaN is null."""
    return json.dumps(_finite(asdict(found)), ensure_ascii=False, indent=2) + "\n"


def _head(metric: str) -> str:
    name, _, cutoff = metric.partition("@")
    return f"{HEADS.get(name, name)}@{cutoff}"


def _tex_cell(found: Comparison, result: Row) -> str:
    number = f"{result['mean']:.4f}"
    number = rf"\textbf{{{number}}}" if result["best"] else number
    spread = result["deviation"]
    deviation = "" if math.isnan(spread) else rf" {{\scriptsize $\pm$ {spread:.4f}}}"
    marks = _marks(found, result).replace("†", r"\dagger")
    return number + (f"$^{{{marks}}}$" if marks else "") + deviation


def _marks(found: Comparison, result: Row) -> str:
    tests = (("p_split_holm", "*"),) if found.splits > 1 else (
        ("p_t_holm", "*"), ("p_wilcoxon_holm", "†"))  # fmt: skip
    return "".join(mark for name, mark in tests if result.get(name, 1.0) < LEVEL)


def _spread(result: Row) -> str:
    mean = f"{result['mean']:.4f}"
    return mean if math.isnan(result["deviation"]) else f"{mean} ± {result['deviation']:.4f}"


def _fixed(value: float, sign: str = "", places: int = 4) -> str:
    shown = round(value, places) + 0.0  # without the sign of a zero
    return "—" if math.isnan(value) else f"{shown:{sign}.{places}f}"


def _p(value: float) -> str:
    return "<0.0001" if value < 1e-4 else _fixed(value)


def _markdown(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        cells = []
        for value in map(str, row.values()):
            text = escaped(value.removesuffix(f" {BEST}"))
            cells.append(f"**{text}**" if value.endswith(f" {BEST}") else text)
        lines.append(table_row(cells))
    return table_head(rows[0]) + "".join(lines)


def _tex(text: str) -> str:
    text = "".join(LATEX.get(letter, letter) for letter in one_line(text))
    return text.replace("±", r"$\pm$").replace("†", r"$\dagger$")


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", " ")) else text  # of a spreadsheet


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
