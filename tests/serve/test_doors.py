"""Who is let in, what is refused, and what every answer carries."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmx.errors import OptionError
from mmx.serve.options import ServeOptions
from mmx.serve.snapshot import Snapshot
from tests.serve.conftest import Shop
from tests.serve.headers import carries
from tests.serve.world import HOSTILE, IDS, TOKEN, Served, served

EVERYWHERE = (
    "/items", "/items/i0", "/users", "/users/u0", "/recommend/u0", "/similar/i0", "/search?q=x",
    "/columns", "/map", "/store", "/runs", "/health", "/metrics", "/openapi.json", "/mcp",
    "/pictures/i0", "/docs", "/redoc", "/none",
)  # fmt: skip


@pytest.fixture(scope="module")
def locked(shop: Shop) -> Served:
    """With a token, reached by a name too."""
    return served(shop.runs[0], token=TOKEN, allow_hosts=("shop.example",), mcp=True)


@pytest.mark.parametrize("place", EVERYWHERE)
def test_a_token_is_needed_everywhere(locked: Served, place: str) -> None:
    wrong = [None, "", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
             f"bearer {TOKEN}", "Bearer ", f"Bearer  {TOKEN}", "Bearer \xff"]  # fmt: skip
    for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT"):
        for given in wrong if method == "GET" else wrong[:3]:
            headers = [] if given is None else [(b"authorization", given.encode("latin-1"))]
            answer = locked.client.request(method, place, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert carries(answer)
    right = locked.client.get(place, headers={"authorization": f"Bearer {TOKEN}"})
    assert right.status_code != 401
    assert carries(right)


def test_a_token_in_the_address_is_none(locked: Served) -> None:
    assert locked.client.get(f"/health?token={TOKEN}").status_code == 401
    locked.client.cookies.set("token", TOKEN)
    assert locked.client.get("/health").status_code == 401


def test_the_page_is_open_and_nothing_below_it(locked: Served) -> None:
    assert locked.client.get("/").status_code in (200, 404)
    for place in ("/static/../health", "/static/%2e%2e/health", "/static/..%2Fserver.py",
                  "/static//etc/passwd", "/static/x/../../health", "/./health",
                  "http://127.0.0.1:8000//health", "/static/",
                  "/static/../../__init__.py"):  # fmt: skip
        answer = locked.client.get(place)
        assert answer.status_code in (401, 404)
        assert "version" not in answer.text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:80", 200), ("LOCALHOST:1", 200),
        ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("localhost.", 403), ("", 403),
        ("127.0.0.1@evil.example", 403), ("shop.example", 403), ("0.0.0.0:8000", 403),
        ("[::1].evil.example", 403), ("[::2]", 403),
    ],
)  # fmt: skip
def test_the_host_must_be_a_name_of_the_server(api: Served, host: str, status: int) -> None:
    answer = api.client.get("/health", headers={"host": host})
    assert answer.status_code == status
    assert carries(answer)


def test_more_names_are_allowed_by_option(locked: Served) -> None:
    token = {"authorization": f"Bearer {TOKEN}"}
    for host in ("shop.example", "SHOP.example:443"):
        assert locked.client.get("/health", headers={"host": host, **token}).status_code == 200
    assert locked.client.get("/health", headers={"host": "x.example", **token}).status_code == 403


def test_a_header_that_decides_comes_once(api: Served) -> None:
    for name, values in (
        ("host", ["localhost", "localhost"]),
        ("origin", ["http://a", "http://b"]),
    ):
        headers = [*((name, value) for value in values)]
        assert api.client.get("/health", headers=headers).status_code in (400, 403)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    ("origin", "let_in"),
    [
        ("http://127.0.0.1:8000", True), ("HTTP://127.0.0.1:8000", True),
        ("http://localhost:8000", False), ("http://127.0.0.1:3000", False),
        ("http://127.0.0.1", False), ("https://evil.example", False), ("null", False),
        ("file://", False), ("", False), ("http://127.0.0.1:8000.evil.example", False),
        ("http://evil.example/http://127.0.0.1:8000", False), ("http://[", False),
    ],
)  # fmt: skip
def test_pages_of_other_sites_are_refused(
    api: Served, method: str, origin: str, let_in: bool
) -> None:
    answer = api.client.request(method, "/recommend", headers={"origin": origin}, json={})
    assert (answer.status_code == 403) != let_in
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert carries(answer)


def test_behind_a_proxy_with_tls_the_origin_is_that_of_the_name(locked: Served) -> None:
    headers = {"host": "shop.example", "authorization": f"Bearer {TOKEN}"}
    for origin, status in (("https://shop.example", 200), ("https://evil.example", 403)):
        given = {**headers, "origin": origin}
        assert locked.client.get("/health", headers=given).status_code == status


def test_what_a_browser_says_of_other_sites_counts(api: Served) -> None:
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200),
                         ("none", 200)):  # fmt: skip
        answer = api.client.get("/health", headers={"sec-fetch-site": site})
        assert answer.status_code == status
    link = api.client.get("/", headers={"sec-fetch-site": "cross-site"})
    assert link.status_code in (200, 404)


@pytest.mark.parametrize("place", EVERYWHERE)
def test_every_answer_carries_what_it_must(api: Served, place: str) -> None:
    answer = api.client.get(place)
    assert carries(answer)
    assert "cache-control" in answer.headers
    if place in ("/docs", "/redoc", "/none", "/mcp"):
        assert answer.status_code == 404
    assert "cdn" not in answer.text.lower()


def test_an_unexpected_error_says_nothing_and_is_logged(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Snapshot, name: str | None) -> None:
        raise ZeroDivisionError("secret\nsecond line")

    monkeypatch.setattr(Snapshot, "run", broken)
    answer = api.client.get("/recommend/u0")
    assert (answer.status_code, answer.json()) == (
        500, {"detail": "unexpected error; the server's log has it"},
    )  # fmt: skip
    assert carries(answer)
    assert "ZeroDivisionError" in api.lines[-1]
    assert "\n" not in api.lines[-1]


def test_pictures_are_small_jpegs_from_inside_of_the_dataset(api: Served) -> None:
    answer = api.client.get("/pictures/i15", params={"side": 32})
    image = Image.open(io.BytesIO(answer.content))
    assert (image.format, image.size) == ("JPEG", (40, 20))
    assert answer.headers["content-type"] == "image/jpeg"
    assert carries(answer)
    for item in ("i7", "i8", "i9", "i10", "nobody", "../secret.png", "..%2f..%2fsecret.png"):
        answer = api.client.get(f"/pictures/{item}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/json"
    for side in ("0", "15", "1025", "x", "-1"):
        assert api.client.get("/pictures/i15", params={"side": side}).status_code == 422
    flags = {row["item_id"]: row["picture"] for row in api.get("/items", limit=200)["items"]}
    assert [flags[item] for item in ("i0", "i9", "i10", IDS[1])] == [True, False, False, True]


def test_hostile_texts_come_as_json_only(api: Served) -> None:
    answer = api.client.get("/items/i0")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["title"] == HOSTILE
    answer = api.client.get("/items/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"host": "0.0.0.0"}, "--token"), ({"host": "::"}, "--token"),
        ({"host": "192.168.1.2"}, "MMX_TOKEN"), ({"host": "shop.example"}, "--token"),
        ({"token": "short"}, "openssl rand"), ({"token": "x" * 16 + " y"}, "blank"),
        ({"token": "ü" * 20}, "ASCII"), ({"port": 70_000}, "--port"), ({"port": -1}, "--port"),
        ({"allow_hosts": ("http://x",)}, "--allow-host"), ({"allow_hosts": ("x:80",)}, "port"),
        ({"allow_hosts": ("*",)}, "--allow-host"), ({"runs": ()}, "RUN"),
    ],
)  # fmt: skip
def test_options_that_would_open_a_door_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said) as error:
        ServeOptions(**{"runs": (Path("x"),), **options})
    assert "\n" not in str(error.value)


def test_loopback_needs_no_token_and_another_address_serves_its_own_name() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.2", "[::1]"):
        assert ServeOptions((Path("x"),), host=host).hosts >= {"localhost", "127.0.0.1"}
    inner = ServeOptions((Path("x"),), host="10.0.0.7", token=TOKEN)
    assert "10.0.0.7" in inner.hosts
    assert "[fd00::1]" in ServeOptions((Path("x"),), host="fd00::1", token=TOKEN).hosts
    anywhere = ServeOptions(
        (Path("x"),), host="0.0.0.0", token=TOKEN, allow_hosts=("Shop.example",)
    )
    assert anywhere.hosts == {"localhost", "127.0.0.1", "[::1]", "shop.example"}
