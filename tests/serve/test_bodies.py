"""What is sent to the server: of three formats, within bounds, and in time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from PIL import Image

from mmx.serve import doors
from tests.extract.files import encoded, noise, png
from tests.serve.headers import carries
from tests.serve.world import Served


def test_uploads_are_three_formats_within_bounds(api: Served) -> None:
    picture = Image.fromarray(noise(30, 40))
    for form in ("JPEG", "PNG", "WEBP"):
        answer = api.client.post("/search?k=1", files={"picture": encoded(picture, form)})
        assert answer.status_code == 200, answer.text
    others = [encoded(picture, form) for form in ("GIF", "BMP", "TIFF", "PPM", "ICO")]
    others += [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe", b"x", b"http://x/y.png",
               encoded(picture)[:60], b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"RIFF"]  # fmt: skip
    for raw in others:
        answer = api.client.post("/search?k=1", files={"picture": raw})
        assert answer.status_code == 415, answer.text
        assert "a JPEG, PNG or WebP is expected" in answer.json()["detail"]
        assert carries(answer)


def test_a_picture_bomb_is_refused_before_it_is_decoded(api: Served) -> None:
    for width, height in ((60_000, 60_000), (50_001, 1000), (1, 49_000_000), (20_001, 1)):
        answer = api.client.post("/search", files={"picture": png(width, height, 8, 2, b"")})
        assert answer.status_code == 413
        assert "too many pixels" in answer.json()["detail"]


def test_large_requests_are_refused(api: Served) -> None:
    large = b"\xff\xd8\xff" + bytes(13 << 20)

    def parts() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="picture"; filename="x"\r\n\r\n'
        for _ in range(40):
            yield bytes(1 << 20)
        yield b"\r\n--b--\r\n"

    form = {"content-type": "multipart/form-data; boundary=b"}
    for answer in (
        api.client.post("/search", files={"picture": large}),
        api.client.post("/search", content=parts(), headers=form),
        api.client.post("/recommend", content=b" " * (2 << 20)),
        api.client.post("/recommend", content=(b" " * 70_000 for _ in range(20))),
        api.client.post("/recommend", content=b"{}", headers={"content-length": "9" * 30}),
    ):
        assert answer.status_code == 413, answer.text
        assert "too large" in answer.json()["detail"]
        assert carries(answer)
    bad = api.client.post("/recommend", content=b"{}", headers={"content-length": "-1"})
    assert bad.status_code == 400


def asked(api: Served, receive: Any, *headers: tuple[bytes, bytes]) -> tuple[int, str]:
    """Status and detail of the answer to POST /recommend."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def answered() -> None:
        await api.client.app(scope, receive, send)

    scope = {"type": "http", "method": "POST", "path": "/recommend", "query_string": b"",
             "headers": [(b"host", b"localhost"), *headers]}  # fmt: skip
    asyncio.run(answered())
    return sent[0]["status"], json.loads(sent[1]["body"])["detail"]


def test_a_body_that_does_not_come_is_not_waited_for(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "SECONDS", 0.05)

    async def never() -> Any:
        await asyncio.Event().wait()

    status, said = asked(api, never, (b"content-type", b"application/json"))
    assert (status, said) == (408, "the request takes longer than 0 s")


def test_what_is_too_large_is_read_before_it_is_refused(api: Served) -> None:
    """Else a client that sends all of it before it reads sees its connection reset."""
    left: list[bytes] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": left.pop(), "more_body": bool(left)}

    for length, unread in ((2 << 20, 0), (1 << 30, 3)):
        left[:] = [b"x"] * 3
        assert asked(api, receive, (b"content-length", b"%d" % length))[0] == 413
        assert len(left) == unread


def test_malformed_bodies_are_errors_of_one_line(api: Served) -> None:
    kind = {"content-type": "application/json"}
    bodies = [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"items": "i0"}', b'{"items": [1]}',
              b'{"k": 0}', b'{"k": 201}', b'{"k": 1e400}', b'{"diversity": 2}', b'{"x": 1}',
              b'{"per": {"column": "category"}}', b'{"diversity": NaN}']  # fmt: skip
    for body in bodies:
        answer = api.client.post("/recommend", content=body, headers=kind)
        assert answer.status_code in (400, 422), body
        assert len(answer.json()["detail"].splitlines()) == 1
    lone = api.client.post("/recommend", content=b'{"items": ["\\ud800"]}', headers=kind)
    assert lone.status_code == 404
    assert api.client.post("/search", content=b"x").status_code == 422
    assert api.client.delete("/items/i0").status_code == 405
