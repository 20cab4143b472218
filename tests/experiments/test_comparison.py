"""What compare finds and how each format writes it, on runs made by hand."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from mmx.errors import OptionError
from mmx.experiments.comparison import Comparison, compare_runs
from mmx.experiments.comparison_text import (
    differences,
    legend,
    means,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
)
from tests.experiments.made_runs import CLIP, made_run

BASE = np.array([0.1, 0.4, 0.2, 0.0, 0.3, 0.5])
HOSTILE = "cache/a|b_50%\x1b[31m$x\n&.parquet"
VBPR = {"model": "vbpr", "features": CLIP, "valid": 0.9}


def several(folder: Path) -> list[Path]:
    """Three splits: bpr with two seeds, vbpr better by 0.1 on each, ease as bpr."""
    runs = []
    for x in range(3):
        runs += [made_run(folder / f"b{x}{s}", BASE + x / 10, split=x, seed=s) for s in (0, 1)]
        runs.append(made_run(folder / f"v{x}", BASE + x / 10 + 0.1 + x / 100, split=x, **VBPR))
        runs.append(made_run(folder / f"e{x}", BASE + x / 10, split=x, seed=None, model="ease",
                             valid=0.1))  # fmt: skip
    return runs


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    runs = several(tmp_path_factory.mktemp("runs"))
    return compare_runs(runs, metrics=["recall@20", "ndcg@10", "recall@20"])


def test_rows(found: Comparison) -> None:
    assert (found.against, found.splits, found.ratio) == ("bpr", 3, 1 / 8)
    assert found.metrics == ["recall@20", "ndcg@10"]  # each once
    rows = {row["arm"]: row for row in found.results if row["metric"] == "recall@20"}
    assert list(rows) == ["bpr", "vbpr clip:image", "ease"]
    assert rows["bpr"]["mean"] == pytest.approx(0.35)
    assert rows["vbpr clip:image"]["gain"] == pytest.approx(0.11 / 0.35)
    assert [row["best"] for row in rows.values()] == [False, True, False]
    assert "p_t" not in rows["bpr"]
    assert rows["ease"]["p_split"] == 1.0
    p = [rows[name]["p_split"] for name in ("vbpr clip:image", "ease")]
    assert rows["vbpr clip:image"]["p_split_holm"] == pytest.approx(2 * p[0])
    assert found.notes == []  # a difference that is found needs no more splits


MARKDOWN = """\
| arm | runs | recall@20 | ndcg@10 |
| --- | --- | --- | --- |
| bpr | 6 | 0.3500 ± 0.0894 | 0.3500 ± 0.0894 |
| vbpr clip:image | 3 | **0.4600 ± 0.1100\\*** | **0.4600 ± 0.1100\\*** |
| ease | 3 | 0.3500 ± 0.1000 | 0.3500 ± 0.1000 |

Test metrics, mean ± standard deviation over splits and seeds. Bold: highest of its column. \
Against 'bpr', the best without features by validation recall@20. \\*: p \\< 0.05, two-sided \
t-test over the means of 3 splits, corrected for their common training data; Holm-Bonferroni.

| arm | metric | gain | difference | 95 % interval | d | p splits | p t | p Wilcoxon |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
CAPTION = (
    r"\caption{Test metrics, mean $\pm$ standard deviation over splits and seeds. Bold: highest of "
    r"its column. Against 'bpr', the best without features by validation recall@20. *: p "
    r"\textless{} 0.05, two-sided t-test over the means of 3 splits, corrected for their common "
    r"training data; Holm-Bonferroni.}"
)
BEST = r"\textbf{0.4600}$^{*}$ {\scriptsize $\pm$ 0.1100}"
LATEX = rf"""% \usepackage{{booktabs}}
\begin{{table}}
\centering
{CAPTION}
\begin{{tabular}}{{lcc}}
\toprule
Model & Recall@20 & NDCG@10 \\
\midrule
bpr & 0.3500 {{\scriptsize $\pm$ 0.0894}} & 0.3500 {{\scriptsize $\pm$ 0.0894}} \\
vbpr clip:image & {BEST} & {BEST} \\
ease & 0.3500 {{\scriptsize $\pm$ 0.1000}} & 0.3500 {{\scriptsize $\pm$ 0.1000}} \\
\bottomrule
\end{{tabular}}
\end{{table}}
"""


