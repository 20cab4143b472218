"""The rules of --split in a plan."""

from pathlib import Path

import pytest
import yaml

from mmx.data.splits import SplitRule
from mmx.errors import OptionError
from mmx.experiments.plan import parse_plan
from tests.experiments.tiny import tiny_content


def rule(text: str) -> SplitRule:
    dataset = {"sample": {}, **yaml.safe_load(text)}
    return parse_plan(tiny_content(datasets={"d": dataset}), Path()).datasets["d"].rule


def test_a_plan_takes_what_the_command_takes() -> None:
    dated = rule("{split: temporal, at: 2014-05-01, targets: first}")  # YAML makes it a date
    assert dated == SplitRule("temporal", at="2014-05-01", targets="first")
    assert rule("{split: users, at: 0.8}") == SplitRule("users", at=0.8)
    assert rule("{split: temporal, at: 1398902400}").at == 1398902400
    assert rule("{split: random, folds: 5, fold: 4}") == SplitRule("random", folds=5, fold=4)


@pytest.mark.parametrize(
    "text",
    ["{split: random, at: 0.8}", "{split: temporal, at: [1]}", "{folds: 5, fold: 5}",
     "{split: users, targets: last}", "{folds: two}"],
)  # fmt: skip
def test_what_does_not_fit_says_where(text: str) -> None:
    with pytest.raises(OptionError, match=r"plan\.datasets\.d"):
        rule(text)
