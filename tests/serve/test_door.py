"""The doors before an app of one line: limits to the byte, headers, WebSockets, times."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mmx.serve import doors
from mmx.serve.doors import BODY, DRAINED, HEADERS, UPLOAD, Doors
from mmx.serve.options import ServeOptions

TOKEN = "0123456789abcdef-token"
Headers = list[tuple[bytes, bytes]]


class Behind:
    """An app that reads the whole body and answers with some headers."""

    def __init__(self, *headers: tuple[bytes, bytes], careless: bool = False) -> None:
        self.headers, self.careless = list(headers), careless
        self.scopes: list[str] = []
        self.read = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope["type"])
        if scope["type"] != "http":
            return
        more = True
        while more:
            try:
                message = await receive()
            except Exception:
                if not self.careless:
                    raise
                break
            self.read += len(message.get("body", b""))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"well"})


def asked(
    app: Behind, *headers: tuple[bytes, bytes], path: str = "/x", bodies: Any = (b"",),
    kind: str = "http", token: str | None = None,
) -> tuple[list[Any], list[Any], list[bytes]]:  # fmt: skip
    """What was sent, what was counted, and what of the body was not read."""
    sent, counted, left = [], [], list(bodies)

    async def receive() -> Any:
        if kind == "websocket":
            return {"type": "websocket.connect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    options = ServeOptions((Path("x"),), token=token)
    door = Doors(app, options, print, lambda *facts: counted.append(facts))
    host = [(b"host", b"localhost")] if not any(h[0] == b"host" for h in headers) else []
    scope = {"type": kind, "method": "POST", "path": path, "headers": [*host, *headers]}
    asyncio.run(door(scope, receive, send))
    return sent, counted, left


def status(sent: list[Any]) -> int:
    return int(sent[0]["status"])


def said(sent: list[Any]) -> str:
    return str(sent[1]["body"].decode())


def test_a_websocket_is_hung_up_on_and_a_start_passes() -> None:
    app = Behind()
    assert asked(app, kind="websocket")[0] == [{"type": "websocket.close", "code": 1008}]
    assert app.scopes == []
    assert asked(app, kind="lifespan") == ([], [], [b""])
    assert app.scopes == ["lifespan"]


def test_every_answer_carries_the_headers_once() -> None:
    sent, counted, _ = asked(Behind())
    headers = sent[0]["headers"]
    assert dict(headers) == {**HEADERS, b"cache-control": b"no-store"}
    assert HEADERS[b"cross-origin-resource-policy"] == b"same-origin"
    assert HEADERS[b"cross-origin-opener-policy"] == b"same-origin"
    assert sent[1:] == [{"type": "http.response.body", "body": b"well"}]
    ((scope, code, began),) = counted
    assert (scope["path"], code) == ("/x", 200)
    assert began > 0
    own: Headers = [(b"Cache-Control", b"max-age=9"), (b"Referrer-Policy", b"origin")]
    names = [name.lower() for name, _ in asked(Behind(*own))[0][0]["headers"]]
    assert sorted(names) == sorted([*HEADERS, b"cache-control"])


@pytest.mark.parametrize(("path", "most"), [("/x", BODY), ("/search", UPLOAD), ("/search/", BODY)])
def test_a_body_may_have_so_many_bytes(path: str, most: int) -> None:
    for size, code in ((most, 200), (most + 1, 413)):
        length = (b"content-length", b"%d" % size)
        for headers in ([], [length]):
            half = size // 2
            app = Behind()
            sent, counted, left = asked(
                app, *headers, path=path, bodies=[bytes(half), bytes(size - half)]
            )
            assert (status(sent), left, counted[0][1]) == (code, [], code)
            if code == 200:
                assert app.read == size
            else:
                assert f"at most {most >> 20} MiB" in said(sent)
    careless = Behind(careless=True)  # it answers whatever it was told
    sent = asked(careless, path=path, bodies=[bytes(most + 1)])[0]
    assert status(sent) == 413
    assert len(sent) == 2


def test_what_is_far_too_large_is_not_read() -> None:
    for size, left in ((DRAINED, 0), (DRAINED + 1, 2)):
        length = (b"content-length", b"%d" % size)
        sent, _, unread = asked(Behind(), length, bodies=[b"a", b"b"])
        assert (status(sent), len(unread)) == (413, left)
    for length in (b"-1", b"1e3", b"", b"+5", "٣".encode()):
        sent = asked(Behind(), (b"content-length", length))[0]
        assert (status(sent), "Content-Length is not a number" in said(sent)) == (400, True)


def test_a_client_that_stops_in_the_middle_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doors, "SECONDS", 0.02)
    for app in (Behind(), Behind(careless=True)):
        sent: list[Any] = []
        came = [{"type": "http.request", "body": b"x", "more_body": True}]

        async def receive(came: list[Any] = came) -> Any:
            return came.pop() if came else await asyncio.Event().wait()

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        door = Doors(app, ServeOptions((Path("x"),)), print, lambda *facts: None)
        scope = {"type": "http", "path": "/x", "headers": [(b"host", b"localhost")]}
        asyncio.run(door(scope, receive, send))
        assert [message.get("status") for message in sent] == [408, None]


def test_a_whole_request_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for the body; an app that waits for its end of connection is not cut off."""
    monkeypatch.setattr(doors, "SECONDS", 0.0)
    counted = doors._counted(_later, BODY, doors._Reply(_nowhere))

    async def twice() -> list[Any]:
        async with asyncio.timeout(5):
            return [await counted()]

    with pytest.raises(doors.RefusedError):  # nothing has come yet
        asyncio.run(twice())
    monkeypatch.setattr(doors, "SECONDS", 5.0)
    whole = doors._counted(_at_once, BODY, doors._Reply(_nowhere))

    async def after() -> Any:
        await whole()
        monkeypatch.setattr(doors.time, "monotonic", lambda: 1e12)
        return await whole()

    assert asyncio.run(after())["type"] == "http.request"


