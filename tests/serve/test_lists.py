"""Diverse and capped lists with reasons, as ``mmx.recommend`` makes them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import numpy as np
import pytest

from mmx.opened import open_store
from mmx.recommend import diversity as diversity_module
from mmx.recommend.interactions import Interactions
from mmx.recommend.recommendation import RecommendOptions, recommend
from mmx.recommend.run import open_run
from mmx.serve.filters import Filter
from mmx.serve.ranking import Chooser, Wanted
from tests.serve.conftest import Shop
from tests.serve.world import IDS, ITEMS, Served, listed, served


def post(api: Served, **body: Any) -> dict[str, Any]:
    answer = api.client.post("/recommend", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def test_reasons_are_the_closest_items_of_the_user(api: Served, shop: Shop) -> None:
    store = open_store(shop.store)
    user = [row["item"]["item_id"] for row in api.get("/users/u0")["history"]]
    titles = {row["item_id"]: row["title"] for row in api.get("/items", limit=200)["items"]}
    found = api.get("/recommend/u0", explain=True, k=8)
    assert listed(found) == listed(api.get("/recommend/u0", k=8))
    for row in found["items"]:
        best = {}
        for modality in ("image", "text"):
            vectors, there = store.vectors(modality, [row["item"]["item_id"], *user])
            for n, item in enumerate(user, 1):
                if there[0] and there[n] and item != row["item"]["item_id"]:
                    best[modality, item] = cosine(vectors[0], vectors[n])
        reason = row["reason"]
        assert reason["similarity"] == pytest.approx(max(best.values()), abs=1e-5)
        named = best[reason["modality"], reason["item_id"]]
        assert named == pytest.approx(reason["similarity"], abs=1e-5)
        assert reason["title"] == titles[reason["item_id"]]
    assert all(row["reason"] is None for row in api.get("/recommend/u0")["items"])
    mine = post(api, items=["i0", "i15"], explain=True)
    assert {row["reason"]["item_id"] for row in mine["items"]} <= {"i0", "i15"}


def test_diverse_lists_are_those_of_mmx_recommend(api: Served, shop: Shop) -> None:
    """Both compare the vectors of all modalities."""
    run = open_run(shop.runs[0])
    for diversity in (0.2, 0.9):
        want = recommend(run, ["u0"], RecommendOptions(5, diversity=diversity))
        found = api.get("/recommend/u0", diversity=diversity, k=5)["items"]
        assert [row["item"]["item_id"] for row in found] == want["item_id"].to_pylist()
        assert [row["rank"] for row in found] == [1, 2, 3, 4, 5]


def test_a_cap_counts_items_of_a_value(api: Served) -> None:
    category = {IDS[n]: "<b>" if n % 3 else "hats" for n in range(ITEMS)}
    plain = listed(post(api, items=["i0"], k=200))
    found = listed(post(api, items=["i0"], k=200, per={"column": "category", "most": 2}))
    assert Counter(category[item] for item in found) == {"<b>": 2, "hats": 2}
    for value in ("<b>", "hats"):
        assert [i for i in found if category[i] == value] == [
            i for i in plain if category[i] == value
        ][:2]
    both = post(api, items=["i0"], k=6, diversity=0.5, per={"column": "category", "most": 1})
    assert len(both["items"]) == 2
    popular = listed(post(api, k=3, per={"column": "category", "most": 1}))
    assert len(popular) == 2
    answer = api.client.post("/recommend", json={"per": {"column": "categry", "most": 1}})
    assert (answer.status_code, "category" in answer.json()["detail"]) == (422, True)
    unbounded = listed(post(api, items=["i0"], k=200, per={"column": "item_id", "most": 1}))
    assert unbounded == plain


def test_a_cap_looks_at_as_many_candidates_as_it_needs(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the best few are all of one category."""
    wanted = [{"items": ["i0"], "k": k, "per": {"column": "category", "most": most}}
              for k in (2, 4, 6) for most in (1, 2, 3)]  # fmt: skip
    whole = [listed(post(api, **one)) for one in wanted]
    monkeypatch.setattr(diversity_module, "LEAST", 1)
    monkeypatch.setattr(diversity_module, "POOL", 1)
    assert [listed(post(api, **one)) for one in wanted] == whole


def test_what_is_popular_is_not_what_somebody_took(api: Served) -> None:
    now = api.service.snapshot
    chooser = Chooser(now, now.first, Wanted(200), None)
    everything = chooser.popular("", np.zeros(0, np.int64)).ids
    taken = np.array([now.first.items[one] for one in everything[:3]])
    assert chooser.popular("", taken).ids == everything[3:]


def test_items_without_a_value_are_not_capped(api: Served) -> None:
    """Item 12 has no title, and the others have one each."""
    found = listed(post(api, items=["i0"], k=200, per={"column": "title", "most": 1}))
    assert found == listed(post(api, items=["i0"], k=200))


def test_diversity_without_vectors_says_what_is_missing(shop: Shop) -> None:
    bare = served(shop.runs[1])
    assert "--store" in bare.refused(409, "/recommend/u0", diversity=0.5)
    assert all(row["reason"] is None for row in bare.get("/recommend/u0", explain=True)["items"])


def test_requests_together_are_answered_as_one_by_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = served(*shop.runs)
    monkeypatch.setattr(Interactions, "seen", None)  # put together at the start, not by requests
    wanted, names = Wanted(k=9, explain=True), list(api.service.snapshot.first.users)

    async def all_at_once() -> tuple[list[Any], list[Any]]:
        lists = asyncio.gather(*[api.service.recommend(one, wanted) for one in names])
        near = asyncio.gather(*[api.service.similar(one, 9, None, []) for one in IDS[:9]])
        return await lists, await near

    async def each() -> tuple[list[Any], list[Any]]:
        lists = [await api.service.recommend(one, wanted) for one in names]
        return lists, [await api.service.similar(one, 9, None, []) for one in IDS[:9]]

    assert asyncio.run(all_at_once()) == asyncio.run(each())


def test_requests_together_get_what_each_wants() -> None:
    """Lists are made together for those who want the same."""
    per = ("category", 1)
    wanted = [Wanted(5), Wanted(6), Wanted(5, explain=True), Wanted(5, diversity=0.5),
              Wanted(5, per=per), Wanted(5, run="b"),
              Wanted(5, (Filter(column="n", op="=", value=1),))]  # fmt: skip
    assert len({one.key for one in wanted}) == len(wanted)
    assert Wanted(5, per=per).key == Wanted(5, per=("category", 1)).key
