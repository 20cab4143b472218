"""Who is let in, and what every answer carries.

A page of any other site, open in a browser on this machine, can send requests to loopback, and by
rebinding a name read the answers. So Host has to be a name of this server, and an Origin this
server itself.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmx.errors import first_line
from mmx.serve.options import ServeOptions

CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": CONTENT_SECURITY.encode(),
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}
UPLOAD = 12 << 20  # bytes of a request with a picture
BODY = 1 << 20  # bytes of any other request
DRAINED = 4 * UPLOAD  # bytes of one that is too large, read so that its client reads the answer
SECONDS = 30.0  # that a body may take to arrive
PORTS = {"http": ":80", "https": ":443"}


class RefusedError(Exception):
    """A request that is not let in."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Doors:
    """ASGI middleware, outermost."""

    def __init__(
        self,
        app: ASGIApp,
        options: ServeOptions,
        log: Callable[[str], None],
        count: Callable[[Scope, int, float], None],
    ) -> None:
        """``count`` gets each answer's scope, status, and when its request came."""
        self._app, self._log, self._count = app, log, count
        self._hosts = options.hosts
        self._token = None if options.token is None else f"Bearer {options.token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await _hang_up(receive, send)
        reply, began = _Reply(send), time.perf_counter()
        try:
            self._check(scope)
            length = _length(scope)
            most = UPLOAD if scope["path"] == "/search" else BODY
            if length is not None and length > most:
                await _drain(receive, length)
                raise _too_large(most)
            await self._app(scope, _counted(receive, most, reply), reply)
        except RefusedError as refused:
            await reply.error(refused.status, refused.detail)
        except Exception as error:
            said = first_line(error)[:200]
            self._log(f"unexpected {type(error).__name__} at {scope['path']!r:.80}: {said}")
            await reply.error(500, "unexpected error; the server's log has it")
        finally:
            self._count(scope, reply.status, began)

    def _check(self, scope: Scope) -> None:
        headers = _single(scope)
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if _name(host) not in self._hosts:
            raise RefusedError(403, "this Host is not served; --allow-host NAME allows a name")
        origin = headers.get(b"origin")
        if origin is not None and not _same(origin.decode("latin-1").lower(), host):
            raise RefusedError(403, "requests from pages of other sites are refused")
        public = scope["path"] == "/" or scope["path"].startswith("/static/")
        if not public and headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site"):
            raise RefusedError(403, "requests from pages of other sites are refused")
        if self._token is not None and not public:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, self._token):
                raise RefusedError(401, "a token is needed: Authorization: Bearer TOKEN")


class _Reply:
    """``send`` that adds the headers, and knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send, self._begun, self._closed = send, False, False
        self.status = 0
        self.refused: RefusedError | None = None  # what the app was told while it read

    async def __call__(self, message: Message) -> None:
        if self.refused is not None:  # whatever the app makes of it
            refused, self.refused = self.refused, None
            await self.error(refused.status, refused.detail)
            self._closed = True
        if self._closed:
            return
        if message["type"] == "http.response.start":
            self._begun, self.status = True, message["status"]
            own = {name.lower() for name, _ in message["headers"]}
            more = [(name, value) for name, value in HEADERS.items() if name not in own]
            if b"cache-control" not in own:
                more.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*message["headers"], *more]}
        try:
            await self._send(message)
        except RuntimeError as error:  # uvloop's, where the client has gone a moment ago
            if "closed" not in str(error):
                raise
            self._closed = True

    async def error(self, status: int, detail: str) -> None:
        """An answer of one line; nothing where one has begun already."""
        if self._begun:
            return
        body = json.dumps({"detail": detail}).encode()
        headers = [(b"content-type", b"application/json"),
                   (b"content-length", str(len(body)).encode())]  # fmt: skip
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def _single(scope: Scope) -> dict[bytes, bytes]:
    """Headers by name. Raises RefusedError where one that decides comes twice."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in found and name in (b"host", b"origin", b"authorization", b"content-length"):
            raise RefusedError(400, f"the header {name.decode()} comes twice")
        found[name] = value
    return found


def _name(host: str) -> str:
    """Host without its port; what is malformed is no name."""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(:[0-9]{1,5})?", host)
    return found[1] if found else ""


def _same(origin: str, host: str) -> bool:
    """Whether an Origin is this server."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    port = PORTS.get(parts.scheme)
    if port is None or parts.path or parts.query or parts.fragment:
        return False
    return parts.netloc.removesuffix(port) == host.removesuffix(port)


def _length(scope: Scope) -> int | None:
    value = dict(scope["headers"]).get(b"content-length")
    if value is None:
        return None
    if not value.isdigit():
        raise RefusedError(400, "Content-Length is not a number")
    return int(value[:20])


def _counted(receive: Receive, most: int, reply: _Reply) -> Receive:
    """``receive`` that refuses a body of more than ``most`` bytes, or of more than SECONDS."""
    read, whole, end = 0, False, time.monotonic() + SECONDS

    async def counted() -> Message:
        nonlocal read, whole
        try:
            async with asyncio.timeout(None if whole else end - time.monotonic()):
                message = await receive()
        except TimeoutError:
            reply.refused = RefusedError(408, f"the request takes longer than {SECONDS:.0f} s")
            raise reply.refused from None
        whole = not message.get("more_body", False)
        read += len(message.get("body", b""))
        if read > most:
            reply.refused = _too_large(most)
            raise reply.refused
        return message

    return counted


async def _drain(receive: Receive, length: int) -> None:
    """Read the body of a request that is refused, as a client may send all before it reads."""
    if length > DRAINED:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while (await receive()).get("more_body", False):
                pass


def _too_large(most: int) -> RefusedError:
    return RefusedError(413, f"the request is too large; at most {most >> 20} MiB are taken")


async def _hang_up(receive: Receive, send: Send) -> None:
    """Refuse a WebSocket."""
    await receive()
    await send({"type": "websocket.close", "code": 1008})
