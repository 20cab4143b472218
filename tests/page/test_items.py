"""Searching, filtering, an item and the basket, as a person does it."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from tests.page.conftest import Seen
from tests.page.world import BARE, HOSTILE, ODD_ID

pytestmark = pytest.mark.slow

DROP = """(data) => {
  const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], 'a.png', { type: 'image/png' }));
  document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true }));
}"""


def picture(kind: str = "PNG") -> bytes:
    """A red square."""
    made = BytesIO()
    Image.new("RGB", (64, 64), "red").save(made, kind)
    return made.getvalue()


def test_the_views_are_linked(seen: Seen) -> None:
    page = seen.open("#/")
    assert (seen.title, page.title()) == ("Items", "Items · mmx")
    assert page.locator("#served").inner_text().startswith("vbpr · trained")
    for nth, name in enumerate(["Items", "Users", "Map", "Runs", "Store", "Basket"]):
        seen.press("#views a", nth)
        assert seen.title == name
        assert page.locator("[aria-current=page]").all_inner_texts() == [name]
    seen.press("a.brand")
    assert seen.title == "Items"
    page.go_back()
    seen.settled()
    assert seen.title == "Basket"


def test_search_by_words(seen: Seen) -> None:
    page = seen.open("#/")
    seen.find("input#q").fill("a mug or a cup")
    seen.press("button Search")
    first = seen.titles()
    assert seen.title == "“a mug or a cup”"
    assert "q=a+mug+or+a+cup" in page.url
    assert page.inner_text("#said").strip() == f"{len(first)} items"
    facts = page.locator(".card .facts").all_inner_texts()[:3]
    assert any(each.startswith("mug") for each in facts)
    seen.choose("select Compare with", "text")
    assert seen.titles() != first
    page.go_back()
    seen.settled()
    assert seen.titles() == first
    seen.find("input#q").fill("  ")  # an empty search: everything
    seen.press("button Search")
    assert (seen.title, page.inner_text(".total")) == ("Items", "60 items")


def test_search_by_letters(seen: Seen) -> None:
    page = seen.open("#/")
    seen.find("input#q").fill("sku-0003")
    seen.choose("select Search by", "letters")
    assert page.inner_text(".total") == "1 item"
    seen.find("input#q").fill("no such letters")
    seen.press("button Search")
    assert "No item has these letters" in page.inner_text("main")
    seen.choose("select Search by", "meaning")
    assert len(seen.titles()) == 24


def test_search_by_a_picture(seen: Seen) -> None:
    page = seen.open("#/")
    file = {"name": "red.jpg", "mimeType": "image/jpeg", "buffer": picture("JPEG")}
    seen.find("input#picture").set_input_files(file)
    page.wait_for_selector(".asked")
    seen.settled()
    assert seen.title == "Search by a picture"
    assert "red.jpg" in page.inner_text("main")
    assert len(seen.titles()) == 24
    seen.press("a.page-step")  # back to all items
    assert seen.title == "Items"
    import base64

    page.evaluate(DROP, base64.b64encode(picture()).decode())
    page.wait_for_selector(".asked")
    seen.settled()
    assert len(seen.titles()) == 24
    page.reload()  # the picture is not in the address
    assert "Choose or drop it again" in seen.settled().inner_text("main")
    seen.refusals = True
    file = {"name": "no.png", "mimeType": "image/png", "buffer": b"not a picture"}
    seen.find("input#picture").set_input_files(file)
    page.wait_for_selector("[role=alert] strong")
    assert "Not a picture" in page.inner_text(".fault")


def test_filters(seen: Seen) -> None:
    page = seen.open("#/")
    page.locator(".filters summary").click()
    assert seen.find(".filters summary").is_visible()
    seen.find("select Column").select_option("price")
    seen.find("select Condition").select_option("<")
    seen.find("input Value").fill("cheap")
    seen.find("button Add filter").click()
    assert page.inner_text(".filter-form .wrong") == "price is a number: “cheap” is not one."
    seen.find("input Value").fill("30")
    seen.press("button Add filter")
    few = page.inner_text(".total")
    assert few != "60 items"
    assert page.inner_text(".chip").startswith("price below 30")
    page.locator(".filters summary").click()
    seen.find("select Column").select_option("category")
    seen.find("select Condition").select_option("in")
    seen.find("input Value").fill("mug, book")
    seen.press("button Add filter")
    facts = page.locator(".card .facts").all_inner_texts()
    assert facts
    assert {each.split(" · ")[0] for each in facts} == {"mug", "book"}
    seen.press("button.chip", 1)
    assert page.inner_text(".total") == few
    page.reload()
    assert seen.settled().inner_text(".total") == few  # a link can be shared
    seen.press("button.chip")
    assert page.inner_text(".total") == "60 items"


def test_pages_of_a_list(seen: Seen) -> None:
    page = seen.open("#/")
    first = seen.titles()
    assert "1–24 of 60" in page.inner_text(".pages")
    seen.press("a.page-step")
    second = seen.titles()
    assert "25–48 of 60" in page.inner_text(".pages")
    assert not set(first) & set(second) - {HOSTILE}
    seen.press("a.page-step", 1)
    assert (len(seen.titles()), page.locator("a.page-step").count()) == (12, 1)
    seen.press("a.page-step")
    assert seen.titles() == second
    seen.open("#/?q=cup")
    seen.press("a.page-step")  # more of a ranked list
    assert len(seen.titles()) == 48


def test_an_item(seen: Seen) -> None:
    page = seen.open("#/?by=letters&q=sku-0003")
    (title,) = seen.titles()
    seen.press("a.card-link")
    assert (seen.title, page.evaluate("document.activeElement.id")) == (title, "title")
    assert page.locator(".item img").evaluate("each => each.naturalWidth > 0 && each.alt") == title
    assert page.inner_text(".columns").split()[:2] == ["id", "sku-0003"]
    similar = seen.titles()
    assert len(similar) == 12
    assert title not in similar
    seen.choose("select Alike in", "text")
    assert seen.titles() != similar
    page.go_back()
    seen.settled()
    assert seen.titles() == similar


def test_odd_ids_and_hostile_titles(seen: Seen) -> None:
    from urllib.parse import quote

    page = seen.open(f"#/item/{quote(ODD_ID, safe='')}")
    assert ODD_ID in page.inner_text(".columns")
    assert page.locator(".item img").evaluate("each => each.complete && each.naturalWidth") > 0
    seen.open(f"#/item/{BARE}")
    assert seen.title == HOSTILE
    assert page.title() == f"{HOSTILE} · mmx"
    assert page.locator(".item .drawn").is_visible()  # no picture: the title on a tile
    assert "This item has no picture." in page.inner_text(".item")
    assert page.locator(".card").count() == 12  # compared by its text
    seen.open("#/?by=letters&q=onerror")
    assert seen.titles() == [HOSTILE]
    assert page.evaluate("window.hit") is None
    assert page.locator("main script, main img[src=x]").count() == 0


def test_the_basket(seen: Seen) -> None:
    page = seen.open("#/basket")
    assert "The basket is empty" in page.inner_text("main")
    anyone = seen.titles()
    assert len(anyone) == 12
    for item in ("sku-0003", "sku-0004"):
        seen.open(f"#/item/{item}")
        seen.press("button#basket-button")
    assert seen.find("button#basket-button").get_attribute("aria-pressed") == "true"
    assert page.locator("#views a").last.inner_text() == "Basket 2"
    seen.press("#views a", 5)
    assert page.locator(".strip .card").count() == 2
    assert page.locator(".card").count() == 14
    seen.press("button.small")
    assert page.locator(".strip .card").count() == 1
    seen.choose("select At most", "category")
    facts = page.locator(".grid:not(.strip) .facts").all_inner_texts()
    kinds = [each.split(" · ")[0] for each in facts]
    assert max(map(kinds.count, kinds)) <= 3
    seen.press("button Empty the basket")
    assert "The basket is empty" in page.inner_text("main")
