"""Lists are put together from the JSON of their items, of which a bounded part is kept."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from mmx.serve import items as module
from mmx.serve.items import ServedItems
from mmx.serve.listing import Listing, listing, listings
from tests.serve.world import HOSTILE

IDS = ["a", 'b"\\', "ü\u2028", "d"]


@pytest.fixture
def items() -> ServedItems:
    table = pa.table({
        "item_id": IDS, "title": [HOSTILE, None, "x", ""], "text": [None, "t" * 100, "", "y"],
        "price": [1.5, float("nan"), None, 1e300],
    })  # fmt: skip
    return ServedItems(table)


def test_the_json_is_that_of_all_of_it(items: ServedItems) -> None:
    found = listing(items, [*IDS, "gone"], [1.0, 0.1234567, -0.0, 1e-9, 3])
    found.reasons[2] = {"modality": "image", "item_id": "a", "title": None, "similarity": 0.5}
    found.note = HOSTILE
    want = {"items": [
        {"rank": rank, "score": score, "item": item, "reason": found.reasons.get(rank - 1)}
        for rank, score, item in zip(range(1, 6), [1.0, 0.123457, -0.0, 0.0, 3],
                                     items.items([*IDS, "gone"]), strict=True)
    ], "note": HOSTILE}  # fmt: skip
    assert found.json() == json.dumps(want, separators=(",", ":")).encode()
    assert found.as_dict() == want
    assert want["items"][-1]["item"]["columns"] == {}  # type: ignore[index]


def test_an_empty_list_and_numbers_that_json_does_not_have(items: ServedItems) -> None:
    assert listing(items, [], []).json() == b'{"items":[],"note":null}'
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            Listing(["a"], [wrong], ["{}"], {}).json()


def test_items_of_several_lists_are_read_together(
    items: ServedItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[str]] = []
    make = items._made
    monkeypatch.setattr(items, "_made", lambda ids: made.append(ids) or make(ids))
    one, other = listings(items, [(["a", "d"], [2.0, 1.0]), (["a"], [1.0])])
    assert [set(ids) for ids in made] == [{"a", "d"}]
    assert (one.items[0], one.ids) == (other.items[0], ["a", "d"])


def test_what_is_kept_is_bounded(items: ServedItems, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2 * module.ROOM + 700)
    want = {one: ServedItems.item(items, one) for one in IDS}
    for _ in range(3):
        for one in (*IDS, *map(str, range(20))):
            assert items.item(one) == want.get(one, items.item(one))
            assert sum(len(text) + module.ROOM for text in items._kept.values()) <= module.KEPT
    assert items._kept