def test_markdown(found: Comparison) -> None:
    text = to_markdown(found)
    assert text.startswith(MARKDOWN)
    rest = text.removeprefix(MARKDOWN).splitlines()
    assert len(rest) == 4
    assert rest[0].startswith(
        "| vbpr clip:image | recall@20 | +31.4 % | +0.1100 | +0.1000 … +0.1200"
    )
    nothing = "+0.0 % | +0.0000 | +0.0000 … +0.0000 | +0.000 | 1.0000 | 1.0000 | 1.0000 |"
    assert rest[2] == f"| ease | recall@20 | {nothing}"


def test_latex(found: Comparison) -> None:
    assert to_latex(found) == LATEX


def test_csv(found: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert len(rows) == len(found.results) == 6
    for row, result in zip(rows, found.results, strict=True):
        assert row["arm"] == result["arm"]
        for name in ("mean", "deviation", "p_split_holm", "low", "effect_size"):
            value = result.get(name)
            assert row[name] == ("" if value is None or np.isnan(value) else str(value))


def test_json(found: Comparison) -> None:
    read = json.loads(to_json(found))
    assert read["against"] == "bpr"
    assert [len(arm["runs"]) for arm in read["arms"]] == [6, 3, 3]
    vbpr = read["results"][2]
    assert (vbpr["arm"], vbpr["metric"], vbpr["best"]) == ("vbpr clip:image", "recall@20", True)
    assert vbpr["p_split_holm"] == found.results[2]["p_split_holm"]


def test_one_split_is_tested_over_users_and_said(tmp_path: Path) -> None:
    many = np.resize(BASE, 6)
    runs = [made_run(tmp_path / "b", many, valid=0.4), made_run(tmp_path / "v", many + 0.1, **VBPR)]
    found = compare_runs(runs)
    assert found.primary == "t"
    assert means(found)[1]["recall@20"] == "0.3500*† ▲"
    assert "p splits" not in differences(found)[0]
    assert "†: Wilcoxon" in legend(found)
    assert r"\dagger" in to_latex(found)
    assert found.notes[0].startswith("one split: the tests are over its users")
    assert (
        "too few splits for a difference of 40.0 % in recall@20: 1 split and 1 seed would"
        in (found.notes[1])
    )
    assert json.loads(to_json(found))["results"][4]["p_split"] is None


def test_too_few_splits_are_said(tmp_path: Path) -> None:
    runs = []
    for x in range(2):
        runs.append(made_run(tmp_path / f"b{x}", BASE, split=x))
        runs.append(made_run(tmp_path / f"v{x}", BASE + [0.02, 0.05][x], split=x, **VBPR))
    (note,) = compare_runs(runs).notes
    assert note.startswith(
        "vbpr clip:image: too few splits for a difference of 14.0 % in recall@20:"
    )
    assert "2 splits and 1 seed would show it with probability 0." in note


def test_against_any(tmp_path: Path) -> None:
    runs = several(tmp_path)
    found = compare_runs(runs, to="ease", metrics=["recall@20"])
    assert (found.against, found.chosen) == ("ease", "by name")
    assert compare_runs(runs, to=str(runs[2])).against == "vbpr clip:image"
    assert compare_runs(runs, to="best-baseline").against == "bpr"
    assert compare_runs(runs[2::4]).chosen == "the first given"  # none is without features
    alone = compare_runs(runs[:2])
    assert alone.notes == ["all runs are of one arm: nothing to compare"]
    assert "Against" not in legend(alone)
    assert differences(alone) == []
    assert not any(row["best"] for row in alone.results)
    with pytest.raises(OptionError, match="no run is without features"):
        compare_runs(runs[2::4], to="best-baseline")
    with pytest.raises(OptionError, match=r"--metrics recal@20: .* did you mean 'recall@20'"):
        compare_runs(runs, metrics=["recal@20"])
    with pytest.raises(OptionError, match="--metrics names none"):
        compare_runs(runs, metrics=[])


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    features = [{"modality": "image", "store": HOSTILE}]
    runs = [made_run(tmp_path / "a", BASE, model="=1+1", features=features),
            made_run(tmp_path / "b", BASE + 0.1)]  # fmt: skip
    found = compare_runs(runs)
    tex, markdown, table = to_latex(found), to_markdown(found), to_csv(found)
    assert r"=1+1 a\textbar{}b\_50\% [31m\$x \&:image" in tex
    assert r"| =1+1 a\|b\_50% \[31m\$x &:image |" in markdown
    assert "\n'=1+1 a|b_50% [31m$x &:image," in table
    for text in (tex, markdown, table):
        assert "\x1b" not in text
