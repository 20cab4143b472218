"""Fetching from a server of this machine that behaves as badly as servers do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mmx.errors import OptionError
from mmx.extract.reasons import ImageError
from mmx.extract.sources.addresses import is_public
from mmx.extract.sources.fetching import Fetcher
from mmx.extract.sources.web import Web
from tests.catalogue import plain_catalogue
from tests.extract.servers import QUICK, Misbehaving, Server, serving


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_catalogue(tmp_path_factory.mktemp("web") / "d", 20)


@pytest.fixture
def server(pictures: Path) -> Iterator[Server]:
    with serving(pictures, Misbehaving) as started:
        yield started


def reason(fetch: Fetcher, url: str) -> str:
    with pytest.raises(ImageError) as caught:
        fetch(url)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "said", "requests"),
    [
        ("/status/404", "not found by the host", 1),
        ("/status/403", "refused by the host", 1),
        ("/status/204", "unexpected answer", 1),
        ("/status/503", "server error", 3),
        ("/hang", "timeout", 3),
        ("/heavy", "too large", 1),
        ("/endless", "too large", 1),
        ("/short", "connection lost", 3),
        ("/loop", "too many redirects", 4),
        ("/to/ftp:||127.0.0.1|x", "no web address", 1),
        ("/to/http:||a:x", "redirected to no address", 1),
    ],
)
def test_what_fails_and_how_often_it_is_asked(
    server: Server, path: str, said: str, requests: int
) -> None:
    assert reason(Fetcher(QUICK), server.url() + path) == said
    assert sum(server.requests.values()) == requests


def test_a_body_that_drips_ends_at_the_deadline(server: Server) -> None:
    start = time.monotonic()
    once = Web(allow_private=True, attempts=1, read_timeout=5.0, deadline=0.6)
    assert reason(Fetcher(once), f"{server.url()}/drip") == "timeout"
    assert 0.5 < time.monotonic() - start < 10  # 20 seconds to the end


def test_the_body_of_a_redirect_is_not_read(server: Server) -> None:
    assert Fetcher(QUICK)(f"{server.url()}/endless-redirect") == b"plain"
    assert Fetcher(QUICK)(f"{server.url()}/to/|plain") == b"plain"


def test_what_passes_is_tried_again(server: Server) -> None:
    fetch = Fetcher(QUICK)
    assert fetch(f"{server.url()}/flaky/plain") == b"plain"
    for path in ("/busy/seconds", "/busy/date"):
        start = time.monotonic()
        assert fetch(server.url() + path) == b"now"
        assert time.monotonic() - start > 0.9
    assert (
        reason(fetch, f"{server.url()}/busy/long") == "too many requests"
    )  # an hour is not waited for
    (agent,) = server.agents
    assert agent.startswith("mmx/")


def test_a_host_that_asks_for_rest_gets_it_from_all(server: Server) -> None:
    fetch = Fetcher(QUICK)
    with ThreadPoolExecutor(2) as pool:
        busy = pool.submit(fetch, f"{server.url()}/busy/seconds")
        while not server.requests["/busy/seconds"]:
            time.sleep(0.01)
        time.sleep(0.3)
        pool.submit(fetch, f"{server.url()}/plain").result()
        assert busy.result() == b"now"
    times = server.times
    started = dict(reversed(times))
    assert started["/plain"] - started["/busy/seconds"] > 0.9


def test_private_addresses_are_refused_at_every_hop(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    wary = Fetcher(Web())
    said = "private address; --allow-private"
    for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433"):
        assert reason(wary, server.url(host)) == said
    assert not server.requests

    # The first hop may go to the server, as if it were of the internet; the second may not.
    monkeypatch.setattr(
        "mmx.extract.sources.addresses.is_public", lambda address: address == "127.0.0.1"
    )
    port = server.server_port
    assert wary(f"{server.url()}/plain") == b"plain"
    assert reason(wary, f"{server.url()}/to/http:||127.0.0.2:{port}|plain") == said
    assert server.requests["/plain"] == 1


def test_the_address_that_was_checked_is_the_one_connected_to(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that means another address the second time."""
    answers = iter(["203.0.113.7", "127.0.0.1"])
    connected = []

    def resolve(host: str, port: int, *_: object, **__: object) -> list[tuple]:
        if host != "rebinding.example":  # create_connection looks its number up, too
            connected.append(host)
            raise OSError("unreachable, said the test")
        return [(2, 1, 6, "", (next(answers), port))]

    monkeypatch.setattr("mmx.extract.sources.addresses.is_public", lambda a: a == "203.0.113.7")
    monkeypatch.setattr("socket.getaddrinfo", resolve)
    once = Web(attempts=1)
    reason(Fetcher(once), server.url("rebinding.example"))
    assert connected == ["203.0.113.7"]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("10.0.0.1", False), ("172.16.5.4", False), ("192.168.1.1", False),
        ("127.8.8.8", False), ("169.254.169.254", False), ("100.64.0.1", False),
        ("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False),
        ("::1", False), ("::", False), ("fe80::1%eth0", False), ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False), ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False),
    ],
)  # fmt: skip
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_odd_addresses() -> None:
    once = Fetcher(Web(attempts=1))
    assert reason(once, "http://") == "no web address"
    assert reason(once, "http://a:x/") == "no web address"
    assert reason(once, f"http://{'a' * 70}.invalid/") == "no web address"
    assert reason(once, "http://nowhere.invalid/") == "unknown host"


def test_bounds_overall_and_for_each_host(server: Server) -> None:
    for web, most in ((Web(allow_private=True), 4), (Web(allow_private=True, connections=3), 3)):
        server.most = 0
        fetch = Fetcher(web)
        with ThreadPoolExecutor(16) as pool:
            urls = [f"{server.url()}/images/{n}.png" for n in range(20)]
            assert all(data.startswith(b"\x89PNG") for data in pool.map(fetch, urls))
        assert server.most == most
    with pytest.raises(OptionError, match="--per-host 0: 1 to 1024 is expected"):
        Web(per_host=0)
