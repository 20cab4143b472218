"""Slow, silent and dead hosts cost their own pictures time, and that within bounds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mmx.cli.app import app
from mmx.data.dataset import load_items
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions, ExtractReport
from mmx.extract.pictures.images import ImageRule
from mmx.extract.pipeline import extract
from mmx.extract.pixels import cached_pixels
from mmx.extract.reasons import ImageError, Reason
from mmx.extract.sources import source_for
from mmx.extract.sources.fetching import Fetcher, PassingError
from mmx.extract.sources.hosts import Host
from mmx.extract.sources.source import Source
from mmx.extract.sources.web import Web
from mmx.extract.stages import reading as feeding
from mmx.extract.stages.feed import Feeder
from mmx.extract.stages.load import Loaded, Loader, Read
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.read import Readers
from tests.catalogue import plain_catalogue, write_items
from tests.extract.servers import QUICK, Misbehaving, Server, serving

PATIENT = Web(allow_private=True, read_timeout=120.0, deadline=120.0)
DYING = replace(QUICK, attempts=1, read_timeout=1.5, per_host=1, strikes=2)
PATIENCE = 60.0  # s, for what happens at once unless it never does


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_catalogue(tmp_path_factory.mktemp("web") / "d", 20)


@pytest.fixture
def server(pictures: Path) -> Iterator[Server]:
    with serving(pictures, Misbehaving) as started:
        yield started


def run(images: list[str], folder: Path, web: Web, **options: object) -> ExtractReport:
    data = write_items(
        folder / "d", [{"item_id": str(n), "image": i} for n, i in enumerate(images)]
    )
    chosen = ExtractOptions(**{"batch_size": 8, "part_size": 64, **options})  # type: ignore[arg-type]
    items, encoder = load_items(data), open_encoder("toy")
    return extract(items, encoder, folder / "out.parquet", chosen, source=source_for(items, web))


def statuses(folder: Path) -> list[str]:
    return pq.read_table(folder / "out.parquet")["image_status"].to_pylist()


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_slow_host_does_not_hold_up_the_others(server: Server, tmp_path: Path) -> None:
    """All of the fast host's pictures are fetched while the slow one has not answered once."""
    slow = [f"{server.url()}/sick/images/{n % 20}.png?{n}" for n in range(90)]
    fast = [f"{server.url('localhost')}/images/{n % 20}.png?{n}" for n in range(150)]
    with ThreadPoolExecutor(1) as pool:
        report = pool.submit(run, [*slow, *fast], tmp_path, PATIENT)
        try:
            until(lambda: count(server, "/images") == 150)
            assert count(server, "/sick") == 4
        finally:
            server.healthy.set()
        assert report.result(PATIENCE).failures == {}
    assert count(server, "/sick") == 90


def count(server: Server, start: str) -> int:
    with server.lock:
        return sum(n for path, n in server.requests.items() if path.startswith(start))


def test_a_trickling_picture_is_asked_for_once(server: Server) -> None:
    """The deadline is of the picture, not of each attempt."""
    web = replace(QUICK, attempts=4, read_timeout=5.0, deadline=0.6)
    with pytest.raises(ImageError, match="timeout"):
        Fetcher(web)(f"{server.url()}/drip")
    assert server.requests["/drip"] == 1


def test_what_a_host_asks_for_is_not_held_against_the_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetch, slept = Fetcher(QUICK), []
    monkeypatch.setattr("time.sleep", slept.append)
    fetch._guard.deadline = end = time.monotonic() + 1.0
    assert fetch._pause(1, PassingError(Reason.BUSY, pause=2.0))
    assert (fetch._guard.deadline, slept) == (end + 2.0, [2.0])
    fetch._guard.deadline = time.monotonic()  # a pause of our own has no time left
    assert not fetch._pause(1, PassingError(Reason.TIMEOUT))


def test_a_host_is_given_up_and_asked_again_by_the_next_run(server: Server, tmp_path: Path) -> None:
    sick = [f"{server.url()}/sick/images/{n}.png" for n in range(20)]
    well = [f"{server.url('localhost')}/images/{n}.png" for n in range(20)]
    report = run([*sick, *well], tmp_path, DYING)
    assert report.failures == {"image: host given up": 18, "image: timeout": 2}
    assert count(server, "/sick") == 2
    assert statuses(tmp_path)[20:] == ["ok"] * 20
    (line,) = report.examples["host given up"]
    assert line == "127.0.0.1 gave no answer 2 times in a row (timeout)"

    server.healthy.set()
    report = run([*sick, *well], tmp_path, QUICK)
    assert (report.encoded, report.failures) == (18, {"image: timeout": 2})
    assert run([*sick, *well], tmp_path, QUICK, retry_failed=True).failures == {}


def test_an_answer_of_any_kind_is_a_sign_of_life() -> None:
    host = Host("h.example", replace(QUICK, strikes=2))
    for _ in range(3):
        host.strike(Reason.TIMEOUT)
        host.refuse_if_given_up()
        host.answered()
    host.strike(Reason.TIMEOUT)
    host.strike(Reason.LOST)
    with pytest.raises(ImageError, match="host given up") as caught:
        host.refuse_if_given_up()
    assert caught.value.detail == "h.example gave no answer 2 times in a row (connection lost)"


