"""External ids to numbers and back."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmx.data.vocabulary import Vocabulary
from mmx.errors import OptionError, UnknownIdError


@given(st.lists(st.text(min_size=1), min_size=1, unique=True))
def test_round_trip(ids: list[str]) -> None:
    vocabulary = Vocabulary(ids)
    numbers = vocabulary.numbers(list(reversed(ids)))
    assert numbers.tolist() == list(range(len(ids)))[::-1]
    assert vocabulary.externals(numbers).to_pylist() == ids[::-1]


def test_missing_ids_raise_or_are_negative() -> None:
    vocabulary = Vocabulary(["mug", "lamp"], "item")
    assert vocabulary.numbers(["lamp", "chair"], missing="negative").tolist() == [1, -1]
    with pytest.raises(UnknownIdError, match="unknown item: lamb; did you mean 'lamp'"):
        vocabulary.numbers(["mug", "lamb"])


def test_repeated_ids_are_refused() -> None:
    with pytest.raises(UnknownIdError, match="not unique"):
        Vocabulary(["a", "a"])


def test_numbers_out_of_range_are_refused() -> None:
    for number in (-1, 2):
        with pytest.raises(UnknownIdError):
            Vocabulary(["a", "b"]).externals(np.array([number]))


def test_chunked_ids() -> None:
    vocabulary = Vocabulary(pa.chunked_array([["a"], ["b"]]))
    assert vocabulary.numbers(pa.chunked_array([["b"], ["a"]])).tolist() == [1, 0]
    assert "a" in vocabulary
    assert "z" not in vocabulary


def test_a_text_that_utf8_cannot_write_is_not_an_id() -> None:
    with pytest.raises(OptionError, match=r"'a\\udcff' is not an id: text is expected, which"):
        Vocabulary(["a"]).numbers(["a", "a\udcff"], "negative")
