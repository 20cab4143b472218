"""Connections only to public addresses.

A name is resolved once, its addresses are checked, and the connection goes to a checked address:
a second look-up could give another one.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore2

from mmx.extract.reasons import ImageError, Reason

TRANSLATED = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


def is_public(text: str) -> bool:
    """Whether an address is of the internet at large: not private, loopback, link-local,
    multicast or reserved, nor an IPv6 wrapping of one that is."""
    address = ip_address(text)
    if isinstance(address, IPv4Address):
        return _open(address)
    inner = _wrapped(address)
    return all(map(_open, inner)) and (address.ipv4_mapped is not None or _open(address))


def _open(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _wrapped(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses inside an IPv6 address."""
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in TRANSLATED:
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [a for a in inner if a is not None]


class Guard(httpcore2.NetworkBackend):
    """Connects for httpcore2's pool: to checked addresses, and never past ``deadline``."""

    def __init__(self, allow_private: bool) -> None:
        self.allow_private = allow_private
        self._mine = threading.local()

    @property
    def deadline(self) -> float:
        """When this thread's attempt ends, of time.monotonic()."""
        return float(getattr(self._mine, "deadline", float("inf")))

    @deadline.setter
    def deadline(self, moment: float) -> None:
        self._mine.deadline = moment

    def left(self, timeout: float | None) -> float:
        """Seconds that this thread may still wait, at most ``timeout``."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("deadline")
        return left if timeout is None else min(timeout, left)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Raises ImageError for a private address."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        allowed = [a for a in addresses if self.allow_private or is_public(a)]
        if addresses and not allowed:
            raise ImageError(Reason.PRIVATE)
        failure: Exception = httpcore2.ConnectError("no address")
        for address in allowed:
            try:
                stream = httpcore2.SyncBackend().connect_tcp(
                    address, port, self.left(timeout), local_address, socket_options
                )
                return Timed(stream, self)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.NetworkStream:
        """Never."""
        raise ImageError(Reason.NO_ADDRESS)


class Timed(httpcore2.NetworkStream):
    """A connection whose every wait ends at the deadline of the thread that waits."""

    def __init__(self, stream: httpcore2.NetworkStream, guard: Guard) -> None:
        self._stream, self._guard = stream, guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Some bytes."""
        return self._stream.read(max_bytes, self._guard.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All bytes."""
        self._stream.write(buffer, self._guard.left(timeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        """The certificate must be for the name, not for the address."""
        inner = self._stream.start_tls(ssl_context, server_hostname, self._guard.left(timeout))
        return Timed(inner, self._guard)

    def get_extra_info(self, info: str) -> Any:
        """What the pool reads."""
        return self._stream.get_extra_info(info)
