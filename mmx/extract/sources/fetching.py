"""Fetch pictures from the web: within limits, with retries where a failure may pass.

Built on httpcore2's pool rather than on a client: each hop of a redirect is looked at here, and
no body is read that is not needed.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing
from email.utils import parsedate_to_datetime

import httpcore2
import httpx2

from mmx import __version__
from mmx.extract.reasons import ImageError, Reason
from mmx.extract.sources.addresses import Guard
from mmx.extract.sources.hosts import NO_ANSWER, Host
from mmx.extract.sources.web import Web

HEADERS = {
    "User-Agent": f"mmx/{__version__} (embeds pictures of a catalogue)",
    "Accept": "image/*,*/*;q=0.5",
    "Accept-Encoding": "identity",
}
MOVED = (301, 302, 303, 307, 308)
PASSING = (408, 425, 429, 500, 502, 503, 504)


class PassingError(Exception):
    """The next attempt may succeed. ``pause``: seconds that the host requested."""

    def __init__(self, reason: Reason, detail: object = "", pause: float | None = None) -> None:
        super().__init__(str(reason))
        self.reason, self.detail, self.pause = reason, detail, pause


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
        """Raises ImageError with the reason (mmx.extract.reasons)."""
        self._guard.deadline = time.monotonic() + self.web.deadline
        for attempt in range(1, self.web.attempts + 1):
            try:
                return self._follow(url)
            except PassingError as error:
                if attempt == self.web.attempts or not self._pause(attempt, error):
                    raise ImageError(error.reason, error.detail) from error
        raise AssertionError("unreachable")

    def host(self, url: str) -> str | None:
        """The host of an address; None where it is not an address."""
        try:
            return httpx2.URL(url).host or None
        except (httpx2.InvalidURL, UnicodeError):
            return None

    def _pause(self, attempt: int, error: PassingError) -> bool:
        """Wait before the next attempt; False where there is no time for one."""
        pause = error.pause
        if pause is None:
            pause = self.web.pause * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
            if time.monotonic() + pause >= self._guard.deadline:
                return False
        elif pause > self.web.longest_pause:
            return False
        else:  # a pause that the host requested does not count
            self._guard.deadline += pause
        time.sleep(pause)
        return True

    def _follow(self, start: str) -> bytes:
        """One attempt, over its redirects."""
        url = _parsed(start)
        for _ in range(self.web.max_redirects + 1):
            if url.scheme not in ("http", "https") or not url.host:
                raise ImageError(Reason.NO_ADDRESS)
            found = self._ask(url)
            if isinstance(found, bytes):
                return found
            try:
                url = url.join(found)
            except httpx2.InvalidURL:
                raise ImageError(Reason.BAD_REDIRECT, found) from None
        raise ImageError(Reason.REDIRECTS)

    def _ask(self, url: httpx2.URL) -> bytes | str:
        """The body, or the address of a redirect."""
        host, start = self._host(url), time.monotonic()
        with host.slots:
            host.wait()
            host.refuse_if_given_up()
            with self._slots:
                self._guard.deadline += time.monotonic() - start  # spent waiting for other requests
                try:
                    found = self._tried(url)
                except PassingError as error:
                    self._failed(host, error)
                    raise
                except ImageError:
                    host.answered()
                    raise
        host.answered()
        return found

    def _failed(self, host: Host, error: PassingError) -> None:
        """Count the failure, and pause where the host requested it."""
        if error.reason in NO_ANSWER:
            host.strike(error.reason)
        else:
            host.answered()
        if error.pause is not None and error.pause <= self.web.longest_pause:
            host.rest(error.pause)

    def _tried(self, url: httpx2.URL) -> bytes | str:
        """An answer. Raises PassingError for what may pass, ImageError for what does not."""
        try:
            return self._answer(url)
        except httpcore2.TimeoutException as error:
            raise PassingError(Reason.TIMEOUT, url.host) from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            raise PassingError(_kind(error), url.host) from error
        except UnicodeError:  # a label too long for DNS
            raise ImageError(Reason.NO_ADDRESS) from None

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
                raise PassingError(*_status(response.status, url), _retry_after(headers))
            if response.status in MOVED and "location" in headers:
                return headers["location"]
            if response.status != 200:
                raise ImageError(*_status(response.status, url))
            return self._body(response, headers)

    def _body(self, response: httpcore2.Response, headers: httpx2.Headers) -> bytes:
        size = headers.get("content-length", "")
        if size.isdecimal() and int(size) > self.web.max_bytes:
            raise ImageError(Reason.TOO_LARGE, f"{size} bytes")
        data = bytearray()
        with closing(response.iter_stream()) as stream:  # type: ignore[type-var]
            for chunk in stream:
                data += chunk
                if len(data) > self.web.max_bytes:
                    raise ImageError(Reason.TOO_LARGE, f"more than {self.web.max_bytes} bytes")
        return bytes(data)

    def _host(self, url: httpx2.URL) -> Host:
        with self._lock:
            if url.host not in self._hosts:
                self._hosts[url.host] = Host(url.host, self.web)
            return self._hosts[url.host]


def _parsed(url: str) -> httpx2.URL:
    try:
        return httpx2.URL(url)
    except (httpx2.InvalidURL, UnicodeError):
        raise ImageError(Reason.NO_ADDRESS) from None


def _status(code: int, url: httpx2.URL) -> tuple[Reason, str]:
    """The reason for an HTTP status without a picture, and the status."""
    reason = Reason.ODD_ANSWER
    if code in (404, 410):
        reason = Reason.GONE
    elif code == 429:
        reason = Reason.BUSY
    elif 400 <= code < 500:
        reason = Reason.FORBIDDEN
    elif code >= 500:
        reason = Reason.SERVER_ERROR
    return reason, f"{code} from {url.host}"


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds, from seconds or a date; None where the host does not say."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


def _kind(error: Exception) -> Reason:
    """How a connection failed."""
    text = str(error).lower()
    for word, reason in (
        ("certificate", Reason.UNTRUSTED),
        ("ssl", Reason.NO_TLS),
        ("refused", Reason.REFUSED),
        ("name or service", Reason.NO_HOST),
        ("no address", Reason.NO_HOST),
        ("resolution", Reason.NO_HOST),
    ):
        if word in text:
            return reason
    return Reason.LOST
