"""Fetch pictures from the web: bounded, polite, patient with what passes, and wary of the rest.

Built on httpcore2's pool rather than on a client: each hop of a redirect is looked at here, and
no body is read that nobody wants.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import httpcore2
import httpx2

from mmx import __version__
from mmx.extract.images import ImageError
from mmx.extract.sources.addresses import Guard
from mmx.extract.sources.web import Web

HEADERS = {
    "User-Agent": f"mmx/{__version__} (embeds pictures of a catalogue)",
    "Accept": "image/*,*/*;q=0.5",
    "Accept-Encoding": "identity",
}
MOVED = (301, 302, 303, 307, 308)
PASSING = (408, 425, 429, 500, 502, 503, 504)


class PassingError(Exception):
    """An attempt failed as the next one may not. ``pause``: seconds the host asked for."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass
class Host:
    """What is open to one host, and until when it wants to be left alone."""

    slots: threading.Semaphore
    rest_until: float = 0.0  # of time.monotonic()
    lock: threading.Lock = field(default_factory=threading.Lock)

    def rest(self, seconds: float) -> None:
        """Let nobody ask for a while."""
        with self.lock:
            self.rest_until = max(self.rest_until, time.monotonic() + seconds)

    def wait(self) -> None:
        """Sleep as long as it rests."""
        while (left := self.rest_until - time.monotonic()) > 0:
            time.sleep(left)


class Fetcher:
    """The bytes at a URL; called from many threads."""

    def __init__(self, web: Web) -> None:
        self.web = web
        self._guard = Guard(web.allow_private)
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context(),
            max_connections=web.connections,
            keepalive_expiry=10.0,
            network_backend=self._guard,
        )
        self._slots = threading.Semaphore(web.connections)
        self._hosts: dict[str, Host] = {}
        self._lock = threading.Lock()

    def __call__(self, url: str) -> bytes:
        """Raises ImageError with the reason: a status such as ``404``, ``timeout``, ``too large``,
        ``private address; --allow-private`` …
        """
        for attempt in range(1, self.web.attempts + 1):
            try:
                return self._follow(url)
            except PassingError as error:
                pause = error.pause
                if pause is None:
                    pause = self.web.pause * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
                if attempt == self.web.attempts or pause > self.web.longest_pause:
                    raise ImageError(str(error)) from error
                time.sleep(pause)
        raise AssertionError("unreachable")

    def _follow(self, start: str) -> bytes:
        """One attempt, over its redirects."""
        url = _parsed(start)
        self._guard.deadline = time.monotonic() + self.web.deadline
        for _ in range(self.web.max_redirects + 1):
            if url.scheme not in ("http", "https") or not url.host:
                raise ImageError("no web address")
            found = self._ask(url)
            if isinstance(found, bytes):
                return found
            try:
                url = url.join(found)
            except httpx2.InvalidURL:
                raise ImageError("redirected to no address") from None
        raise ImageError("too many redirects")

    def _ask(self, url: httpx2.URL) -> bytes | str:
        """The body, or where to go on."""
        host = self._host(url)
        with host.slots, self._slots:
            host.wait()
            try:
                return self._answer(url)
            except PassingError as error:
                if error.pause is not None and error.pause <= self.web.longest_pause:
                    host.rest(error.pause)
                raise
            except httpcore2.TimeoutException as error:
                raise PassingError("timeout") from error
            except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
                raise PassingError(_short(error)) from error
            except UnicodeError:  # a label too long for DNS
                raise ImageError("no web address") from None

    def _answer(self, url: httpx2.URL) -> bytes | str:
        request = httpcore2.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        patience = {"connect": self.web.connect_timeout, "read": self.web.read_timeout,
                    "write": self.web.read_timeout, "pool": None}  # fmt: skip
        with self._pool.stream(
            "GET", request, headers=[("Host", url.netloc), *HEADERS.items()],
            extensions={"timeout": patience},
        ) as response:  # fmt: skip
            headers = httpx2.Headers(response.headers)
            if response.status in PASSING:
                raise PassingError(str(response.status), _retry_after(headers))
            if response.status in MOVED and "location" in headers:
                return headers["location"]
            if response.status != 200:
                raise ImageError(str(response.status))
            return self._body(response, headers)

    def _body(self, response: httpcore2.Response, headers: httpx2.Headers) -> bytes:
        size = headers.get("content-length", "")
        if size.isdecimal() and int(size) > self.web.max_bytes:
            raise ImageError("too large")
        data = bytearray()
        with closing(response.iter_stream()) as stream:  # type: ignore[type-var]
            for piece in stream:
                data += piece
                if len(data) > self.web.max_bytes:
                    raise ImageError("too large")
        return bytes(data)

    def _host(self, url: httpx2.URL) -> Host:
        with self._lock:
            if url.host not in self._hosts:
                self._hosts[url.host] = Host(threading.Semaphore(self.web.per_host))
            return self._hosts[url.host]


def _parsed(url: str) -> httpx2.URL:
    try:
        return httpx2.URL(url)
    except (httpx2.InvalidURL, UnicodeError):
        raise ImageError("no web address") from None


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds, from seconds or a date; None where the host does not say."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


def _short(error: Exception) -> str:
    """A reason that rows can be counted by, without addresses and numbers."""
    text = str(error).lower()
    for word, reason in (
        ("certificate", "certificate not trusted"),
        ("ssl", "no TLS connection"),
        ("refused", "connection refused"),
        ("name or service", "unknown host"),
        ("no address", "unknown host"),
        ("resolution", "unknown host"),
    ):
        if word in text:
            return reason
    return "connection lost"
