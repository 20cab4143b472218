"""Connections: how many, how long one may be silent, how many bytes come before a body.

uvicorn closes a connection that is silent between two requests. It waits without end for the first
request of one, and for the rest of its headers; and of its two readers of HTTP only h11 bounds the
bytes of headers. httptools, which takes less time, does not.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 1000  # connections
FILES = 200  # open files besides
SILENT = 20.0  # s until the headers of a request are complete
HEADERS = 64 << 10  # bytes of a request that are not its body
CROWDED = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n"
    b"connection: close\r\n\r\n"
)


def room() -> int:
    """How many connections are taken; the process may open so many files and FILES more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, soft - FILES)
    return MOST


class Bounded(asyncio.Protocol):
    """Comes before one of uvicorn's protocols."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    connections: set[Any]
    cycle: Any  # the newest request, from the end of its headers on
    most = MOST
    _since = 0.0  # when the newest bytes came
    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close another one that is silent where there are too many, or this one."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._due = self.loop.call_later(SILENT, self._close)
        if len(self.connections) > self.most:
            silent = [one for one in self.connections if one is not self and one.silent]
            if silent:
                min(silent, key=lambda one: one._since)._close()
            else:
                self.transport.write(CROWDED)
                self._close()

    @property
    def silent(self) -> bool:
        """Whether no request of it is being answered, nor any body read."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def data_received(self, data: bytes) -> None:
        """Give SILENT to a request until its headers are complete."""
        self._since = self.loop.time()
        super().data_received(data)
        if not self.silent:
            self._at_ease()
        elif self._due is None:
            self._due = self.loop.call_later(SILENT, self._close)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget it."""
        self._at_ease()
        super().connection_lost(error)

    def _at_ease(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _close(self) -> None:
        self.connections.discard(self)  # the transport reports it in a later turn of the loop
        if self.transport.get_write_buffer_size():  # the client does not read its answer
            self.transport.abort()
        else:
            self.transport.close()


def protocol() -> type[asyncio.Protocol]:
    """httptools where it is installed, else h11."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return type("BoundedH11", (Bounded, H11Protocol), {"most": room()})

    class BoundedHttpTools(Bounded, HttpToolsProtocol):
        """Counts the bytes since the last that were of a body."""

        most = room()
        _other = 0

        def data_received(self, data: bytes) -> None:
            self._other += len(data)
            super().data_received(data)
            if self._other > HEADERS and not self.transport.is_closing():
                self.send_400_response("The headers are too long.")

        def on_headers_complete(self) -> None:
            super().on_headers_complete()
            self._other = 0

        def on_body(self, body: bytes) -> None:
            super().on_body(body)
            self._other = 0

        def on_message_complete(self) -> None:
            super().on_message_complete()
            self._other = 0

    return BoundedHttpTools
