"""Rules of a split that contradict themselves."""

from typing import Any

import pytest

from mmx.data.splits import SplitRule
from mmx.errors import OptionError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"at": 0.9}, "--at needs --split temporal, users or cold-items; --split is auto"),
        ({"rule": "temporal", "at": 0.4}, "--at 0.4: above 0.5"),
        ({"rule": "temporal", "at": "soon"}, "--at soon: a date"),
        ({"rule": "temporal", "at": "2014-13-01"}, "--at 2014-13-01: a date"),
        ({"rule": "temporal", "at": "nan"}, "--at nan: a date"),
        ({"rule": "temporal", "at": ""}, "--at '': a date"),
        ({"rule": "temporal", "at": "2014\n05"}, "--at '2014\\n05': a date"),
        ({"rule": "temporal", "at": float("inf")}, "--at inf: a date"),
        ({"rule": "temporal", "at": 1.0, "folds": 5}, "--folds needs"),
        ({"rule": "temporal", "at": True}, "--at True: a date"),
        ({"rule": "temporal", "at": [1]}, "a date"),
        ({"rule": "users", "at": "2014-01-01"}, "--split users takes a share"),
        ({"rule": "users", "targets": "last"}, "--targets needs --split temporal"),
        ({"rule": "temporal", "targets": "lst"}, "did you mean 'last'"),
        ({"rule": "temporal", "folds": 5}, "--folds needs --split random, users or cold-items"),
        ({"rule": "users", "folds": 5, "at": 0.8}, "drop --at"),
        ({"folds": 2}, "--folds 2: at least 3"),
        ({"folds": 5, "fold": 5}, "--fold 5: at most 4"),
        ({"fold": 1}, "--fold 1 needs --folds"),
    ],
)
def test_options_that_do_not_go_together(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        SplitRule(**fields)
    assert message in str(caught.value)
