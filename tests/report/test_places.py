"""Where charts put what they draw: computed here again from their size and margins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from mmx.report import svg
from mmx.report.svg import Line, bars, chart, dots, intervals, lines, ticks

LEFT, RIGHT, TOP, BOTTOM = 54.0, 350.0, 10.0, 188.0  # of the plane of a chart
NAN = float("nan")


def elements(drawing: str, kind: str) -> list[dict[str, str]]:
    return [one.attrib for one in ElementTree.fromstring(drawing).iter(kind)]


def texts(drawing: str, kind: str) -> list[tuple[str, float, float]]:
    return [(one.text or "", float(one.get("x", "nan")), float(one.get("y", "nan")))
            for one in ElementTree.fromstring(drawing).iter("text")
            if one.get("class") == kind and one.get("x")]  # fmt: skip


def points(drawing: str) -> Iterator[list[tuple[float, float]]]:
    for one in elements(drawing, "polyline"):
        yield [tuple(map(float, pair.split(","))) for pair in one["points"].split()]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.3, 12, [0, 2.5, 5, 7.5, 10, 12.5]), (-2, -1, [-2, -1.8, -1.6, -1.4, -1.2, -1]),
        (0, 0.05, [0, 0.01, 0.02, 0.03, 0.04, 0.05]), (5, 5, [5, 6, 7, 8, 9, 10]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1]), (NAN, 3, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (3, float("inf"), [3, 4, 5, 6]), (3, 1, [3, 4, 5, 6]), (-4, -5, [-4, -3, -2, -1, 0]),
    ],
)  # fmt: skip
def test_ticks(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_lines() -> None:
    drawn = lines([Line("a", [0, 5, 10], [1, 3, 4], 5), Line("b", [2, 4], [0, NAN])], "x", "y")
    a, b = points(drawn)
    assert a == [(LEFT, 143.5), (202.0, 54.5), (RIGHT, TOP)]
    assert b == [(pytest.approx(113.2), BOTTOM)]
    (dot,) = elements(drawn, "circle")
    assert (dot["cx"], dot["cy"], dot["class"]) == ("202.0", "54.5", "dot s0")
    assert [one["class"] for one in elements(drawn, "polyline")] == ["line s0", "line s1"]
    grid = [float(one["y1"]) for one in elements(drawn, "line")]
    assert grid == pytest.approx([BOTTOM, 143.5, 99, 54.5, TOP])
    across, up = texts(drawn, "tick")[5:], texts(drawn, "tick")[:5]
    assert [(said, x) for said, x, _ in across] == [
        ("0", 54), ("2", 113.2), ("4", 172.4), ("6", 231.6), ("8", 290.8), ("10", 350)
    ]  # fmt: skip
    assert {y for _, _, y in across} == {203}
    assert [(said, x) for said, x, _ in up] == [(str(n), 49) for n in range(5)]
    assert texts(drawn, "axis") == [("x", 202, 222)]
    assert "y over x. a: from 1 to 4, highest 4; b: from 0 to 0, highest 0" in drawn


def test_an_axis_need_not_begin_at_zero() -> None:
    (free,) = points(lines([Line("a", [0, 1], [10, 20])], "x", "y", zero=False))
    (fixed,) = points(lines([Line("a", [0, 1], [10, 20])], "x", "y"))
    assert [y for _, y in free] == [BOTTOM, TOP]
    assert [y for _, y in fixed] == [99, TOP]
    (below,) = points(lines([Line("a", [0, 1], [-10, 10])], "x", "y"))
    assert [y for _, y in below] == [BOTTOM, TOP]
    drawn = lines([Line("a", [1], [2], 7)], "x", "y")  # a mark that is not drawn
    assert not elements(drawn, "circle")
    assert "a: no values" in lines([Line("a", [], [])], "x", "y")


def test_a_long_line_keeps_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svg, "POINTS", 5)
    for count, kept in ((5, [0, 1, 2, 3, 4]), (9, [0, 2, 4, 6, 8])):
        found = svg._finite(Line("a", list(range(count)), list(range(count)), 3.0))
        assert (found.x, found.y, found.mark) == (kept, kept, 3.0)
    odd: Any = [1, None, NAN, 3]
    found = svg._finite(Line("a", odd, [1, 2, 3, float("inf")]))
    assert (found.x, found.y) == ([1.0], [1.0])


def test_bars() -> None:
    drawn = bars(["g", "h"], {"a": [4, -4], "b": [NAN, 2]}, "x", "y")
    rows = [[float(one[k]) for k in ("x", "y", "width", "height")]
            for one in elements(drawn, "rect")]  # fmt: skip
    # 148 for a group: 14.8 free on each side, 59.2 a bar
    assert rows == [
        pytest.approx([68.8, TOP, 58.7, 89]), pytest.approx([216.8, 99, 58.7, 89]),
        pytest.approx([276, 54.5, 58.7, 44.5]),
    ]  # fmt: skip
    assert [one["class"] for one in elements(drawn, "rect")] == ["bar s0", "bar s0", "bar s1"]
    assert texts(drawn, "tick")[-2:] == [("g", 128, 203), ("h", 276, 203)]
    assert "y by x. a: g 4, h -4; b: g none, h 2" in drawn
    flat = elements(bars(["g"], {"a": [0.0]}, "x", "y"), "rect")
    assert (flat[0]["y"], flat[0]["height"]) == ("188.0", "0.4")


@pytest.mark.parametrize(
    ("groups", "step"),
    [(["0"] * 21, 1), (["0"] * 22, 2), (["long name"] * 4, 1), (["long name"] * 5, 2),
     (["x" * 400] * 3, 3)],
)  # fmt: skip
def test_labels_of_bars_have_room(groups: list[str], step: int) -> None:
    drawn = bars(groups, {"a": [1.0] * len(groups)}, "x", "y")
    labels = [one for one in texts(drawn, "tick") if one[2] == 203]
    assert len(labels) == -(-len(groups) // step)
    assert all(len(said) <= 16 for said, _, _ in labels)


def test_intervals() -> None:
    drawn = intervals([("one", -1, 0.5, 2), ("two", 1, 1.5, 3), ("none", NAN, 0, 1)], "d")
    assert ElementTree.fromstring(drawn).get("viewBox") == "0 0 360 120"
    zero, first, second = elements(drawn, "line")
    assert (zero["class"], zero["x1"], zero["x2"], zero["y1"], zero["y2"]) == (
        "zero", "97.0", "97.0", "10", "78"
    )  # fmt: skip
    assert (first["x1"], first["x2"], first["y1"]) == ("14.0", "263.0", "34")
    assert (second["x1"], second["x2"], second["y1"]) == ("180.0", "346.0", "68")
    assert [(one["cx"], one["cy"]) for one in elements(drawn, "circle")] == [
        ("138.5", "34"), ("221.5", "68")
    ]  # fmt: skip
    assert texts(drawn, "label") == [("one", 14, 25), ("two", 14, 59)]
    assert "d. one 0.5, from -1 to 2; two 1.5, from 1 to 3" in drawn
    far = intervals([("a", 2, 3, 4)], "d")  # zero is always there
    assert elements(far, "line")[0]["x1"] == "14.0"
    assert elements(intervals([("a", -4, -3, -2)], "d"), "line")[0]["x1"] == "346.0"


def test_dots() -> None:
    places = np.array([[0, 0], [1, 1], [0.5, 0.25], [0.25, 1]])
    drawn = dots(places, np.array([0, 9, -1, 0]), ["<g/>"], "a map")
    assert ElementTree.fromstring(drawn).get("viewBox") == "0 0 640 640"
    assert [(one["class"], one["d"]) for one in elements(drawn, "path")] == [
        ("cloud other", "M320 472h0"), ("cloud s0", "M16 624h0M168 16h0"),
        ("cloud s1", "M624 16h0"),
    ]  # fmt: skip
    assert drawn.index("<g/>") > drawn.index("<path")


def test_figures_in_words() -> None:
    said = [
        (0, "0"),
        (-0.0, "0"),
        (NAN, "none"),
        (float("-inf"), "none"),
        (0.12345, "0.123"),
        (999, "999"),
        (1000, "1,000"),
        (-1234.5, "-1,234"),
        (999.7, "1,000"),
        (1e9, "1,000M"),
        (999_499.0, "999k"),
        (9999, "9,999"),
        (10_000, "10k"),
        (-12_345, "-12.3k"),
        (999_499, "999k"),
        (999_500, "1M"),
        (2_345_678, "2.35M"),
    ]
    assert [svg._said(value) for value, _ in said] == [words for _, words in said]


def test_a_chart_names_its_colours() -> None:
    one = chart("a <title>", "<svg/>", ["only"], "more & more")
    assert "legend" not in one
    assert "a &lt;title&gt;" in one
    assert '<p class="note">more &amp; more</p>' in one
    names = [f"n{n}" for n in range(10)]
    several = chart("t", "<svg/>", names)
    assert re.findall(r'class="key (s\d)"></span>(n\d)', several) == [
        (f"s{n % 8}", f"n{n}") for n in range(10)
    ]
    assert "note" not in several
