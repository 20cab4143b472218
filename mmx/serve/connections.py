"""Connections: how many, how long one may be silent, how many bytes come before a body.

uvicorn closes a connection that is silent between two requests. It waits without end for the first
request of one, for the rest of its headers, and for a client that does not read its answers. Of its
first request of one, for the rest of its headers, and for a client that does not read its answers.

Of its two readers of HTTP this is h11. httptools takes 0.15 ms less for a request, but bounds no
headers, and takes the body of a request that offers another protocol for the next request.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 1000  # connections
FILES = 200  # open files besides
SILENT = 20.0  # s until the headers of a request are complete, or an answer is read
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
    """Comes before uvicorn's protocol."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    connections: set[Any]
    cycle: Any  # the newest request, from the end of its headers on
    most = MOST
    _since = 0.0  # when the newest bytes came
    _due: asyncio.TimerHandle | None = None  # when what has to arrive must have
    _unread: asyncio.TimerHandle | None = None  # when what is sent must be read

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
        """Whether no request of it is being answered, nor any body read; or no answer is read."""
        answered = self.cycle is None or bool(self.cycle.response_complete)
        return answered or self._unread is not None

    def data_received(self, data: bytes) -> None:
        """Give SILENT to a request until its headers are complete."""
        self._since = self.loop.time()
        super().data_received(data)
        if not self.silent:
            self._at_ease()
        elif self._due is None:
            self._due = self.loop.call_later(SILENT, self._close)

    def pause_writing(self) -> None:
        """Give SILENT to a client until it has read enough of what was sent."""
        super().pause_writing()
        self._unread = self.loop.call_later(SILENT, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads."""
        self._is_read()
        super().resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget it."""
        self._at_ease()
        self._is_read()
        super().connection_lost(error)

    def _is_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

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
    """For as many connections as this process may open."""
    return type("Protocol", (Bounded, H11Protocol), {"most": room()})
