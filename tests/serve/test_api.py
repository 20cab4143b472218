"""Every address of the API over a small shop."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmx.opened import open_store
from mmx.recommend.recommendation import RecommendOptions, recommend, recommend_from
from mmx.recommend.run import open_run
from tests.serve.conftest import Shop
from tests.serve.world import HOSTILE, IDS, ITEMS, USERS, Served, address, listed, served, train


def some(*conditions: tuple[str, str, Any]) -> str:
    return json.dumps(
        [dict(zip(("column", "op", "value"), one, strict=True)) for one in conditions]
    )


def test_items_have_their_columns_and_odd_ids_are_found(api: Served) -> None:
    first = api.get("/items/i0")
    assert first["title"] == HOSTILE
    assert first["columns"] == {"price": 0.0, "category": "hats", "sold": True,
                                "added": "2026-01-01T00:00:00+00:00"}  # fmt: skip
    for item in IDS:
        if item not in ("..", "i\n6"):
            assert api.get(f"/items/{address(item)}")["item_id"] == item
    assert api.get("/items/i12")["title"] == ("word " * 13)[:80].strip() + " "
    assert api.get("/items/i11")["text"] is None
    assert [api.get(f"/items/i{n}")["columns"]["price"] for n in (13, 14)] == [None, None]
    assert "unknown item: nobody" in api.refused(404, "/items/nobody")


def test_recommendations_are_those_of_the_run(api: Served, shop: Shop) -> None:
    for name, path in (("first", shop.runs[0]), ("second", shop.runs[1])):
        run = open_run(path)
        for user in ("u0", "a/b"):
            want = recommend(run, [user], RecommendOptions(5))["item_id"].to_pylist()
            assert listed(api.get(f"/recommend/{address(user)}", k=5, run=name)) == want
    want = recommend_from(open_run(shop.runs[0]), ["i0", "a/b/../c"], RecommendOptions(5))
    found = api.client.post("/recommend", json={"items": ["i0", "a/b/../c"], "k": 5})
    assert listed(found.json()) == want["item_id"].to_pylist()
    assert found.json()["note"] is None
    assert api.refused(404, "/recommend/nobody") == "unknown user: nobody"
    assert "did you mean 'first'" in api.refused(422, "/recommend/u0", run="firts")


def test_a_visitor_without_history_gets_what_is_popular(api: Served, shop: Shop) -> None:
    counts = open_run(shop.runs[0]).data.train.item_counts
    found = api.client.post("/recommend", json={"k": ITEMS}).json()
    assert "popular" in found["note"]
    assert [row["score"] for row in found["items"]] == sorted(counts.tolist(), reverse=True)
    only = api.client.post(
        "/recommend", json={"k": ITEMS, "filters": [{"column": "price", "op": "<", "value": 2}]}
    ).json()
    assert set(listed(only)) == set(IDS[:4])


def test_a_run_that_cannot_score_visitors_says_so(api: Served, shop: Shop) -> None:
    answer = api.client.post("/recommend", json={"items": ["i0"], "run": "second"})
    assert answer.status_code in (200, 409)
    assert api.client.post("/recommend", json={"items": ["gone"]}).status_code == 404


def test_filters_restrict_every_list(api: Served) -> None:
    where = some(("price", ">=", 3), ("category", "in", ["hats", "none"]))
    meets = {IDS[n] for n in range(6, ITEMS) if n % 3 == 0 and n != 9}  # whose picture is a URL
    for place in ("/recommend/u0", "/similar/i0", "/search"):
        found = listed(api.get(place, filters=where, k=200, q="word word"))
        assert found
        assert set(found) <= {*meets, "i9"}
    assert set(listed(api.get("/similar/i0", filters=where, k=200))) == meets
    assert {row["item_id"] for row in api.get("/items", filters=where)["items"]} == {*meets, "i9"}
    assert api.get("/items", filters=some(("price", "<", -1)))["total"] == 0
    assert listed(api.get("/similar/i0", filters=some(("price", "<", -1)))) == []


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        (("price", "=", 1.5), {3}),
        (("price", "!=", 1.5), set(range(ITEMS)) - {3, 13}),
        (("price", ">", 10.9), {22, 23}),
        (("sold", "=", False), set(range(1, ITEMS, 2))),
        (("added", "<=", "2026-01-02"), {0, 1}),
        (("added", "=", "2026-01-03T00:00:00+00:00"), {2}),
        (("item_id", "in", ["i0", IDS[1], "none"]), {0, 1}),
        (("title", "contains", "ITLE 2"), {2, 20, 21, 22, 23}),
        (("category", "contains", "<B>"), {n for n in range(ITEMS) if n % 3}),
        (("category", "=", "' or 1=1 --"), set()),
    ],
)
def test_each_operator(api: Served, condition: tuple[str, str, Any], rows: set[int]) -> None:
    found = api.get("/items", filters=some(condition), limit=200)
    assert {row["item_id"] for row in found["items"]} == {IDS[n] for n in rows}


@pytest.mark.parametrize(
    "filters",
    [
        "price < 3", "{}", "[1]", '[{"column": "price"}]', some(("price; drop table x", "=", 1)),
        some(("price", "like", 1)), some(("price", "<", "1")), some(("price", "<", True)),
        some(("raw", "=", "x")), some(("image", "in", "x")), some(("price", "in", 3)),
        some(("price", "=", [1])), some(("category", "contains", 3)), some(("added", "<", "now")),
        some(("price", "=", 10**400)), some(("category", "=", "\ud800")), some(("sold", "=", 1)),
        some(("price", "<", None)), some(*[("price", "<", 1)] * 21),
        some(("category", "in", ["x"] * 1001)), "[" * 5000,
        '[{"column": "price", "op": "<", "value": NaN}]',
    ],
)  # fmt: skip
def test_filters_that_are_none_are_errors_of_one_line(api: Served, filters: str) -> None:
    for place in ("/items", "/recommend/u0", "/similar/i0"):
        assert api.refused(422, place, filters=filters)
    with_body = '{"filters": ' + filters + "}"
    answer = api.client.post(
        "/recommend", content=with_body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == (400 if filters.startswith("[[") else 422)
    assert len(answer.json()["detail"].splitlines()) == 1


def test_similar_items_are_those_of_the_store(api: Served, shop: Shop) -> None:
    store = open_store(shop.store)
    for modality in ("image", "text"):
        want = store.similar("i0", 7, modality=modality)
        found = api.get("/similar/i0", k=7, modality=modality)
        assert listed(found) == want["similar_id"].to_pylist()
        assert [row["score"] for row in found["items"]] == pytest.approx(want["score"].to_pylist())
    assert "no image vector" in api.refused(409, "/similar/i10")
    assert "unknown item" in api.refused(404, "/similar/nobody")
    assert "modality 'sound'" in api.refused(422, "/similar/i0", modality="sound")


def test_searches_are_those_of_the_store(api: Served, shop: Shop) -> None:
    store = open_store(shop.store)
    want = store.search("word word word", 4, device="cpu")["item_id"].to_pylist()
    assert listed(api.get("/search", q="word word word", k=4)) == want
    picture = shop.data / "images/3.png"
    want = store.search(picture, 4, device="cpu")["item_id"].to_pylist()
    answer = api.client.post("/search?k=4", files={"picture": picture.read_bytes()})
    assert listed(answer.json()) == want
    assert "empty" in api.refused(422, "/search", q=" ")
    assert "q: " in api.refused(422, "/search")
    assert api.client.post("/search", files={"picture": b""}).status_code == 422


def test_lists_are_paged(api: Served) -> None:
    ids = [row["item_id"] for start in range(0, ITEMS, 7)
           for row in api.get("/items", offset=start, limit=7)["items"]]  # fmt: skip
    assert sorted(ids) == sorted(IDS)
    assert api.get("/items", offset=1000)["items"] == []
    assert api.get("/items", q="TITLE 2")["total"] == 5
    assert api.get("/items", q=HOSTILE)["total"] == 1
    assert api.get("/users", limit=5)["total"] == USERS
    assert api.get("/users", q="/")["users"] == ["a/b"]
    user = api.get("/users/a%2Fb", limit=4)
    assert (user["total"], len(user["history"])) == (6, 4)
    assert {row["split"] for row in user["history"]} <= {"train", "valid", "test"}
    assert "unknown user" in api.refused(404, "/users/nobody")
    for wrong in ("-1", "x", "1e9", "99999999999999999999"):
        assert api.refused(422, "/items", offset=wrong)
    for wrong in ("0", "201", ""):
        assert api.refused(422, "/recommend/u0", k=wrong)


def test_what_is_served_is_described(api: Served) -> None:
    kinds = {row["column"]: (row["type"], row["values"]) for row in api.get("/columns")}
    assert kinds["category"] == ("text", ["<b>", "hats"])
    assert kinds["price"] == ("number", [])
    assert kinds["sold"][0] == "boolean"
    assert kinds["added"][0] == "time"
    assert "raw" not in kinds
    first, second = api.get("/runs")
    assert (first["name"], second["name"], second["model"]) == ("first", "second", "popularity")
    assert first["metrics"]["recall@20"] >= 0
    found = api.get("/map", column="category")
    assert (found["shown"], found["total"]) == (len(found["items"]), len(found["points"]))
    place = found["items"].index("i15")
    assert found["points"][place][2] == place
    assert found["values"][place] == "hats"
    assert len(api.get("/map", limit=3)["points"]) == 3
    assert "column 'raw" in api.refused(422, "/map", column="raw")
    assert api.get("/store")["modalities"]["image"]["missing"]["rows"] == 1
    health = api.get("/health")
    assert (health["status"], health["run"], health["store"]) == ("ok", "first", "toy.parquet")
    assert health["run_age_seconds"] >= 0
    text = api.client.get("/metrics").text
    assert 'mmx_requests_total{address="/map",method="GET",status="200"}' in text
    assert "mmx_run_age_seconds" in text


def test_without_a_store_searches_say_what_is_missing(shop: Shop) -> None:
    bare = served(shop.runs[1])
    for place in ("/similar/i0", "/search?q=x", "/map", "/store"):
        assert "--store" in bare.refused(409, place)
    assert bare.get("/health")["store"] is None
    assert listed(bare.get("/recommend/u0"))
    by_name = served(shop.runs[1], stores=(shop.store,))
    assert listed(by_name.get("/similar/i0"))


def test_a_dataset_that_is_named_decides_what_is_shown(shop: Shop, tmp_path: Any) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(shop.data / "items.parquet")
    pq.write_table(table.slice(0, 10), tmp_path / "items.parquet")
    some = served(shop.runs[0], data=tmp_path)
    for place in ("/recommend/u0", "/similar/i0", "/search?q=word"):
        found = listed(some.get(place + ("&" if "?" in place else "?") + "k=200"))
        assert found
        assert set(found) <= set(IDS[:10])
    assert some.refused(404, "/items/i20")
    assert some.get("/health")["items"] == 10


def test_an_encoder_that_cannot_be_opened_is_a_reason(shop: Shop) -> None:
    off = served(shop.runs[0], encoder={"model": "clip:none-such", "device": "cpu"})
    assert off.refused(409, "/search", q="word")
    assert any("search by words is off" in line for line in off.lines)
    assert listed(off.get("/similar/i0"))


def test_two_runs_of_one_name_have_two(shop: Shop, tmp_path: Any) -> None:
    other = train(shop.data, "popularity", tmp_path / "first")
    both = served(shop.runs[0], other)
    assert [run["name"] for run in both.get("/runs")] == ["first", "first-2"]
    assert both.get("/recommend/u0", run="first-2", k=1)
