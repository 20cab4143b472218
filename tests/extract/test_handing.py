"""Pictures that only the job can read, decoded by processes: the bytes of threads all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmx.data.dataset import load_items
from mmx.errors import EncoderError
from mmx.extract.sources import source_for
from mmx.extract.sources.source import Source
from mmx.extract.sources.web import Web
from mmx.extract.stages import decoders, handing, reading, takeover
from mmx.extract.stages.handing import Handing
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.run import cores
from tests.catalogue import plain_catalogue, write_items
from tests.extract.beside import decoders_of, killing, odd_catalogue, run
from tests.extract.commands import command
from tests.extract.counting import content
from tests.extract.descendants import wait_until, wait_until_gone
from tests.extract.odd_decoding import odd_decoders
from tests.extract.servers import Misbehaving, serving

pytestmark = pytest.mark.usefixtures("none_left")


def in_rows(data: Path) -> Path:
    """The same items with the bytes of their pictures in the table; absent files stay paths."""
    table = load_items(data).table.select(["item_id", "image", "text"])
    pictures = [
        {"bytes": (data / name).read_bytes()} if name and (data / name).is_file()
        else {"path": name} for name in table["image"].to_pylist()
    ]  # fmt: skip
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = table.set_column(1, "image", pa.array(pictures, kind))
    (data / "rows").mkdir()
    pq.write_table(table, data / "rows/items.parquet", row_group_size=25)
    return data / "rows"


def same(folder: Path, data: Path, processes: int = 2, **given: object) -> None:
    """The store of processes is that of threads, and so is what is said of it."""
    threads = run(data, folder / "threads.parquet", 0, **given)
    found = run(data, folder / "processes.parquet", processes, **given)
    assert found.failures == threads.failures
    shown = [{why: set(few) for why, few in each.examples.items()} for each in (found, threads)]
    assert shown[0] == shown[1]  # in the order in which they failed
    stores = [(folder / f"{name}.parquet").read_bytes() for name in ("threads", "processes")]
    assert stores[0] == stores[1]


def test_the_rows_of_a_table(tmp_path: Path, marked: str) -> None:
    data, seen = in_rows(odd_catalogue(tmp_path / "d")), []

    def look(state: Progress) -> None:
        seen.append((len(decoders_of(marked)), state.threads["reading"], state.threads["decoding"]))

    run(data, tmp_path / "threads.parquet", 0)
    report = run(data, tmp_path / "processes.parquet", 3, look)
    count = min(3, cores())
    assert max(seen)[0] == count + 1
    assert seen[-1][1:] == (4, count)  # the readers are those of the job
    assert all(report.rates[stage] > 0 for stage in ("reading", "decoding"))
    statuses = pq.read_table(tmp_path / "threads.parquet")["image_status"].to_pylist()
    assert len(set(statuses)) == 6
    found = (tmp_path / "processes.parquet").read_bytes()
    assert found == (tmp_path / "threads.parquet").read_bytes()


def test_a_source_of_the_user_s_own(tmp_path: Path) -> None:
    """It holds what cannot be sent to another process."""
    data, lock = odd_catalogue(tmp_path / "d"), threading.Lock()

    class Own(Source):
        def __call__(self, image: str, /) -> bytes:
            with lock:
                return b"" if "gone" in image else (data / image.partition(";")[0]).read_bytes()

    rows = load_items(data).table.select(["item_id", "image", "text"]).to_pylist()
    rows[11]["image"] = "images/11.png;a note"
    same(tmp_path, write_items(data, rows), source=Own())


@pytest.mark.parametrize(("limit", "bytes_of"), [("LARGE", 0), ("TASK", 1)])
def test_large_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, bytes_of: int
) -> None:
    """The largest are decoded here, of others each is a task; little of them waits."""
    monkeypatch.setattr(handing, limit, bytes_of)
    monkeypatch.setattr(reading, "HELD", 1)
    sent, made = [], decoders._task

    def noted(chunk: handing.Chunk) -> object:
        task = made(chunk)
        sent.append([len(data or b"") for _, data, _ in task[3] or ()])
        return task

    monkeypatch.setattr(decoders, "_task", noted)
    same(tmp_path, in_rows(odd_catalogue(tmp_path / "d")))
    assert sum(map(len, sent)) == 60
    if limit == "LARGE":
        assert not any(map(any, sent))
    else:
        assert all(not any(task[:-1]) for task in sent)


@pytest.fixture
def takeover_soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Progress], None]]:
    """What waits until processes have come, which is in the middle of the job."""
    monkeypatch.setattr(takeover, "too_slow", lambda *_: True)
    monkeypatch.setattr(takeover, "SPAN", 0.01)
    seen, begun, submit = set(), threading.Event(), Handing.submit
    monkeypatch.setattr(Handing, "submit", lambda *given: (begun.set(), submit(*given)))

    def slowly(state: Progress) -> None:
        if state.stage == "encode":
            begun.wait(0.1)
            seen.add(begun.is_set())

    yield slowly
    assert seen == {False, True}


def test_processes_take_over(tmp_path: Path, takeover_soon: Callable[[Progress], None]) -> None:
    data = in_rows(plain_catalogue(tmp_path / "d", 600))
    run(data, tmp_path / "threads.parquet", 0)
    assert run(data, tmp_path / "x.parquet", None, takeover_soon).encoded == 600
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "threads.parquet").read_bytes()


def test_the_web_and_no_more_requests_than_a_host_takes(
    tmp_path: Path,
    takeover_soon: Callable[[Progress], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also while threads still make batches and processes have begun."""
    data = odd_catalogue(tmp_path / "d")
    rows = load_items(data).table.select(["item_id", "image", "text"]).to_pylist()
    with serving(data, Misbehaving) as server:
        rows[51]["image"] = f"{server.url()}/status/404"
        more = [
            {"item_id": f"w{n}", "image": f"{server.url()}/images/{n % 7}.png", "text": None}
            for n in range(60)
        ]
        items = load_items(write_items(data, rows + more))
        web = Web(connections=4, per_host=3, allow_private=True)
        run(data, tmp_path / "threads.parquet", 0, source=source_for(items, web))
        monkeypatch.setattr(reading, "FAR", 20)
        run(data, tmp_path / "x.parquet", None, takeover_soon, source=source_for(items, web))
        assert server.most <= 3
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "threads.parquet").read_bytes()


