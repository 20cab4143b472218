"""The short way answers what FastAPI answers, byte for byte, and takes only what is simple."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serve.conftest import Shop
from tests.serve.world import IDS, Served, address, served

SIMPLE = ["", "?k=1", "?k=7", "?k=200"]
NEITHER = ["?k=0", "?k=201", "?k=999", "?k=", "?k=1.0", "?k=-1", "?k=x", "?k=2&k=3"]


@pytest.fixture(scope="module")
def apart(shop: Shop) -> Served:
    """A server whose parts are exchanged."""
    return served(*shop.runs)


def reached(api: Served, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Queries that come to FastAPI from now on."""
    seen: list[str] = []
    shortcuts = api.client.app._app  # type: ignore[attr-defined]
    inner = shortcuts._app

    async def noted(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["query_string"].decode())
        await inner(scope, receive, send)

    monkeypatch.setattr(shortcuts, "_app", noted)
    return seen


@pytest.mark.parametrize("query", SIMPLE)
def test_both_ways_answer_the_same(
    apart: Served, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    seen = reached(apart, monkeypatch)
    known = [address(item) for item in IDS if item not in ("..", "i\n6")]
    places = [f"/recommend/{one}" for one in ("u0", "a%2Fb", "nobody", "")]
    places += [f"/similar/{one}" for one in (*known, "nobody", "%22%3Cb%3E", "")]
    for place in places:
        short = apart.client.get(place + query)
        assert seen == []
        long = apart.client.get(f"{place}{query}{'&' if query else '?'}filters=")
        assert seen.pop() == f"{query[1:]}{'&' if query else ''}filters="
        assert (short.status_code, short.content) == (long.status_code, long.content)
        assert short.headers == long.headers
    assert {apart.client.get(place).status_code for place in places} == {200, 404, 409}


def test_what_is_not_simple_is_for_fastapi(apart: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = reached(apart, monkeypatch)
    others = [f"/recommend/u0{query}" for query in (*NEITHER, "?explain=true", "?run=second")]
    others += ["/similar/i0?modality=text", "/similar/i%0A6", "/recommend", "/similar", "/health"]
    for count, place in enumerate(others, 1):
        apart.client.get(place)
        assert len(seen) == count
    for method in ("HEAD", "POST", "OPTIONS", "PUT"):
        assert apart.client.request(method, "/recommend/u0").status_code == 405
    assert len(seen) == len(others) + 4


def test_its_requests_are_counted_at_the_same_addresses(shop: Shop) -> None:
    api = served(*shop.runs)
    for query in ("?k=2", "?k=2&explain=false"):
        assert api.client.get(f"/recommend/u0{query}").status_code == 200
        assert api.client.get(f"/similar/nobody{query}").status_code == 404
    text = api.client.get("/metrics").text
    for address_, status in (("/recommend/{user}", 200), ("/similar/{item}", 404)):
        label = f'mmx_requests_total{{address="{address_}",method="GET",status="{status}"}} 2.0'
        assert label in text


def test_its_errors_are_logged_and_not_shown(
    apart: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(apart.service, "recommend", broken)
    assert "the server's log has it" in apart.refused(500, "/recommend/u0")
    assert [line for line in apart.lines if "RuntimeError" in line and "secret" in line]
