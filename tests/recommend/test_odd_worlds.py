"""Every model on tiny and odd worlds: finite scores, or one error where nothing can be learned."""

from __future__ import annotations

import warnings

import pytest

from mmx.errors import DataError
from mmx.recommend.models import MODELS
from tests.recommend.odd_worlds import WORLDS, check, fitted, taken_by


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", MODELS)
def test_scores_are_finite_or_one_error_is_clear(name: str, world: str) -> None:
    record, odd = MODELS[name], WORLDS[world]
    for settings in taken_by(record):
        if odd.no_negative and not record.closed_form:
            with pytest.raises(DataError, match="no negative item"):
                fitted(record, odd, settings)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", ResourceWarning)  # of other tests, collected here
            warnings.filterwarnings("ignore", "Sparse (CSR|invariant)")  # as graph.py has it
            scorer = fitted(record, odd, settings)
        check(scorer, odd, settings)
