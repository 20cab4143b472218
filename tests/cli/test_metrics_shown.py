"""What ``mmx evaluate`` prints follows the metrics there are."""

from __future__ import annotations

import pytest

from mmx.cli.evaluate_output import print_metrics
from mmx.recommend.metrics import METRICS


def test_every_metric_has_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(METRICS, "novelty", METRICS["recall"])
    counts = dict.fromkeys(("test_users_without_training", "test_users", "test_items"), 1.0)
    print_metrics({"test": {f"{name}@5": 0.5 for name in METRICS}, "counts": counts})
    printed = capsys.readouterr().out
    assert [name for name in METRICS if name not in printed] == []
