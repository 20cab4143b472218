"""Pools that refuse when full, and what waits together computed together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from mmx.serve import thumbs
from mmx.serve.thumbs import Thumbnails
from mmx.serve.work import Batches, BusyError, Pool
from tests.serve.world import Served


def test_a_full_pool_refuses_at_once() -> None:
    go = threading.Event()

    async def several() -> list[object]:
        pool = Pool("test", 1, 2)
        jobs = [asyncio.create_task(pool.run(go.wait)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await pool.run(go.wait)
        go.set()
        done = await asyncio.gather(*jobs)
        assert pool.inside == 0
        assert await pool.run(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 / 0)
        assert pool.inside == 0
        return done

    assert asyncio.run(several()) == [True] * 3


def test_what_waits_for_the_same_is_computed_together() -> None:
    go, calls = threading.Event(), []

    def work(ones: Sequence[int]) -> list[int]:
        calls.append(list(ones))
        go.wait()
        return [one * 10 for one in ones]

    async def several() -> list[int]:
        batches = Batches(Pool("test", 1, 100), together=4)
        first = asyncio.create_task(batches.ask("a", work, 0))
        while not calls:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batches.ask("a", work, n)) for n in range(1, 7)]
        other = asyncio.create_task(batches.ask("b", work, 9))
        gone = asyncio.create_task(batches.ask("b", work, 8))
        await asyncio.sleep(0)
        gone.cancel()
        go.set()
        return await asyncio.gather(first, *others, other)

    assert asyncio.run(several()) == [0, 10, 20, 30, 40, 50, 60, 90]
    assert sorted(map(tuple, calls)) == [(0,), (1, 2, 3, 4), (5, 6), (9, 8)]


def test_an_error_of_a_batch_reaches_all_of_it_and_the_next_are_computed() -> None:
    def broken(ones: Sequence[int]) -> list[int]:
        raise ValueError("no")

    async def several() -> int:
        pool = Pool("test", 1, 100)
        batches = Batches(pool)
        jobs = [batches.ask("a", broken, n) for n in range(3)]
        found = await asyncio.gather(*jobs, return_exceptions=True)
        assert [type(one) for one in found] == [ValueError] * 3
        assert pool.inside == 0
        answer: int = await batches.ask("a", lambda ones: [1 for _ in ones], 1)
        return answer

    assert asyncio.run(several()) == 1


def test_requests_are_not_left_waiting_where_no_thread_takes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def several() -> list[object]:
        pool = Pool("test", 1, 100)
        batches = Batches(pool)

        async def refused(job: object) -> None:
            raise RuntimeError("no thread")

        with monkeypatch.context() as patched:
            patched.setattr(pool, "compute", refused)
            jobs = [batches.ask("a", list, n) for n in range(3)]
            async with asyncio.timeout(30):
                found = await asyncio.gather(*jobs, return_exceptions=True)
        assert pool.inside == 0
        assert await batches.ask("a", list, 7) == 7
        return found

    assert [str(one) for one in asyncio.run(several())] == ["no thread"] * 3


def test_a_busy_server_answers_503(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for pool in api.service.pools:
        monkeypatch.setattr(pool, "most", 0)
    for place in ("/recommend/u0", "/similar/i0", "/search?q=x", "/items", "/pictures/i0"):
        answer = api.client.get(place)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert api.client.get("/health").status_code == 200


def test_thumbnails_are_made_once_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(raw: bytes, side: int) -> bytes:
        made.append(f"{raw.decode()} {side}")
        return raw * 100

    monkeypatch.setattr(thumbs, "thumbnail", make)
    kept = Thumbnails(most=700)
    read = str.encode
    for name in ("a", "a", "b", "a"):
        assert kept.get(read, name, 200) == name.encode() * 100  # type: ignore[arg-type]
    assert made == ["a 256", "b 256"]
    kept.get(read, "c", 64)  # type: ignore[arg-type]
    kept.get(read, "a", 200)  # type: ignore[arg-type]
    kept.get(read, "b", 200)  # type: ignore[arg-type]
    assert made == ["a 256", "b 256", "c 64", "b 256"]  # b was the longest unused
