"""What is left of a gain under controls, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmx.experiments.gains import gains, in_words
from mmx.experiments.outcome import Finished
from mmx.experiments.plan import Plan
from mmx.experiments.report import summary
from tests.experiments.planted import planted
from tests.experiments.tiny import tiny_plan

FEATURES = {"none": "none", "image": {"stores": ["x"]}}


def plan_of(against: str | None = None) -> Plan:
    return tiny_plan(
        features=FEATURES, control=["shuffle"], metrics=["recall@20"],
        recommenders={"ease": None, "bpr": None, "vbpr": {"against": against}},
    )  # fmt: skip


def runs(path: Path, *, shuffle: float = 0.125) -> list[Finished]:
    """MF-BPR 0.10, VBPR 0.15; EASE is worse by validation, and absurdly good on test."""
    return [
        planted(path, "ease", 3, 0.99, 0.05),
        planted(path, "bpr", 3, 0.09, 0.20),
        planted(path, "bpr", 4, 0.11, 0.20),
        planted(path, "vbpr", 3, 0.14, 0.30),
        planted(path, "vbpr", 4, 0.16, 0.30),
        planted(path, "vbpr", 3, shuffle - 0.01, 0.30, "shuffle"),
        planted(path, "vbpr", 4, shuffle + 0.01, 0.30, "shuffle"),
    ]


def test_what_is_left_by_hand(tmp_path: Path) -> None:
    (row,) = gains(plan_of(), runs(tmp_path))
    assert row == {
        "dataset": "tiny", "recommender": "vbpr", "features": "image", "control": "shuffle",
        "without": "bpr", "metric": "recall@20", "value": pytest.approx(0.15),
        "value_control": pytest.approx(0.125), "value_without": pytest.approx(0.1),
        "gain": pytest.approx(0.05), "gain_control": pytest.approx(0.025),
        "left": pytest.approx(0.5), "spread": pytest.approx(0.02),
    }  # fmt: skip
    assert in_words(plan_of(), [row]) == [
        "tiny: vbpr with image has recall@20 0.1500, bpr without features 0.1000: a gain of 0.0500 "
        "(+50.0%). Left of it: 50% under shuffle (0.1250)."
    ]


def test_the_plan_may_name_the_model_without_features(tmp_path: Path) -> None:
    plan = plan_of("ease")
    (row,) = gains(plan, runs(tmp_path))
    assert (row["without"], row["value_without"], row["left"]) == ("ease", 0.99, None)
    (words,) = in_words(plan, [row])
    assert words.endswith("ease without features 0.9900: no gain. Under shuffle 0.1250.")


def test_above_nothing(tmp_path: Path) -> None:
    """No relative gain over 0, and no share of a gain that is rounding."""
    found = [planted(tmp_path, "bpr", 3, 0.0, 0.2), planted(tmp_path, "vbpr", 3, 0.1, 0.3)]
    found.append(planted(tmp_path, "vbpr", 3, 0.05, 0.3, "shuffle"))
    (words,) = in_words(plan_of(), gains(plan_of(), found))
    assert "bpr without features 0.0000: a gain of 0.1000. Left of it: 50% under shuffle" in words
    found[0] = planted(tmp_path, "ease", 3, 0.1 - 1e-16, 0.2)
    assert gains(plan_of(), found)[0]["left"] is None


def test_marks_are_in_the_row_that_they_are_of(tmp_path: Path) -> None:
    test = {"dataset": "tiny", "recommender": "vbpr", "features": "image", "control": "shuffle"}
    test |= {"metric": "recall@20", "p_t_holm": 0.01, "p_wilcoxon_holm": 0.5, "splits": 1}
    rows = summary(plan_of(), runs(tmp_path), [test])
    marked = {(row["recommender"], row["control"]): row["recall@20"][-1] == "*" for row in rows}
    assert [key for key, mark in marked.items() if mark] == [("vbpr", "shuffle")]


def test_nothing_is_left(tmp_path: Path) -> None:
    (words,) = in_words(plan_of(), gains(plan_of(), runs(tmp_path, shuffle=0.08)))
    assert words.endswith("Left of it: none under shuffle (0.0800).")


def test_a_gain_within_the_deviation_says_little(tmp_path: Path) -> None:
    found = [*runs(tmp_path), planted(tmp_path, "vbpr", 5, 0.60, 0.3)]
    (words,) = in_words(plan_of(), gains(plan_of(), found))
    assert "It is below the deviation of such a difference over the seeds (" in words
    one = [run for run in found if run.cell.training.seed == 3]
    (words,) = in_words(plan_of(), gains(plan_of(), one))
    assert words.endswith(" One run of each does not say how much of it is chance.")


def test_without_a_model_without_features(tmp_path: Path) -> None:
    """Not finished, or the one that the plan names is not."""
    found = runs(tmp_path)
    for plan, some in ((plan_of(), found[3:]), (plan_of("bpr"), [found[0], *found[3:]])):
        (row,) = gains(plan, some)
        assert (row["without"], row["gain"], row["left"]) == (None, None, None)
        (words,) = in_words(plan, [row])
        assert "No model without features is finished, so a gain over one is not known." in words
    assert gains(plan_of(), found[:3] + found[5:]) == []  # the features themselves are missing


def test_where_nothing_validates_the_first_counts(tmp_path: Path) -> None:
    none = float("nan")
    found = [planted(tmp_path, name, 3, 0.1, none) for name in ("ease", "bpr", "vbpr")]
    found.append(planted(tmp_path, "vbpr", 3, 0.1, none, "shuffle"))
    assert gains(plan_of(), found)[0]["without"] == "ease"
