"""``mmx serve`` as its users start it: it answers, swaps while requests come, and ends cleanly."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pyarrow.parquet as pq
import pytest

from mmx.cli import app as commands
from tests.serve.conftest import Shop
from tests.serve.world import IDS, TOKEN, train

PATIENCE = 90  # s, for what takes a few


def mmx(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mmx", "serve", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


def address(process: subprocess.Popen[str]) -> str:
    """Where it says that it serves."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"serving \S+ at (http://\S+)", line):
            return found[1]
    raise AssertionError(f"it ended with {process.wait()}")


@pytest.mark.slow
def test_it_serves_swaps_and_ends(shop: Shop, tmp_path: Path) -> None:
    store, run = tmp_path / "toy.parquet", tmp_path / "mine"
    shutil.copy(shop.store, store)
    shutil.copytree(shop.runs[0], run)
    process = mmx(str(run), "--store", str(store), "--port", "0", "--mcp", MMX_TOKEN=TOKEN)
    try:
        base = address(process)
        with httpx2.Client(base_url=base, timeout=PATIENCE) as client:
            assert client.get("/health").status_code == 401
            client.headers["authorization"] = f"Bearer {TOKEN}"
            assert client.get("/health").json()["run"] == "mine"
            assert client.get("/items/%C3%BC%20100%25").json()["item_id"] == IDS[3]
            assert client.get("/items/a%2Fb%2F..%2Fc").json()["item_id"] == IDS[1]
            assert client.get("/health", headers={"host": "evil.example"}).status_code == 403
        _swaps_in_the_middle(base, store)
        command = Path(f"/proc/{process.pid}/cmdline")
        assert not command.exists() or TOKEN not in command.read_text()
        _ends_with_its_requests(process, base)
    finally:
        process.kill()


def _swaps_in_the_middle(base: str, store: Path) -> None:
    """Every answer is of the old store or of the new one, and none is missing."""
    lengths: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        headers = {"authorization": f"Bearer {TOKEN}"}
        with httpx2.Client(base_url=base, timeout=PATIENCE, headers=headers) as client:
            while not stop.is_set():
                answer = client.get("/similar/i0", params={"k": 200})
                lengths.append(len(answer.json()["items"]) if answer.is_success else -1)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    whole = _wait_for(lambda: lengths[-1] if lengths else None)
    other = store.with_name("other.parquet")
    pq.write_table(pq.read_table(store).slice(0, 6), other)
    os.replace(other, store)
    _wait_for(lambda: lengths[-1] if lengths[-1] != whole else None)
    stop.set()
    for client in clients:
        client.join()
    assert whole > 10
    assert set(lengths) == {whole, 5}


def _wait_for(what: object) -> int:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if (found := what()) is not None:  # type: ignore[operator]
            return int(found)
        time.sleep(0.02)
    raise AssertionError("it takes too long")


def _ends_with_its_requests(process: subprocess.Popen[str], base: str) -> None:
    """A request that has begun is answered; then it is over, with exit code 0 and no traceback."""
    host, port = base.removeprefix("http://").split(":")
    body = b'{"items": ["i0"], "k": 3}'
    head = (f"POST /recommend HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n")  # fmt: skip
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(head.encode() + body[:5])
        time.sleep(0.3)  # so that it has begun
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(body[5:])
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout) == (0, "")
    assert "Traceback" not in stderr
    assert TOKEN not in stderr


@pytest.mark.slow
def test_a_thousand_silent_connections_keep_nobody_out(shop: Shop) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, limits[1]), limits[1]))  # the usual one
    process = mmx(str(shop.runs[1]), "--port", "0")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2500, limits[1]), limits[1]))
    try:
        base = address(process)
        host, port = base.removeprefix("http://").split(":")
        with ExitStack() as stack:
            for _ in range(min(1300, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 300)):
                stack.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE))
            with httpx2.Client(base_url=base, timeout=PATIENCE) as client:
                assert client.get("/recommend/u0").status_code == 200
    finally:
        process.kill()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a command which cannot start says."""
    from mmx.errors import MmxError

    with pytest.raises(MmxError) as error:
        commands.app(["serve", *arguments], standalone_mode=False)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_be_served_is_one_line(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(shop.runs[1])
    assert "no run at" in refused(capsys, str(tmp_path), "--port", "0")
    assert "--token" in refused(capsys, run, "--host", "0.0.0.0")
    assert "no store" in refused(capsys, run, "--store", str(tmp_path / "none"), "--port", "0")
    assert "no dataset" in refused(capsys, run, "--data", str(tmp_path / "none"), "--port", "0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "--port" in refused(capsys, run, "--port", port)
    assert "--host" in refused(capsys, run, "--host", "no-such-host.invalid", "--token", TOKEN)


def test_without_the_extra(shop: Shop) -> None:
    code = "import sys; sys.modules['fastapi'] = None; from mmx.cli import program; program()"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", str(shop.runs[1]), "--port", "0"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'mmx[serve]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_fusion_and_ready_lists_are_served_too(shop: Shop, tmp_path: Path) -> None:
    from mmx.recommend.fuse import fuse
    from tests.serve.world import listed, served

    other = train(shop.data, "ease-content", tmp_path / "other", shop.store)
    fuse([shop.runs[0], other], tmp_path / "fused")
    api = served(tmp_path / "fused", stores=(shop.store,))
    assert listed(api.get("/recommend/u0", k=5, explain=True))
    assert api.get("/runs")[0]["name"] == "fused"
