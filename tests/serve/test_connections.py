"""Connections that send nothing, too slowly or too much do not keep others out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from mmx.serve import connections
from mmx.serve.connections import HEADERS, protocol, room

LARGE = 10_000_000  # bytes, more than the system takes of what nobody reads
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
Opened = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@asynccontextmanager
async def serving(go: asyncio.Event | None = None, **own: Any) -> AsyncIterator[Opened]:
    """A server that answers the length of the body, after ``go``."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        if go is not None:
            await go.wait()
        body = b"a" * LARGE if scope["path"] == "/large" else b"%d" % size
        head = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", ws="none",
                            h11_max_incomplete_event_size=HEADERS)  # fmt: skip
    config.load()
    state, made = ServerState(), type("Made", (protocol(),), own)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: made(config, state, {}), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield lambda: asyncio.open_connection("127.0.0.1", port)
    finally:
        server.close()


async def answer(reader: asyncio.StreamReader) -> bytes:
    """The status and the first byte of the body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    return head.split(b" ")[1] + b" " + await reader.readexactly(1)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server closes."""
    async with asyncio.timeout(30):
        try:
            return await reader.read()
        except ConnectionError:  # it closed before all that was sent was read
            return b""


def test_of_too_many_the_longest_silent_is_closed() -> None:
    async def several() -> None:
        async with serving(most=5) as opened:
            silent = [await opened() for _ in range(5)]
            for reader, writer in silent[1:]:
                writer.write(GET)
                assert await answer(reader) == b"200 0"
            newer = [await opened() for _ in range(3)]
            for reader, writer in newer:
                writer.write(GET)
                assert await answer(reader) == b"200 0"
            for reader, _ in silent[:3]:
                assert await ended(reader) == b""
            for reader, writer in silent[3:]:
                writer.write(GET)
                assert await answer(reader) == b"200 0"

    asyncio.run(several())


def test_requests_that_have_begun_are_not_closed_for_others() -> None:
    async def several() -> None:
        go = asyncio.Event()
        async with serving(go, most=2) as opened:
            busy = [await opened() for _ in range(2)]
            for _, writer in busy:
                writer.write(GET)
                await asyncio.sleep(0.05)
            reader, _ = await opened()
            assert b"503 Service Unavailable" in await ended(reader)
            go.set()
            for reader, _ in busy:
                assert await answer(reader) == b"200 0"

    asyncio.run(several())


@pytest.mark.parametrize("begun", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nA: "])
def test_headers_have_to_arrive(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SILENT", 0.2)

    async def several() -> None:
        async with serving() as opened:
            reader, writer = await opened()
            writer.write(begun)
            drip = asyncio.create_task(dripping(writer) if begun else asyncio.sleep(0))
            assert b"200" not in await ended(reader)
            drip.cancel()
            reader, writer = await opened()  # a request that is not late is answered
            writer.write(GET[:5])
            await asyncio.sleep(0.01)
            writer.write(GET[5:])
            assert await answer(reader) == b"200 0"

    async def dripping(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"E")
            await asyncio.sleep(0.02)

    asyncio.run(several())


@pytest.mark.parametrize(
    "begun",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100 + b"B: ",
        b"GET /",
        CHUNKED + b"1;",  # extensions of a chunk
        CHUNKED + b"1\r\nx\r\n0\r\nTrailer: ",
    ],
    ids=["headers", "address", "extensions", "trailers"],
)
def test_what_is_not_a_body_is_bounded(begun: bytes) -> None:
    async def several() -> None:
        async with serving() as opened:
            reader, writer = await opened()
            writer.write(begun)
            sent = 0
            while sent < 40 * HEADERS and not reader.at_eof():
                writer.write(b"a" * 4096)
                sent += 4096
                await asyncio.sleep(0)
            found = await ended(reader)
            assert found.startswith(b"HTTP/1.1 400") or found == b""

    asyncio.run(several())


def test_bodies_and_requests_one_after_the_other_pass() -> None:
    async def several() -> None:
        async with serving() as opened:
            reader, writer = await opened()
            for _ in range(3):
                writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n")
                writer.write(b"a" * 999_999)
                assert (await answer(reader)).startswith(b"200 9")
                await reader.readexactly(5)
                writer.write(CHUNKED + b"2\r\nab\r\n" * 9 + b"0\r\n\r\n")
                assert await answer(reader) == b"200 1"
                assert await reader.readexactly(1) == b"8"
            writer.write(GET * 20)
            for _ in range(20):
                assert await answer(reader) == b"200 0"

    asyncio.run(several())


def test_the_body_of_a_request_that_offers_another_protocol_is_no_request() -> None:
    async def several() -> None:
        async with serving() as opened:
            reader, writer = await opened()
            head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
            writer.write(head + b"Content-Length: %d\r\n\r\n" % len(GET))
            await asyncio.sleep(0.02)
            writer.write(GET)
            assert await answer(reader) == b"200 2"  # 27 bytes
            assert await reader.readexactly(1) == b"7"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.1)

    asyncio.run(several())


def test_answers_have_to_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks on and on and reads nothing neither keeps a place nor keeps it from others."""

    async def several() -> None:
        async with serving(most=1) as opened:
            await unread(opened)
            reader, writer = await opened()
            writer.write(GET)
            assert await answer(reader) == b"200 0"  # not 503: the other one was closed
        monkeypatch.setattr(connections, "SILENT", 0.2)
        async with serving() as opened:
            writer = await unread(opened)
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(asking(writer), 20)

    async def asking(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(GET)
            await writer.drain()
            await asyncio.sleep(0.01)

    async def unread(opened: Opened) -> asyncio.StreamWriter:
        _, writer = await opened()
        writer.transport.pause_reading()
        writer.write(GET.replace(b"/ ", b"/large ", 1) * 2)
        await asyncio.sleep(0.1)
        return writer

    asyncio.run(several())


@pytest.mark.parametrize(
    ("limits", "found", "raised"),
    [
        ((1024, 4096), 1000, (1200, 4096)), ((1024, 1024), 824, (1024, 1024)),
        ((1024, -1), 1000, (1200, -1)), ((-1, -1), 1000, None), ((5000, 5000), 1000, None),
        ((100, 100), 1, (100, 100)),
    ],
)  # fmt: skip
def test_there_are_files_for_the_connections(
    limits: tuple[int, int], found: int, raised: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(connections.resource, "getrlimit", lambda kind: limits)
    monkeypatch.setattr(connections.resource, "setrlimit", lambda kind, both: told.append(both))
    assert room() == found
    assert told == ([] if raised is None else [raised])
