"""Holm's correction by hand, paired tests against their formulas, and the pairing of users."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from mmx.errors import RunError
from mmx.experiments.cells import groups
from mmx.experiments.outcome import Finished
from mmx.experiments.significance import compare
from mmx.experiments.statistics import holm, paired
from tests.experiments.tiny import tiny_plan

METRICS = ("recall@10", "ndcg@10", "recall@20", "ndcg@20")


def test_holm_by_hand() -> None:
    """0.005 × 4 = 0.02; 0.01 × 3 = 0.03; 0.03 × 2 = 0.06; 0.04 × 1 = 0.04, raised to 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([0.5]) == pytest.approx([0.5])
    assert len(holm([])) == 0


def test_paired_t_by_its_formula() -> None:
    """t = mean of the differences / (deviation / √n), two-sided over n - 1 degrees of freedom."""
    rng = np.random.default_rng(0)
    a, b = rng.random(30), rng.random(30)
    d = a - b
    t = d.mean() / (d.std(ddof=1) / np.sqrt(30))
    p_t, p_w = paired(a, b)
    assert p_t == pytest.approx(2 * stats.t.sf(abs(t), 29))
    assert paired(b, a) == pytest.approx((p_t, p_w))


def test_wilcoxon_by_enumeration() -> None:
    """Five differences without ties: the share of the 32 sign patterns at least as extreme."""
    d = np.array([1.0, -2.0, 3.0, 4.0, 5.0])
    ranks = np.arange(1, 6)
    observed = min(ranks[d > 0].sum(), ranks[d < 0].sum())
    signs = [[(n >> bit) & 1 for bit in range(5)] for n in range(32)]
    sums = [min(np.dot(s, ranks), 15 - np.dot(s, ranks)) for s in signs]
    expected = np.mean([total <= observed for total in sums])
    assert paired(d, np.zeros(5))[1] == pytest.approx(expected)


def test_nothing_varies() -> None:
    same = np.array([0.1, 0.5, 0.0])
    assert paired(same, same.copy()) == (1.0, 1.0)
    assert paired(same, same + 1e-15) == (1.0, 1.0)  # what a mean over seeds leaves behind
    assert paired(same[:1], same[:1] + 1) == (1.0, 1.0)  # one user shows nothing


def write_run(path: Path, users: list[str], values: np.ndarray) -> None:
    path.mkdir()
    table = {"user_id": users, **{name: values + place for place, name in enumerate(METRICS)}}
    pq.write_table(pa.table(table), path / "per_user.parquet")


def test_users_pair_whatever_their_order_and_seeds_are_averaged(tmp_path: Path) -> None:
    plan = tiny_plan()
    by_name = {(g.trials[0].features, g.trials[0].recommender): g.trials[0] for g in groups(plan)}
    image, both = by_name["image", "vbpr"], by_name["both", "vbpr"]
    users = [f"u{n:02}" for n in range(12)]
    base = np.linspace(0, 1, 12)
    gain = np.linspace(-0.1, 0.3, 12)
    write_run(tmp_path / "i", users, base)
    write_run(tmp_path / "b3", users[::-1], (base + gain)[::-1])
    write_run(tmp_path / "b4", users, base + 3 * gain)
    finished = [
        Finished(image, tmp_path / "i"),
        Finished(both, tmp_path / "b3"),
        Finished(replace(both, training=replace(both.training, seed=4)), tmp_path / "b4"),
        Finished(by_name["none", "bpr"], tmp_path / "nothing is read of it"),
    ]
    rows = compare(plan, finished)
    assert [(r["features"], r["metric"]) for r in rows] == [("both", m) for m in METRICS]
    expected = stats.ttest_rel(base + 2 * gain, base).pvalue
    for place, row in enumerate(rows):
        assert row["p_t"] == pytest.approx(expected)
        assert row["p_t_holm"] == row["p_t"]  # one comparison of each metric
        assert row["users"] == 12
        assert row["mean"] == pytest.approx((base + 2 * gain).mean() + place)
        assert row["baseline_mean"] == pytest.approx(base.mean() + place)


def test_corrected_over_the_comparisons_of_a_metric(tmp_path: Path) -> None:
    more = {"extract": [{"model": "toy", "use": ["text"]}]}
    plan = tiny_plan(features={**{"none": "none", "image": more, "both": more, "text": more}})
    cells = {g.trials[0].features: g.trials[0] for g in groups(plan)}
    users, rng = [f"u{n}" for n in range(20)], np.random.default_rng(1)
    for name in ("image", "both", "text"):
        write_run(tmp_path / name, users, rng.random(20))
    rows = compare(plan, [Finished(cells[n], tmp_path / n) for n in ("image", "both", "text")])
    for metric in METRICS:
        family = [row for row in rows if row["metric"] == metric]
        low, high = sorted(row["p_t"] for row in family)
        found = sorted(row["p_t_holm"] for row in family)
        assert found == pytest.approx([min(1, 2 * low), min(1, max(2 * low, high))])


def test_a_control_is_compared_with_its_own_features(tmp_path: Path) -> None:
    """In a family of its own, so that it does not change what is said of the features."""
    store = {"stores": ["x"]}
    plan = tiny_plan(features={"none": "none", "image": store, "text": store}, control=["noise"])
    cells = {(g.trials[0].features, g.trials[0].arm): g.trials[0] for g in groups(plan)}
    users, rng, finished = [f"u{n}" for n in range(20)], np.random.default_rng(1), []
    for place, key in enumerate(key for key in cells if key[0] != "none"):
        write_run(tmp_path / str(place), users, rng.random(20) + place / 10)
        finished.append(Finished(cells[key], tmp_path / str(place)))
    rows = [row for row in compare(plan, finished) if row["metric"] == "ndcg@10"]
    pairs = [(row["features"], row["control"], row["baseline"]) for row in rows]
    assert pairs == [
        ("image", "noise", "image"),
        ("text", None, "image"),
        ("text", "noise", "text"),
    ]
    assert rows[1]["p_t_holm"] == rows[1]["p_t"]
    assert rows[2]["baseline_mean"] == rows[1]["mean"]
    arms = sorted([rows[0], rows[2]], key=lambda row: row["p_t"])
    assert arms[0]["p_t_holm"] == pytest.approx(min(1, 2 * arms[0]["p_t"]))


def test_other_users_are_not_paired(tmp_path: Path) -> None:
    plan = tiny_plan()
    cells = {g.trials[0].features: g.trials[0] for g in groups(plan)}
    write_run(tmp_path / "i", ["a", "b"], np.zeros(2))
    write_run(tmp_path / "b", ["a", "c"], np.ones(2))
    runs = [Finished(cells["image"], tmp_path / "i"), Finished(cells["both"], tmp_path / "b")]
    with pytest.raises(RunError, match="tested other users"):
        compare(plan, runs)
