"""Web servers of this machine for tests: one that behaves badly, and one with files."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mmx.extract.sources.web import Web

LIMIT = 64 << 10  # bytes of a picture in these tests
QUICK = Web(
    allow_private=True, attempts=3, pause=0.02, longest_pause=2.5, connect_timeout=2.0,
    read_timeout=0.7, deadline=20.0, max_bytes=LIMIT, max_redirects=3,
)  # fmt: skip


class Server(ThreadingHTTPServer):
    """Serves while it is a context, and counts."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, root: Path, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.root, self.lock = root, threading.Lock()
        self.requests: Counter[str] = Counter()  # path → requests
        self.agents: set[str] = set()
        self.open = self.most = 0  # requests being answered: now, and the most at once
        self.times: list[tuple[str, float]] = []  # path and time.monotonic() of each request
        self.healthy = threading.Event()  # what /sick/… waits for

    def url(self, host: str = "127.0.0.1") -> str:
        """Its address."""
        return f"http://{host}:{self.server_port}"


@contextmanager
def serving(root: Path, handler: type[BaseHTTPRequestHandler]) -> Iterator[Server]:
    """A server in a thread."""
    server = Server(root, handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.healthy.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


class Misbehaving(BaseHTTPRequestHandler):
    """Answers by path."""

    server: Server

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server, path = self.server, self.path.partition("?")[0]
        with server.lock:
            server.requests[path] += 1
            count = server.requests[path]
            server.agents.add(self.headers["User-Agent"])
            server.open += 1
            server.most = max(server.most, server.open)
            server.times.append((path, time.monotonic()))
        if path.startswith("/images"):
            time.sleep(0.03)  # so that requests overlap
        with server.lock:
            server.open -= 1  # before the answer, which lets the client send the next request
        with suppress(OSError):  # the client hung up, as it should
            self.answer(path, count)

    def answer(self, path: str, count: int) -> None:  # noqa: PLR0912
        first, _, rest = path.strip("/").partition("/")
        if first == "images":
            self.send((self.server.root / path.strip("/")).read_bytes())
        elif first == "status":
            self.send(b"sorry", int(rest))
        elif first == "flaky":  # 500 once, then as the rest of the path
            self.send(b"sorry", 500) if count == 1 else self.answer(rest, count)
        elif first == "busy":
            wait = "1" if rest == "seconds" else formatdate(time.time() + 2, usegmt=True)
            wait = "3600" if rest == "long" else wait
            self.send(b"later", 429, {"Retry-After": wait}) if count == 1 else self.send(b"now")
        elif first == "sick":  # as the rest of the path, once it is healthy
            self.server.healthy.wait(60)
            self.answer(rest, count)
        elif first == "hang":
            time.sleep(1.5)
        elif first == "drip":  # never silent for long, never done
            self.begin({"Content-Length": "1000"})
            for _ in range(200):
                self.send_slowly(b"x", 0.1)
        elif first == "endless":
            self.begin({"Connection": "close"})
            while True:
                self.send_slowly(bytes(8192))
        elif first == "heavy":
            self.begin({"Content-Length": str(LIMIT + 1)})
        elif first == "short":
            self.begin({"Content-Length": "100"})
            self.close_connection = True
        elif first == "loop":
            self.send(b"", 302, {"Location": f"/loop/{count}"})
        elif first == "endless-redirect":
            self.begin({"Location": "/plain", "Connection": "close"}, 302)
            while True:
                self.send_slowly(bytes(8192))
        elif first == "to":
            self.send(b"", 302, {"Location": rest.replace("|", "/")})
        else:
            self.send(b"plain")

    def send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.begin({"Content-Length": str(len(body)), **(headers or {})}, status)
        self.wfile.write(body)

    def begin(self, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send_slowly(self, data: bytes, pause: float = 0.0) -> None:
        self.wfile.write(data)
        self.wfile.flush()
        time.sleep(pause)

    def log_message(self, *_: object) -> None:
        pass


class Files(BaseHTTPRequestHandler):
    """Files below ``root``, in whole or by range, as web servers give them."""

    server: Server

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        with self.server.lock:
            self.server.requests[self.path] += 1
        path = self.server.root / self.path.strip("/")
        data = path.read_bytes() if path.is_file() else b""
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        self.send_response((206 if span else 200) if path.is_file() else 404)
        self.send_header("Accept-Ranges", "bytes")
        if span:
            first, last = int(span[1]), min(int(span[2] or len(data)), len(data) - 1)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            data = data[first : last + 1]
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass
