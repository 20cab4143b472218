"""A user's history and recommendations, runs beside each other, the store."""

from __future__ import annotations

import pytest

from tests.page.conftest import Seen

pytestmark = pytest.mark.slow


def test_users(seen: Seen) -> None:
    page = seen.open("#/users")
    assert page.inner_text(".total") == "90 users"
    seen.find("input#user-q").fill("-08")
    seen.press("button Find")
    assert page.inner_text(".total") == "10 users"
    seen.press(".users a", 3)
    assert seen.title == "user-083"
    seen.open("#/users?q=xyz")
    assert "No user has this in their id" in page.inner_text("main")


def test_a_user(seen: Seen) -> None:
    page = seen.open("#/user/user-000")
    best = seen.titles()[:12]
    assert page.locator(".rank").all_inner_texts() == [str(each) for each in range(1, 13)]
    assert all(page.locator(".score").all_inner_texts())
    taken = page.locator(".strip .card-title").all_inner_texts()
    assert taken
    assert not set(best) & set(taken)
    assert "training" in page.locator(".strip .split").all_inner_texts()
    assert seen.find(".reason a").count() == 12
    seen.find("select Run").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**run=bpr")
    assert seen.settled().evaluate("document.activeElement.value") == "bpr"  # keeps the focus
    assert seen.titles()[:12] != best
    seen.open("#/user/user-000")
    seen.find("input#diversity").focus()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    page.wait_for_url("**diversity=0.8")
    assert seen.settled().inner_text("output") == "0.8"
    assert page.evaluate("document.activeElement.id") == "diversity"  # the focus stays
    assert seen.titles()[:12] != best
    seen.press(".reason a")
    assert page.url.split("#")[1].startswith("/item/")


def test_unknown_user(seen: Seen) -> None:
    seen.refusals = True
    page = seen.open("#/user/%3Cnobody%3E")
    assert seen.title == "<nobody>"
    assert page.locator(".fault[role=alert]").count() == 1
    assert "Not found" in page.inner_text(".fault")
    assert "Nothing is known of this user" in page.inner_text("main")


def test_runs_side_by_side(seen: Seen) -> None:
    page = seen.open("#/runs")
    assert page.locator("thead th").all_inner_texts() == ["Metric", "vbpr", "bpr"]
    assert "recall@20" in page.locator("tbody th").all_inner_texts()
    seen.choose("select Length of list", "5")
    assert "recall@5" in page.locator("tbody th").all_inner_texts()
    assert seen.find("div.scroll").get_attribute("tabindex") == "0"
    seen.press(".instances a")
    assert page.locator(".side h3").all_inner_texts() == ["vbpr", "bpr"]
    seen.find("input#compare-user").fill("user-003")
    seen.find("select Run").select_option("bpr")
    seen.find("select Beside").select_option("vbpr")
    seen.press("button Compare")
    assert page.locator(".side h3").all_inner_texts() == ["bpr", "vbpr"]
    both = page.locator(".side").first.locator(".both").count()
    assert page.inner_text(".total") == f"{both} of 12 items are in both lists."
    assert page.locator(".side").last.locator(".both").count() == both
    left = page.locator(".side").first.locator(".card-title").all_inner_texts()
    right = page.locator(".side").last.locator(".card-title").all_inner_texts()
    assert len(set(left) & set(right)) == both


def test_the_store(seen: Seen) -> None:
    page = seen.open("#/store")
    assert page.inner_text(".total") == "60 items"
    picture, text = page.locator(".condition").all_inner_texts()[:2]
    assert "59 encoded, 1 missing" in picture
    assert "60 encoded" in text
    assert seen.find("div.scroll").count() >= 1
    seen.press(".ids a")
    assert "/item/" in page.url
