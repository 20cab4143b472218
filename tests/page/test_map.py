"""The map: by mouse, by keys, by touch; colours; what it draws."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.page.conftest import Seen

pytestmark = pytest.mark.slow

FINGER = """([name, id, x, y]) => {
  const map = document.getElementById('map');
  const box = map.getBoundingClientRect();
  map.setPointerCapture = () => {};
  const place = { clientX: box.x + x, clientY: box.y + y, pointerId: id, pointerType: 'touch' };
  map.dispatchEvent(new PointerEvent(name, { ...place, bubbles: true }));
}"""

PLACE = """async () => {
  const { fitted, toScreen } = await import('/static/plane.js');
  const { points, items } = await (await fetch('/map?limit=5000')).json();
  const { clientWidth: width, clientHeight: height } = document.getElementById('map');
  const view = fitted(points, width, height);
  return [items[points[0][2]], ...toScreen(view, points[0], width, height)];
}"""


def drawn(page: Any) -> str:
    """What the canvas shows, after the next frame."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate("document.getElementById('map').toDataURL()")


def test_the_map_by_mouse(seen: Seen) -> None:
    page = seen.open("#/map")
    whole = drawn(page)
    for _ in range(4):
        seen.press("button Zoom in")
    near = drawn(page)
    assert near != whole
    fetched = page.evaluate("performance.getEntriesByType('resource').map((each) => each.name)")
    assert any("/pictures/" in each for each in fetched)
    seen.press("button Zoom out")
    assert drawn(page) != near
    box = page.locator("#map").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 90, middle[1] + 30, steps=4)
    page.mouse.up()
    dragged = drawn(page)
    page.mouse.wheel(0, -300)
    assert drawn(page) != dragged
    assert page.evaluate("scrollY") == 0
    seen.press("button Show everything")
    page.mouse.move(0, 0)
    assert drawn(page) == whole
    item, x, y = page.evaluate(PLACE)
    page.mouse.click(box["x"] + x, box["y"] + y)
    page.wait_for_selector("#below .card")
    assert page.locator("#below a").get_attribute("href") == f"#/item/{item}"


def test_the_map_by_keys(seen: Seen) -> None:
    page = seen.open("#/map")
    whole = drawn(page)
    seen.find("canvas#map").focus()
    pictures = [drawn(page)]
    for key in ("+", "ArrowLeft", "ArrowUp", "ArrowDown", "ArrowRight", "-"):
        page.keyboard.press(key)
        pictures.append(drawn(page))
    assert all(before != after for before, after in pairwise(pictures))
    page.keyboard.press("0")
    assert drawn(page) == whole
    page.keyboard.press("Enter")
    page.wait_for_selector("#below .card")
    assert len(seen.titles()) == 1
    seen.press("button List the 8 nearest to the middle")
    seen.until("document.querySelectorAll('#below .card').length === 8")
    assert page.inner_text("#said").strip() == "8 items below the map"


def test_the_map_by_touch(phone: Seen) -> None:
    page = phone.open("#/map")
    whole = drawn(page)
    for event in (
        ["pointerdown", 1, 150, 150], ["pointerdown", 2, 200, 150],
        ["pointermove", 2, 300, 150], ["pointerup", 2, 300, 150], ["pointerup", 1, 150, 150],
    ):  # fmt: skip
        page.evaluate(FINGER, event)
    pinched = drawn(page)
    assert pinched != whole
    for event in (["pointerdown", 3, 100, 100], ["pointermove", 3, 160, 90]):
        page.evaluate(FINGER, event)
    assert drawn(page) != pinched


def test_colours_of_the_map(seen: Seen) -> None:
    page = seen.open("#/map")
    assert seen.find("select Colour by").input_value() == "category"
    coloured = drawn(page)
    assert seen.find("button.key").count() == 12
    seen.find("button.key").first.click()
    assert seen.find("button.key").first.get_attribute("aria-pressed") == "true"
    one = drawn(page)
    assert one != coloured
    seen.find("button.key").first.click()
    page.mouse.move(0, 0)
    assert drawn(page) == coloured
    seen.choose("select Colour by", "price")
    assert seen.find("button.key").count() == 5  # steps of a number
    seen.choose("select Colour by", "")
    assert seen.find("button.key").count() == 0
    assert "column=none" in page.url


def test_where_points_are(seen: Seen) -> None:
    page = seen.open("#/store")
    found = page.evaluate("""async () => {
      const plane = await import('/static/plane.js');
      const points = [[0, 0], [4, 0], [0, 2]];
      const view = plane.fitted(points, 200, 100);
      const before = plane.toScreen(view, [1, 1], 200, 100);
      const closer = plane.zoomed(view, 3, ...before, 200, 100);
      const places = [[0, 0], [5, 0], [12, 0], null, [11, 11], [-1, -1]];
      return {
        all: points.map((each) => plane.toScreen(view, each, 200, 100)),
        same: plane.toScreen(closer, [1, 1], 200, 100).map((each, at) => Math.abs(each - before[at])),
        shift: plane.toScreen(plane.moved(view, 7, 9), [1, 1], 200, 100).map((each, at) => each - before[at]),
        apart: plane.apart(places, 10, 9), most: plane.apart(places, 10, 1),
        one: plane.fitted([[3, 3]], 200, 100).scale,
        nearest: [plane.nearest(places, 6, 0, 9), plane.nearest(places, 90, 0, 9)],
      };
    }""")  # noqa: E501
    assert all(0 <= x <= 200 and 0 <= y <= 100 for x, y in found["all"])
    assert max(found["same"]) < 1e-9  # the place under the pointer stays
    assert found["shift"] == pytest.approx([7, 9])
    assert (found["apart"], found["most"], found["nearest"]) == ([0, 2, 4], [0], [1, -1])
    assert 0 < found["one"] < 1e4
