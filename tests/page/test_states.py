"""What a person sees when something is missing, wrong, far too much, or needs a token."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.page.conftest import Seen, _tab
from tests.page.controls import VIEWS

pytestmark = pytest.mark.slow


def answer(seen: Seen, address: str, body: Any, status: int = 200) -> None:
    """Answer requests that match ``address`` in place of the server."""
    text = json.dumps(body)
    seen.page.route(
        address,
        lambda route: route.fulfill(status=status, content_type="application/json", body=text),
    )


def item(number: int, picture: bool) -> dict[str, Any]:
    """An item as the server describes it."""
    return {"item_id": f"i{number}", "title": f"Thing {number}", "text": None,
            "columns": {"price": number / 2}, "picture": picture}  # fmt: skip


def test_no_view_is_wider_than_a_phone(phone: Seen) -> None:
    phone.refusals = True
    wide = []
    for view in VIEWS:
        page = phone.open(view)
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        if page.evaluate("document.documentElement.scrollWidth") > 360:
            wide.append(view)
    assert wide == []


def test_keyboard_alone(seen: Seen) -> None:
    page = seen.open("#/")
    page.keyboard.press("Tab")
    assert seen.find("a#skip").evaluate("each => each === document.activeElement")
    assert page.locator("#skip").bounding_box()["y"] >= 0  # visible once it has the focus
    page.keyboard.press("Enter")
    assert seen.find("h1#title").evaluate("each => each === document.activeElement")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("chair")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=chair")
    seen.settled()
    page.locator(".card-link").first.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/item/**")
    seen.settled()
    assert page.evaluate("document.activeElement.id") == "title"


def test_addresses_that_lead_nowhere(seen: Seen) -> None:
    for view in ("#/nowhere", "#/item/%E0%A4", "#/constructor"):
        page = seen.open(view)
        assert seen.title == "No such view"
    for view in ("#/item", "#/user"):
        assert "is named in this address" in seen.open(view).inner_text("main")
    page = seen.open("#/?filters=%5B&offset=-3")  # nonsense is as nothing
    assert page.locator(".chip").count() == 0
    seen.refusals = True
    page = seen.open('#/?filters=[{"column":"<i>","op":"=","value":1}]')
    assert "Not understood" in page.inner_text(".fault")
    assert page.inner_text(".chip").startswith("<i> is 1")
    page = seen.open("#/item/gone")
    assert "Not found" in page.inner_text(".fault")
    page = seen.open("#/runs?user=user-000&a=other")
    assert "No run named other is served." in page.inner_text(".fault")


def test_no_store(seen: Seen) -> None:
    seen.refusals = True
    detail = {"detail": "no store is served: give --store"}
    for address in ("**/similar/**", "**/search?**", "**/map**", "**/store"):
        answer(seen, address, detail, 409)
    for view in ("#/item/sku-0003", "#/?q=cup", "#/map", "#/store"):
        assert detail["detail"] in seen.open(view).inner_text(".fault")
    assert seen.open("#/").locator(".fault").count() == 0


def test_busy_and_no_answer_at_all(seen: Seen) -> None:
    seen.refusals = True
    answer(seen, "**/items?**", {"detail": "too many requests wait"}, 503)
    assert "Busy" in seen.open("#/").inner_text(".fault")
    answer(seen, "**/users?**", {"detail": [{"msg": "k is too large"}]}, 422)
    assert "k is too large" in seen.open("#/users").inner_text(".fault")


def test_no_answer(seen: Seen) -> None:
    seen.refusals = True
    page = seen.open("#/store")
    page.route("**/items?**", lambda route: route.abort())
    page.goto(f"{seen.base}/#/")
    page.wait_for_selector(".fault")
    assert "The server does not answer" in page.inner_text(".fault[role=alert]")
    page.unroute("**/items?**")
    seen.press("button.again")
    assert len(seen.titles()) == 24


def test_what_is_loading_says_so(seen: Seen) -> None:
    page = seen.open("#/store")
    held: list[Any] = []
    page.route("**/users?offset**", lambda route: held.append(route))  # noqa: PLW0108
    page.goto(f"{seen.base}/#/users")
    page.wait_for_selector("[aria-busy=true] .bone")
    page.goto(f"{seen.base}/#/runs")  # left before it answered
    seen.settled()
    assert seen.title == "Runs"
    assert page.locator(".users").count() == 0


def test_a_hundred_thousand_items(seen: Seen) -> None:
    many = {"total": 100_000, "items": [item(each, False) for each in range(24)]}
    answer(seen, "**/items?**", many)
    points = [[each % 71, each % 83, each] for each in range(5000)]
    ids = [f"i{each}" for each in range(5000)]
    answer(seen, "**/map?**", {"points": points, "items": ids, "values": None, "shown": 5000,
                               "total": 100_000, "pictures": [False] * 5000})  # fmt: skip
    page = seen.open("#/?offset=99984")
    assert page.inner_text(".total") == "100,000 items"
    assert "99,985–100,000 of 100,000" in page.inner_text(".pages")
    page = seen.open("#/map")
    assert "A sample of 5,000 of 100,000 items." in page.inner_text("main")
    for _ in range(5):
        seen.press("button Zoom in")


def test_a_catalogue_without_pictures(seen: Seen) -> None:
    answer(seen, "**/items?**", {"total": 3, "items": [item(each, False) for each in range(3)]})
    page = seen.open("#/")
    assert page.locator("main img").count() == 0
    assert page.locator(".plain .card").count() == 3  # a list of words
    assert page.locator(".drawn").first.is_hidden()
    answer(seen, "**/items?**", {"total": 0, "items": []})
    page.reload()
    assert "The catalogue is empty" in seen.settled().inner_text("main")
    answer(seen, "**/runs", [])
    assert "One run is served." in seen.open("#/runs").inner_text("main")
    answer(seen, "**/map?**", {"points": [], "items": [], "values": None, "shown": 0, "total": 0})
    assert "No item has a vector" in seen.open("#/map").inner_text("main")


def test_a_token_is_asked_for(seen: Seen) -> None:
    seen.refusals = True
    page = seen.page

    def guard(route: Any) -> None:
        if route.request.headers.get("authorization") == "Bearer right":
            return route.continue_()
        return route.fulfill(status=401, content_type="application/json", body='{"detail": "no"}')

    page.route(lambda url: not url.endswith("/") and "/static/" not in url, guard)
    page.goto(f"{seen.base}/#/item/sku-0003")
    page.wait_for_selector("#token")
    assert (seen.title, seen.find("input#token").get_attribute("type")) == (
        "Access token",
        "password",
    )
    seen.find("input#token").fill("wrong")
    seen.find("button Open").click()
    seen.until("document.getElementById('token-wrong').textContent")
    assert page.inner_text("#token-wrong") == "The token was not accepted."
    seen.find("input#token").fill("right")
    seen.find("button Open").click()
    page.wait_for_selector(".item img")
    seen.until("document.querySelector('.item img').naturalWidth > 0")  # by a blob
    assert page.locator(".item img").get_attribute("src").startswith("blob:")
    assert "right" not in page.url
    page.reload()  # kept for this tab
    page.wait_for_selector(".item img")
    assert page.evaluate("localStorage.length") == 0


def test_reduced_motion(browser: Any, served: str) -> None:
    with _tab(browser, served, reduced_motion="reduce") as seen:
        page = seen.open("#/")
        moving = "[...document.querySelectorAll('.picture img')].map((each) => getComputedStyle(each).transitionDuration)"  # noqa: E501
        assert set(page.evaluate(moving)) == {"0s"}
