"""Downloads from a small server of its own: resumed, checked, and never half there."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mmx.errors import EncoderError
from mmx.extract.download import fetch, sidecar

CONTENT = bytes(range(256)) * 9000  # 2.3 MB: more than one chunk
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT, with ranges; how it misbehaves can be set."""

    daemon_threads = True
    content = CONTENT
    etag = '"first"'
    stop_after: int | None = None  # bytes of the body after which the connection is cut
    ranges = True
    status = 200
    seen: list[tuple[str | None, str | None]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.seen.append((wanted, self.headers.get("If-Range")))
        if server.status != 200:
            self.send_error(server.status)
            return
        start = 0
        if wanted and server.ranges and self.headers.get("If-Range") == server.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", server.etag)
        self.end_headers()
        self.wfile.write(body[: server.stop_after])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/weights.pt"


def test_a_file_is_fetched_once_and_its_checksum_recorded(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "new" / "weights.pt"
    got = fetch(url(server), target, progress=lambda *p: seen.append(p))
    assert got.read_bytes() == CONTENT
    assert sidecar(target).read_text() == f"{SHA256}  weights.pt\n"
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert sorted(p.name for p in target.parent.iterdir()) == ["weights.pt", "weights.pt.sha256"]
    fetch(url(server), target)
    assert len(server.seen) == 1


def test_an_interrupted_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    server.stop_after = 1_500_000
    with pytest.raises(EncoderError, match=f"stopped at 1500000 of {len(CONTENT)} bytes; the same"):
        fetch(url(server), target)
    assert not target.exists()
    server.stop_after = None
    seen: list[int] = []
    fetch(url(server), target, sha256=SHA256, progress=lambda done, total: seen.append(done))
    assert server.seen[1] == ("bytes=1500000-", '"first"')
    assert seen[0] == 1_500_000
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("change", ["another version", "no ranges"])
def test_a_part_that_cannot_be_continued_is_fetched_anew(
    server: Server, tmp_path: Path, change: str
) -> None:
    target = tmp_path / "weights.pt"
    server.stop_after = 1_000_000
    with pytest.raises(EncoderError):
        fetch(url(server), target)
    server.stop_after = None
    if change == "another version":
        server.etag, server.content = '"second"', CONTENT[::-1]
    else:
        server.ranges = False
    assert fetch(url(server), target).read_bytes() == server.content


def test_a_weak_mark_does_not_allow_to_continue(server: Server, tmp_path: Path) -> None:
    server.etag, server.stop_after = 'W/"first"', 1_000_000
    with pytest.raises(EncoderError):
        fetch(url(server), tmp_path / "weights.pt")
    server.stop_after = None
    assert fetch(url(server), tmp_path / "weights.pt").read_bytes() == CONTENT
    assert server.seen[1] == (None, None)


def test_a_wrong_checksum_is_never_put_in_place(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    with pytest.raises(EncoderError, match=r"weights\.pt should have abc; delete it and try again"):
        fetch(url(server), target, sha256="abc")
    assert not target.exists()


def test_a_file_that_changed_since_its_download_is_told(server: Server, tmp_path: Path) -> None:
    target = fetch(url(server), tmp_path / "weights.pt")
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(EncoderError, match=f"should have {SHA256}; delete it"):
        fetch(url(server), target)


def test_a_file_put_there_by_hand_is_taken(tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    target.write_bytes(CONTENT)
    assert fetch("http://127.0.0.1:9/weights.pt", target) == target
    with pytest.raises(EncoderError, match="should have abc"):
        fetch("http://127.0.0.1:9/weights.pt", target, sha256="abc")


def test_no_network_and_no_such_file_are_one_line(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    server.status = 404
    missing = url(server)
    server_less = "http://127.0.0.1:9/weights.pt"  # the discard port: nothing listens
    nowhere = "http://nowhere.invalid/weights.pt"
    for address, reason in ((missing, "answers 404"), (server_less, "refused"), (nowhere, "")):
        with pytest.raises(EncoderError) as caught:
            fetch(address, target)
        line = str(caught.value)
        assert reason in line
        assert f"put {address} at {target}, or give --weights PATH" in line
        assert "\n" not in line
