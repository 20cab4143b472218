"""Charts: round ticks, finite places, words for those who do not see them."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from mmx.report.items import Cards
from mmx.report.markup import number, table
from mmx.report.svg import Line, bars, dots, intervals, lines, ticks

NAN = float("nan")


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.013, 0.27), (-3, 7e6), (5, 5), (0, 1e-9), (NAN, NAN), (-2, -1)]
)
def test_ticks_are_few_even_and_around(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 9
    steps = np.diff(found)
    assert np.allclose(steps, steps[0])
    if high > low:
        assert found[0] <= low + 1e-12
        assert found[-1] >= high - 1e-12


DRAWN = {
    "lines": lines([Line("a<b", [0, 1, 2], [0.5, NAN, 0.25], 2), Line("none", [], [])], "x", "y"),
    "one point": lines([Line("a", [3], [0.0])], "x", "y"),
    "long": lines([Line("a", list(range(5000)), list(range(5000)))], "x", "y"),
    "bars": bars(["g<", "h"], {"a": [0.1, NAN], "b": [0.0, -0.2]}, "x", "y"),
    "no bars": bars([], {}, "x", "y"),
    "intervals": intervals([("a&b", -1, 0, 2), ("nan", NAN, 0, 1)], "x"),
    "no intervals": intervals([], "x"),
    "dots": dots(np.array([[0, 1], [0.5, 0.5]]), np.array([0, -1]), [], "map <of>"),
    "no dots": dots(np.zeros((0, 2)), np.zeros(0, int), [], "map"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawing_is_xml_with_words_and_stays_inside(name: str) -> None:
    drawing = ElementTree.fromstring(DRAWN[name])
    assert drawing.get("role") == "img"
    assert drawing.get("aria-label")
    _, _, width, height = map(float, (drawing.get("viewBox") or "").split())
    for one in drawing.iter():
        inside = dict.fromkeys(("x", "cx", "x1", "x2"), width)
        inside |= dict.fromkeys(("y", "cy", "y1", "y2"), height)
        for key, most in inside.items():
            value = one.get(key)
            assert value is None or 0 <= float(value) <= most, (key, value)
    places = re.findall(r'points="([^"]*)"', DRAWN[name])
    assert all(math.isfinite(float(n)) for one in places for n in re.split("[ ,]", one) if n)
    assert len(DRAWN[name]) < 12_000


def test_what_a_chart_says_and_draws() -> None:
    assert "a&lt;b: from 0.5 to 0.25, highest 0.5" in DRAWN["lines"]
    assert "<circle" in DRAWN["lines"]
    assert DRAWN["bars"].count("<rect") == 3
    assert "a&amp;b 0, from -1 to 2" in DRAWN["intervals"]
    tall = bars(["a", "b"], {"s": [1.0, 0.5]}, "x", "y")
    one, half = (float(h) for h in re.findall(r'<rect[^>]* height="([\d.]+)"', tall))
    assert one == pytest.approx(2 * half, abs=0.2)


def test_numbers_and_tables() -> None:
    assert [number(v) for v in (1234, 0.12345, 12.34, NAN, None, "a", True)] == [
        "1,234", "0.1235", "12.3", "—", "—", "a", "True",
    ]  # fmt: skip
    assert table(["a", "b"], [["x", 1], ["y", None]]).count('class="n"') == 3
    assert "<tbody></tbody>" in table(["a"], [])


def test_colours_of_columns() -> None:
    import pyarrow as pa

    ids = [f"i{n}" for n in range(40)]
    columns = {"item_id": ids, "price": [n / 2 for n in range(40)], "kind": ["a", "b"] * 20,
               "id2": ids, "none": [None] * 40}  # fmt: skip
    items = Cards(pa.table(columns), None)
    assert items.column(None) == "kind"
    groups, names = items.colours("price", pa.array(["i0", "i39", "not there"]))
    assert groups.tolist() == [0, 0, -1] or len(names) <= 5
    whole, names = items.colours("price", pa.array(ids))
    assert len(names) == 5
    assert np.bincount(whole).tolist() == [8] * 5
    many, names = items.colours("id2", pa.array(ids))
    assert len(names) == 8
    assert (many == -1).sum() == 32
    assert items.colours("none", pa.array(ids))[1] == []