def test_killed_decoders_are_replaced(tmp_path: Path, marked: str) -> None:
    data, killed = in_rows(plain_catalogue(tmp_path / "d", 300)), []
    run(data, tmp_path / "threads.parquet", 0)
    assert run(data, tmp_path / "x.parquet", 2, killing(marked, killed)).encoded == 300
    assert len(set(killed)) == 4
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "threads.parquet").read_bytes()


def test_a_picture_that_kills_one_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = plain_catalogue(tmp_path / "d", 30)
    odd_decoders(monkeypatch, data / "images/17.png", signal.SIGKILL, often=1)
    same(tmp_path, in_rows(data))
    assert list(data.glob("images/time-*")) == [data / "images/time-0"]


def test_a_picture_that_kills_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = plain_catalogue(tmp_path / "d", 30)
    odd_decoders(monkeypatch, data / "images/17.png", signal.SIGKILL)
    with pytest.raises(EncoderError, match=r"2 decoding processes died over #17; leave it out"):
        run(in_rows(data), tmp_path / "x.parquet", 2)


def test_a_picture_over_which_a_decoder_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "SILENCE", 2.0)
    data = plain_catalogue(tmp_path / "d", 30)
    odd_decoders(monkeypatch, data / "images/17.png", signal.SIGSTOP, often=1)
    data = in_rows(data)
    run(data, tmp_path / "threads.parquet", 0)
    report = run(data, tmp_path / "x.parquet", 2)
    assert report.note == "a decoding process made no progress for 2 s and was replaced"
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "threads.parquet").read_bytes()


@pytest.mark.slow
def test_a_decoder_that_stops_while_it_is_given_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of tasks larger than a socket takes the rest waits for the decoder."""
    monkeypatch.setattr(decoders, "SILENCE", 2.0)
    data = plain_catalogue(tmp_path / "d", 30)
    for n in range(30):
        Image.new("RGB", (600, 500), (n, 0, 0)).save(data / f"images/{n}.png", "BMP")
    odd_decoders(monkeypatch, data / "images/0.png", signal.SIGSTOP, often=1)
    data = in_rows(data)
    run(data, tmp_path / "threads.parquet", 0)
    report = run(data, tmp_path / "x.parquet", 1, also={"batch_size": 30})
    assert report.note == "a decoding process made no progress for 2 s and was replaced"
    found = content(tmp_path / "x.parquet")
    assert found.equals(content(tmp_path / "threads.parquet"))


def test_an_error_of_the_source_is_that_of_the_job(tmp_path: Path) -> None:
    def read(image: str) -> bytes:
        if image.endswith("17.png"):
            raise ZeroDivisionError("a bug in the source")
        return (data / image).read_bytes()

    data = plain_catalogue(tmp_path / "d", 30)
    with pytest.raises(ZeroDivisionError, match="a bug in the source"):
        run(data, tmp_path / "x.parquet", 2, source=read)


@pytest.mark.slow
def test_a_killed_job_leaves_nothing(tmp_path: Path, marked: str) -> None:
    data, shared = in_rows(plain_catalogue(tmp_path / "d", 2000)), set(os.listdir("/dev/shm"))
    words = [*command(data, tmp_path / "x.parquet", "1"), "--decode-processes", "2"]
    job = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list(tmp_path.glob("x.parquet.parts/part-*"))) > 3)
    assert len(decoders_of(marked)) == min(2, cores()) + 1
    job.kill()
    assert job.wait(timeout=60) != 0
    wait_until_gone(marked)
    assert set(os.listdir("/dev/shm")) == shared
