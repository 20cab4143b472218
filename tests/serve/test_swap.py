"""A newer run or store is taken whole; a broken one is reported, and the old one stays."""

from __future__ import annotations

import gc
import os
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.errors import RunError
from mmx.serve import watch
from mmx.serve.options import ServeOptions
from mmx.serve.watch import Watcher, load_whole, settle, signature
from tests.serve.conftest import Shop
from tests.serve.world import IDS, Served, listed, served, train


@pytest.fixture
def own(shop: Shop, tmp_path: Path) -> tuple[Served, Watcher, Path]:
    """A server over a run and a store of its own, and what watches them."""
    run, store = tmp_path / "runs/mine", tmp_path / "toy.parquet"
    shutil.copytree(shop.runs[0], run)
    shutil.copy(shop.store, store)
    found = served(run, stores=(store,))
    options = found.service.options
    return found, Watcher(found.service, signature(options), found.lines.append), tmp_path


def replace(path: Path, table: pa.Table) -> None:
    other = path.with_name("other.parquet")
    pq.write_table(table, other)
    os.replace(other, path)


def test_nothing_new_is_nothing_done(own: tuple[Served, Watcher, Path]) -> None:
    api, watcher, _ = own
    before = api.service.snapshot
    for _ in range(3):
        watcher.look()
    assert api.service.snapshot is before
    assert api.get("/health")["swaps"] == 0


def test_a_run_that_is_trained_again_is_taken(
    own: tuple[Served, Watcher, Path], shop: Shop
) -> None:
    api, watcher, folder = own
    before = listed(api.get("/recommend/u0", k=200))
    age = api.get("/health")["run_made"]
    os.utime(folder / "runs/mine/config.json", (1e9, 1e9))
    train(shop.data, "popularity", folder / "runs/mine", overwrite=True)
    assert listed(api.get("/recommend/u0", k=200)) == before
    watcher.look()
    health = api.get("/health")
    assert (health["swaps"], health["status"]) == (1, "ok")
    assert health["run_made"] >= age
    assert api.get("/runs")[0]["model"] == "popularity"
    assert listed(api.get("/recommend/u0", k=200)) != before
    watcher.look()
    assert api.get("/health")["swaps"] == 1


def test_a_store_that_is_replaced_is_taken(own: tuple[Served, Watcher, Path]) -> None:
    api, watcher, folder = own
    assert len(listed(api.get("/similar/i0", k=200))) > 10
    table = pq.read_table(folder / "toy.parquet")
    replace(folder / "toy.parquet", table.slice(0, 6))
    watcher.look()
    assert len(listed(api.get("/similar/i0", k=200))) == 5
    assert api.refused(409, "/similar/i20")
    assert api.get("/store")["rows"] == 6


def test_what_is_broken_is_reported_and_the_old_one_stays(
    own: tuple[Served, Watcher, Path],
) -> None:
    api, watcher, folder = own
    before = listed(api.get("/recommend/u0"))
    config = folder / "runs/mine/config.json"
    good = config.read_bytes()
    for wrong in (b"{", b"", b'{"format": 99}'):
        config.write_bytes(wrong)
        watcher.look()
        health = api.get("/health")
        assert health["status"] == "stale"
        assert len(health["problem"].splitlines()) == 1
        assert listed(api.get("/recommend/u0")) == before
        assert "mmx_stale 1.0" in api.client.get("/metrics").text
    (folder / "toy.parquet").write_bytes(b"PAR1")
    config.write_bytes(good)
    watcher.look()
    assert api.get("/health")["status"] == "stale"
    assert listed(api.get("/similar/i0"))
    assert any("still serving" in line for line in api.lines)


