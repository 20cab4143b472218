"""Titles, columns of any type and pictures of items."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mmx.errors import OptionError
from mmx.report.items import Cards

IDS = [f"i{n}" for n in range(12)]
TWO = {  # columns of two values, and how these are called
    "coded": (pa.array(["a", "b"] * 6).dictionary_encode(), ["a", "b"]),
    "view": (pa.array(["a", "b"] * 6, pa.string_view()), ["a", "b"]),
    "unique": (pa.array([bytes(16), bytes([1]) * 16] * 6, pa.uuid()),
               ["00000000-0000-0000-0000-000000000000", "01010101-0101-0101-0101-010101010101"]),
    "late": (pa.array([2**40, 0] * 6, pa.timestamp("s")), None),
    "exact": (pa.array([Decimal("1.5"), Decimal("2.5")] * 6), ["1.5", "2.5"]),
    "new": (pa.array([True, False] * 6), ["True", "False"]),
    "raw": (pa.array([b"a", b"\xff"] * 6), ["b'a'", "b'\\xff'"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TWO)
def test_a_column_of_any_type_colours(name: str) -> None:
    values, names = TWO[name]
    items = Cards(pa.table({"item_id": IDS, name: values}), None)
    assert items.column(None) == name
    groups, found = items.colours(name, pa.array([*IDS, "not there"]))
    assert groups.tolist() == [0, 1] * 6 + [-1]
    assert len(found) == 2
    assert names in (None, found)


@pytest.mark.parametrize(
    "values",
    [pa.nulls(12), pa.array([["a"], ["b"]] * 6), pa.array([{"a": 1}, {"a": 2}] * 6),
     pa.array([0.5, 1.5] * 6), pa.array(["a"] * 12), pa.array(range(100, 113))[:12]],
)  # fmt: skip
def test_columns_that_are_not_chosen(values: pa.Array) -> None:
    table = pa.table({"item_id": IDS, "x": values})
    few = len(values.unique()) <= 12 if pa.types.is_integer(values.type) else False
    assert Cards(table, None).column(None) == ("x" if few else None)
    assert Cards(table, None).column("x") == "x"


def test_which_column_is_chosen() -> None:
    two, many = ["a", "b"] * 6, [f"v{n}" for n in range(12)]
    columns: dict[str, Any] = {"item_id": IDS, "title": two, "text": two, "first": two}
    assert Cards(pa.table(columns), None).column(None) == "first"
    assert Cards(pa.table({**columns, "brand": two}), None).column(None) == "brand"
    assert Cards(pa.table({**columns, "brand": two, "genre": many}), None).column(None) == "genre"
    assert Cards(pa.table({**columns, "brand": two, "genre": ["a"] * 12}), None).column(
        None) == "brand"  # fmt: skip
    thirteen = pa.table({"item_id": [*IDS, "i12"], "x": [*many, "v12"]})
    assert Cards(thirteen, None).column(None) is None
    assert Cards(None, None).column(None) is None
    with pytest.raises(OptionError, match="--column x: no items table is there; give --data DIR"):
        Cards(None, None).column("x")
    with pytest.raises(OptionError, match="did you mean 'first'"):
        Cards(pa.table(columns), None).column("frist")
    with pytest.raises(OptionError, match=r"--column x is list<.*a column of texts or numbers"):
        Cards(pa.table({"item_id": IDS, "x": [["a"]] * 12}), None).colours("x", pa.array(IDS))


def test_numbers_are_fifths_where_there_are_many() -> None:
    large = pa.array([2**64 - 1 - n for n in range(12)], pa.uint64())  # float64 has one of these
    groups, names = Cards(pa.table({"item_id": IDS, "x": large}), None).colours("x", pa.array(IDS))
    assert (groups.tolist(), names) == ([0] * 12, ["1.845e+19"])
    nan, inf = float("nan"), float("inf")
    odd = [nan, inf, -inf, None, 0, 0, 0, 1, 2, 3, 4, 5]
    odd = pa.array([*odd, 6, 7, 8, 9, 10], pa.float64())
    ids = [f"i{n}" for n in range(17)]
    groups, names = Cards(pa.table({"item_id": ids, "x": odd}), None).colours("x", pa.array(ids))
    assert groups[:4].tolist() == [-1] * 4
    assert groups[4:].tolist() == sorted(groups[4:])
    assert names[0].startswith("0 to ")
    assert names[-1].endswith(" to 10")
    assert groups.max() == len(names) - 1
    eight = pa.table({"item_id": IDS[:8], "x": range(8)})  # no more than there are colours
    assert Cards(eight, None).colours("x", pa.array(IDS[:8]))[1] == [str(n) for n in range(8)]
    few = pa.table({"item_id": IDS[:4], "x": [nan, 2.5, None, 2.5]})
    groups, names = Cards(few, None).colours("x", pa.array(IDS[:4]))
    assert (groups.tolist(), names) == ([-1, 0, -1, 0], ["2.5"])


def test_what_stands_for_an_item() -> None:
    table = pa.table({
        "item_id": IDS[:5], "title": ["A", None, " ", "x" * 200, ""],
        "text": ["text", "words", None, "text", "  "],
    })  # fmt: skip
    titles = Cards(table, None).titles([*IDS[:5], "gone", "i0"])
    assert titles == {"i0": "A", "i1": "words", "i2": "i2", "i3": "x" * 89 + "…", "i4": "i4",
                      "gone": "gone"}  # fmt: skip
    assert Cards(None, None).titles(["i0"]) == {"i0": "i0"}
    assert not Cards(table, None).pictures
    (one, other) = Cards(table, None).cards(["i0", "i3"], ["<p>under</p>", ""])
    assert '<div class="blank" aria-hidden="true">A</div>' in one
    assert one.endswith("A</div><p>under</p></div>")
    assert ">X</div>" in other
    assert np.array_equal(Cards(table, None).colours(None, pa.array(IDS))[0], np.full(12, -1))


def test_pictures_of_another_size_are_others() -> None:
    items = Cards(None, None)
    items.made = {("i0", 96): "large", ("i0", 56): "small", ("i1", 96): "other"}
    assert items.embedded(["i0"], 56) == {"i0": "small"}
    assert items.embedded(["i0"]) == {"i0": "large", "i1": "other"}
