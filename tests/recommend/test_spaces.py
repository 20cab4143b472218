"""Default spaces of the searches: one for every model, of settings that it has."""

from __future__ import annotations

import numpy as np
import pytest

from mmx.errors import OptionError
from mmx.recommend.models import MODELS
from mmx.recommend.models.spaces import RATE, SPACES, Range, default_space, few_points
from mmx.recommend.options import TrainOptions
from mmx.recommend.settings import parse_settings

TRAINING = set(TrainOptions.__dataclass_fields__)


def test_every_model_has_one() -> None:
    assert SPACES.keys() == MODELS.keys()


@pytest.mark.parametrize("name", sorted(MODELS))
def test_both_ends_and_draws_are_settings_of_the_model(name: str) -> None:
    record, rng = MODELS[name], np.random.default_rng(0)
    space, defaults = default_space(record), record.defaults()
    assert record.closed_form or (space["lr"].low, space["lr"].high) == (RATE.low, RATE.high)  # type: ignore[union-attr]
    assert space.keys() - defaults.keys() <= ({"lr"} & TRAINING)
    for key, values in space.items():
        if key == "lr":
            continue
        if isinstance(values, Range):
            tried = [values.low, values.high, *(values.draw(rng) for _ in range(9))]
            inside = values.low <= defaults[key] <= values.high
        else:
            tried, inside = list(values), defaults[key] in values
        for value in tried:
            parse_settings(record, [f"{key}={value}"])
        assert inside or (defaults[key] == 0 and key == "reg"), (key, defaults[key])


def test_the_few_points_are_those_of_the_measured_grid() -> None:
    grids = {name: few_points(name) for name in MODELS if few_points(name)}
    assert grids["bpr"] == {"reg": [0.01, 0.03, 0.1]}
    assert grids["vbpr"] == {"reg": [0.01, 0.03, 0.1], "content_reg": [0.003, 0.03, 0.3]}
    trained = {name for name, record in MODELS.items() if not record.closed_form}
    assert grids.keys() == trained
    assert all(grids[name]["lr"] == [0.001, 0.003] for name in trained - {"bpr", "vbpr"})
    own = {name: MODELS[name].lr for name in trained}
    assert all(rate in grids[name].get("lr", [0.001]) for name, rate in own.items())


def test_draws_of_a_range() -> None:
    rng = np.random.default_rng(1)
    drawn = [Range(1e-4, 1e-2, log=True).draw(rng) for _ in range(500)]
    assert 0.4 < np.mean(np.array(drawn) < 1e-3) < 0.6  # even over the logarithm
    assert all(1e-4 <= x <= 1e-2 and float(f"{x:.3g}") == x for x in drawn)
    whole = [Range(1, 3).draw(rng) for _ in range(300)]
    assert {type(x) for x in whole} == {int}
    assert min(np.bincount(whole)[1:]) > 70
    assert [Range(1, 3).at(share) for share in (0.0, 0.5, 0.9999, 1.0)] == [1, 2, 3, 3]
    assert {Range(4, 64, log=True).draw(rng) for _ in range(300)} >= {4, 5, 64}
    assert Range(0.10004, 0.2).at(0.0) == 0.10004  # rounding never leaves the range


@pytest.mark.parametrize(
    ("range_", "inner", "edge"),
    [(Range(0.0, 1.0), 0.06, 0.04), (Range(1e-4, 1.0, log=True), 2e-4, 1.3e-4),
     (Range(1, 4), 2, 4), (Range(1, 100, log=True), 2, 1), (Range(0.0, 1.0), 0.9, 0.96)],
)  # fmt: skip
def test_the_edge_of_a_range(range_: Range, inner: float, edge: float) -> None:
    assert (range_.at_edge(inner), range_.at_edge(edge)) == (False, True)


@pytest.mark.parametrize(
    ("values", "said"),
    [((2, 1), "low 2 is not below high 1"), ((0.0, 1, True), "log needs a low above 0"),
     ((float("nan"), 1), "low: a finite number"), (("x", 1), "low: a number is expected"),
     ((True, 2), "low: a number"), ((1, 2, "yes"), "log: true or false")],
)  # fmt: skip
def test_what_is_not_a_range(values: tuple, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Range(*values)