def test_a_problem_that_goes_away_is_forgotten(
    own: tuple[Served, Watcher, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, watcher, folder = own
    shutil.move(folder / "runs/mine", folder / "away")
    watcher.look()
    assert api.get("/health")["status"] == "stale"
    watcher.look()
    shutil.move(folder / "away", folder / "runs/mine")
    watcher.look()
    assert api.get("/health")["status"] == "ok"
    api.service.problem = "of something that is not watched"
    watcher.look()
    assert api.get("/health")["status"] == "stale"
    monkeypatch.setattr(watch, "AGAIN", -1)
    watcher.look()
    assert api.get("/health")["status"] == "ok"


def test_what_changes_while_it_is_read_is_read_again(
    own: tuple[Served, Watcher, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, _, folder = own
    options, times = api.service.options, []

    def load(*arguments: object) -> str:
        times.append(1)
        if len(times) < 3 or always:
            os.utime(folder / "runs/mine/config.json", (len(times), len(times)))
        return "whole"

    monkeypatch.setattr(watch, "load", load)
    always = False
    assert load_whole(options, print) == ("whole", signature(options))
    assert len(times) == 3
    always = True
    with pytest.raises(RunError, match="changes while it is read"):
        load_whole(options, print)


def test_the_run_s_own_store_and_dataset_are_watched(shop: Shop, tmp_path: Path) -> None:
    seen = {place for place, *_ in signature(ServeOptions((shop.runs[0],)))}
    assert {str(shop.store), str(shop.data / "items.parquet")} <= seen
    assert signature(ServeOptions((tmp_path / "none",)))


def test_a_request_keeps_the_snapshot_it_began_with(own: tuple[Served, Watcher, Path]) -> None:
    """While one waits for its vector the store loses all items but six."""
    api, watcher, folder = own
    asking = api.service.snapshot.stores[0].asking["text"]
    words = asking.words

    def slow(text: str) -> np.ndarray:
        table = pq.read_table(folder / "toy.parquet")
        replace(folder / "toy.parquet", table.slice(0, 6))
        watcher.look()
        return words(text)

    asking.words = slow  # type: ignore[method-assign]
    assert len(listed(api.get("/search", q="word", k=200))) > 6
    asking.words = words  # type: ignore[method-assign]
    assert len(listed(api.get("/search", q="word", k=200))) == 6
    assert set(listed(api.get("/search", q="word", k=200))) == set(IDS[:6])


def test_a_folder_that_goes_while_it_is_listed_does_not_end_the_watch(
    own: tuple[Served, Watcher, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own[2]

    def gone(path: Path) -> None:
        raise FileNotFoundError(path)

    (folder / "runs/mine/new.parquet").touch()
    monkeypatch.setattr(Path, "iterdir", gone)
    assert list(watch._files(folder)) == [folder]


def test_a_store_of_the_run_that_goes_is_a_problem_and_stays_served(
    shop: Shop, tmp_path: Path
) -> None:
    store, run = tmp_path / "toy.parquet", tmp_path / "runs/mine"
    shutil.copy(shop.store, store)
    train(shop.data, "ease-content", run, store)
    api = served(run)
    watcher = Watcher(api.service, signature(api.service.options), api.lines.append)
    shutil.move(store, tmp_path / "away")
    watcher.look()
    assert "is gone" in api.get("/health")["problem"]
    assert listed(api.get("/similar/i0"))
    shutil.move(tmp_path / "away", store)
    watcher.look()
    assert api.get("/health")["status"] == "ok"
    shutil.move(store, tmp_path / "away")
    train(shop.data, "popularity", run, overwrite=True)  # names it no more
    watcher.look()
    assert api.get("/health")["problem"] is None
    assert "--store" in api.refused(409, "/similar/i0")


def test_what_is_served_is_not_looked_at_for_garbage_and_what_was_served_goes(
    own: tuple[Served, Watcher, Path],
) -> None:
    api, watcher, folder = own
    api.get("/similar/i0")
    settle()
    try:
        assert not any(one is api.service.snapshot for one in gc.get_objects())
        old = weakref.ref(api.service.snapshot)
        replace(folder / "toy.parquet", pq.read_table(folder / "toy.parquet").slice(0, 6))
        assert watcher.look()
        settle()
        assert old() is None
        assert not watcher.look()
    finally:
        gc.unfreeze()


def test_whatever_a_load_raises_the_watch_goes_on(
    own: tuple[Served, Watcher, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, watcher, folder = own

    def full(*_: object) -> None:
        raise MemoryError("no memory is left")

    os.utime(folder / "runs/mine/config.json", (1, 1))
    with monkeypatch.context() as patch:
        patch.setattr(watch, "load", full)
        assert not watcher.look()
    assert api.get("/health")["problem"] == "no memory is left"
    os.utime(folder / "runs/mine/config.json", (2, 2))
    assert watcher.look()
    assert api.get("/health")["status"] == "ok"


def test_what_was_taken_is_not_taken_again(
    own: tuple[Served, Watcher, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it changed while it was read, and was read twice."""
    api, watcher, folder = own
    config, times = folder / "runs/mine/config.json", []
    load = watch.load

    def changing(*arguments: Any) -> Any:
        times.append(1)
        if len(times) == 1:
            os.utime(config, (9, 9))
        return load(*arguments)

    monkeypatch.setattr(watch, "load", changing)
    os.utime(config, (1, 1))
    assert watcher.look()
    assert not watcher.look()
    assert (len(times), api.get("/health")["swaps"]) == (2, 1)