def test_a_host_that_was_given_up_is_asked_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One failure is then enough."""
    host, now = Host("h.example", replace(QUICK, strikes=2, giving_up=9.0)), [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    host.strike(Reason.TIMEOUT)
    for _ in range(2):
        host.strike(Reason.TIMEOUT)
        now[0] += 8.9
        with pytest.raises(ImageError, match="host given up"):
            host.refuse_if_given_up()
        now[0] += 0.2
        host.refuse_if_given_up()


def test_the_command_says_once_which_host_was_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.server_close()  # refuses from now on
    monkeypatch.setattr("mmx.cli.output.settings.quiet", False)  # whatever other tests said
    images = [f"{server.url()}/images/{n}.png" for n in range(30)]
    write_items(tmp_path / "d", [{"item_id": str(n), "image": i} for n, i in enumerate(images)])
    done = CliRunner().invoke(
        app, ["extract", "--model", "toy", "--data", str(tmp_path / "d"), "--allow-private",
              "--out", str(tmp_path / "out.parquet")], catch_exceptions=False,
    )  # fmt: skip
    said = [line for line in done.output.splitlines() if "gave no answer" in line]
    assert len(said) == 1
    assert "127.0.0.1 gave no answer 8 times in a row (connection refused)" in said[0]


def test_pixels_are_not_kept_where_a_host_was_given_up(server: Server, tmp_path: Path) -> None:
    images = [f"{server.url()}/sick/images/{n}.png" for n in range(9)]
    rows = [{"item_id": str(n), "image": image} for n, image in enumerate(images)]
    items = load_items(write_items(tmp_path / "d", rows))
    rule = ImageRule(8, 8, "squash", "bilinear", (0, 0, 0), (1, 1, 1))
    assert not cached_pixels(items, rule, tmp_path, web=DYING).present.any()
    server.healthy.set()
    assert cached_pixels(items, rule, tmp_path, web=QUICK).present.all()


def test_little_is_held_in_memory_before_it_is_decoded(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "HELD", 1)  # byte: each read waits until all is decoded
    images = [str(pictures / f"images/{n % 20}.png") for n in range(100)]
    assert run(images, tmp_path, Web()).failures == {}


class OneAtATime(Source):
    """A source of three hosts and one reader, which begins when c is submitted."""

    readers = per_host = 1
    has_hosts = True

    def __init__(self) -> None:
        self.submitted = threading.Event()

    def host(self, image: str) -> str:
        if image == "c":
            self.submitted.set()
        return image[0]

    def __call__(self, image: str, /) -> bytes:
        self.submitted.wait(PATIENCE)
        return image.encode()


class Failing(Loader):
    """Cannot decode what host b gives, and not for what the picture is."""

    def decode(self, item: Read) -> Loaded:
        if item.data == b"b":
            raise MemoryError(item.data)
        return super().decode(item)


def test_what_fails_in_decoding_does_not_take_the_room_of_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is read after b, a2 among them, would wait for room for ever."""
    monkeypatch.setattr(feeding, "HELD", 1)
    rule = ImageRule(8, 8, "squash", "bilinear", (0, 0, 0), (1, 1, 1))
    loader, raised = Failing(OneAtATime(), rule, takes_text=False), []

    def feed() -> None:
        work = [[(image, None) for image in ("a1", "a2", "b", "c")]]
        with Feeder(loader, work, 4, 1, Progress()) as feeder:
            try:
                list(feeder)
            except MemoryError as error:
                raised.append(error)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert len(raised) == 1


class Hosts(Source):
    """A source of two hosts."""

    readers, per_host, has_hosts = 4, 2, True

    def host(self, image: str) -> str:
        return image[0]


def test_no_more_of_a_host_than_it_takes_and_all_in_the_end() -> None:
    free, lock, running, most = threading.Event(), threading.Lock(), {"a": 0, "b": 0}, []

    def read(image: str) -> str:
        with lock:
            running[image[0]] += 1
            most.append(dict(running))
        if image[0] == "a":
            free.wait(PATIENCE)
        with lock:
            running[image[0]] -= 1
        if image == "b7":
            raise ValueError(image)
        return image

    with Readers(Hosts()) as readers:
        slow = [readers.submit(f"a{n}", read, f"a{n}") for n in range(9)]
        fast = [readers.submit(f"b{n}", read, f"b{n}") for n in range(9)]
        assert [f.result(PATIENCE) for f in fast[:7]] == [f"b{n}" for n in range(7)]
        with pytest.raises(ValueError, match="b7"):
            fast[7].result(PATIENCE)
        assert not any(future.done() for future in slow)
        free.set()
        assert [f.result(PATIENCE) for f in slow] == [f"a{n}" for n in range(9)]
    assert max(seen["a"] for seen in most) == 2
    assert max(seen["b"] for seen in most) <= 2