async def _later() -> Any:
    await asyncio.sleep(0.05)
    return {"type": "http.request"}


async def _at_once() -> Any:
    await asyncio.sleep(0)
    return {"type": "http.request"}


async def _nowhere(message: Any) -> None:
    raise AssertionError(message)


@pytest.mark.parametrize("name", [b"host", b"origin", b"authorization", b"content-length"])
def test_headers_that_decide_come_once(name: bytes) -> None:
    value = {b"host": b"localhost", b"content-length": b"0"}.get(name, b"x")
    sent = asked(Behind(), (name, value), (name, value))[0]
    assert status(sent) == 400
    assert f"the header {name.decode()} comes twice" in said(sent)
    assert status(asked(Behind(), (b"accept", b"a"), (b"accept", b"b"))[0]) == 200


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a", "a"), ("a:1", "a"), ("a:65535", "a"), ("a:123456", ""), ("a:", ""),
        ("[::1]", "[::1]"), ("[::1]:80", "[::1]"), ("::1", ""), ("a:b", ""), ("", ""),
        ("a:1\n", ""),
    ],
)  # fmt: skip
def test_names_of_hosts(host: str, name: str) -> None:
    assert doors._name(host) == name


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://a", "a", True), ("http://a:80", "a", True), ("http://a", "a:80", True),
        ("https://a:443", "a", True), ("https://a", "a:443", True), ("http://a:443", "a", False),
        ("http://a/", "a", False), ("http://a?x", "a", False), ("http://a#x", "a", False),
        ("ftp://a", "a", False), ("http://b", "a", False), ("http://u@a", "a", False),
    ],
)  # fmt: skip
def test_origins_of_this_server(origin: str, host: str, same: bool) -> None:
    assert doors._same(origin, host) == same


def test_a_token_is_asked_below_the_page() -> None:
    right = (b"authorization", f"Bearer {TOKEN}".encode())
    for path, code in (("/", 200), ("/static/x.js", 200), ("/static", 401), ("/x", 401)):
        sent = asked(Behind(), path=path, token=TOKEN)[0]
        assert status(sent) == code
        assert ((b"www-authenticate", b"Bearer") in sent[0]["headers"]) == (code == 401)
        assert status(asked(Behind(), right, path=path, token=TOKEN)[0]) == 200
    for path, code in (("/", 200), ("/static/x.js", 200), ("/x", 403)):
        assert status(asked(Behind(), (b"sec-fetch-site", b"cross-site"), path=path)[0]) == code


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ((b"host", b"evil.example"), "this Host is not served; --allow-host NAME allows a name"),
        ((b"host", b""), "this Host is not served"),
        ((b"origin", b"http://evil.example"), "requests from pages of other sites are refused"),
        ((b"sec-fetch-site", b"same-site"), "requests from pages of other sites are refused"),
    ],
)  # fmt: skip
def test_other_sites_are_refused(header: tuple[bytes, bytes], line: str) -> None:
    app = Behind()
    sent, counted, _ = asked(app, header)
    assert (status(sent), counted[0][1], app.scopes) == (403, 403, [])
    assert line in said(sent)
