"""Processes that augment for a fine-tuning: the same run, whatever dies, and none left over."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch

from mmx.data.dataset import Items
from mmx.errors import OptionError
from mmx.extract.encoders import open_encoder
from mmx.extract.finetune import FinetuneOptions, FinetuneProgress, ahead, finetune, trainable
from mmx.extract.finetune.ahead import Ahead, Share, process_count
from mmx.extract.pictures.augment import CLIP, Augmentation
from mmx.extract.stages import nursery, slots
from mmx.extract.stages.pool import ForkPool
from tests.extract.augmentations import OnlyIn, forks_of, small_items
from tests.extract.descendants import wait_until
from tests.extract.tiny_checkpoint import VOCABULARY, weights
from tests.extract.tiny_objective import QUICK
from tests.extract.tiny_vlmo import HEADS, RELPOS

STEPS = 54 // 16 * 2  # of both epochs


pytestmark = pytest.mark.usefixtures("none_left")


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Items:
    return small_items(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def alone(items: Items, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """The run of one process."""
    return run(items, tmp_path_factory.mktemp("alone"), 0)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[Share]:
    """The shares that the main process makes; it waits for the others to be ready first."""
    made, start, make = [], Ahead._start, Share.make

    def started(self: Ahead, *given: object) -> object:
        found = start(self, *given)  # type: ignore[arg-type]
        wait_until(lambda: self._listen(0.1) or len(self._forks.ready) == self.count)  # type: ignore[union-attr]
        return found

    monkeypatch.setattr(Ahead, "_start", started)
    monkeypatch.setattr(Share, "make", lambda share: (made.append(share), make(share)))
    return made


def run(
    items: Items, folder: Path, processes: int | None,
    progress: Callable[[FinetuneProgress], None] = lambda p: None,
    log: Callable[[str], None] = lambda line: None, **options: object,
) -> list[object]:  # fmt: skip
    """What a fine-tuning wrote, but for seconds."""
    chosen = FinetuneOptions(**{**QUICK, **options})  # type: ignore[arg-type]
    data: Items | Path = items
    if "objectives" in options:
        data = items.directory
    finetune(
        data, open_encoder("clip:mini"), folder / "run", chosen, decode_processes=processes,
        pixels=items.directory / "pixels", progress=progress, log=log,
    )  # fmt: skip
    history = pq.read_table(folder / "run/history.parquet").drop_columns("seconds").to_pylist()
    files = ("model.safetensors", "config.json", "metrics.json")
    return [history, *((folder / "run" / name).read_bytes() for name in files)]


@pytest.mark.parametrize("processes", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_the_run_is_the_same(
    items: Items, alone: list[object], tmp_path: Path, processes: int, here: list[Share],
    marked: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(ahead, "TOGETHER", 5)
    monkeypatch.setattr(ahead, "cores", lambda: 4)
    seen: list[int] = []
    assert run(items, tmp_path, processes, lambda p: seen.append(len(forks_of(marked)))) == alone
    assert seen == [processes + 1] * 2
    assert here == []


@pytest.mark.slow
def test_partners_are_augmented_too(items: Items, tmp_path: Path, here: list[Share]) -> None:
    options = {"objectives": ("itc", "co-interaction"), "accumulate": 2}
    found = [run(items, tmp_path / str(n), n, **options) for n in (0, 1)]
    assert found[0] == found[1]
    assert here == []


@pytest.mark.slow
def test_vlmo_too_whose_losses_look_at_the_pictures_again(
    items: Items, tmp_path: Path, here: list[Share]
) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    path = weights(tmp_path, replace(RELPOS, max_text_len=40, table_text_len=196), HEADS)
    options, found = FinetuneOptions(("itc", "itm", "mlm"), epochs=2, batch_size=12, chunk=6), []
    for processes in (0, 1):
        encoder = open_encoder("vlmo", weights=path, tokenizer=tmp_path / "vocab.txt")
        out = tmp_path / str(processes)
        finetune(items, encoder, out, options, pixels=tmp_path, decode_processes=processes)
        found.append((out / "model.safetensors").read_bytes())
    assert found[0] == found[1]
    assert here == []


def kill_all(processes: list[int]) -> None:
    for process in processes:
        os.kill(process, signal.SIGKILL)


def test_a_process_that_dies_at_work(
    items: Items, alone: list[object], tmp_path: Path, here: list[Share], marked: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    lines, stopped, finish = [], [], Ahead._finish

    def stop(state: FinetuneProgress) -> None:
        if state.epoch == 1:
            stopped.extend(forks_of(marked)[-1:])
            os.kill(stopped[0], signal.SIGSTOP)  # it will have shares and not make them

    def finished(self: Ahead, *given: object) -> None:
        kill_all(stopped)
        stopped.clear()
        finish(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Ahead, "_finish", finished)
    assert run(items, tmp_path, 1, stop, lines.append) == alone
    assert lines[1:] == ["a process that augments pictures died; its work is done without it"]
    assert here


@pytest.mark.slow
def test_all_processes_die_between_epochs(
    items: Items, alone: list[object], tmp_path: Path, here: list[Share], marked: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(ahead, "cores", lambda: 4)
    lines: list[str] = []

    def kill(state: FinetuneProgress) -> None:
        if state.epoch == 1:
            kill_all(forks_of(marked))
            wait_until(lambda: not forks_of(marked))

    assert run(items, tmp_path, 2, kill, lines.append) == alone
    assert lines[1:] == ["a process that augments pictures died; its work is done without it"] * 2


@pytest.mark.slow
def test_a_process_that_stops(
    items: Items, alone: list[object], tmp_path: Path, here: list[Share], marked: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    lines: list[str] = []
    start = ForkPool.spawn

    def impatient(self: ForkPool[Share]) -> None:
        start(self)
        pools.append(self)

    def stop(state: FinetuneProgress) -> None:
        if state.epoch == 1:
            os.kill(forks_of(marked)[-1], signal.SIGSTOP)
            pools[0]._silence = 1.0  # from now on; a start takes longer

    pools: list[ForkPool[Share]] = []
    monkeypatch.setattr(ForkPool, "spawn", impatient)
    assert run(items, tmp_path, 1, stop, lines.append) == alone
    assert lines[1:] == [
        "a process that augments pictures made no progress for 60 s; its work is done without it"
    ]
    assert here


@pytest.mark.slow
def test_a_process_that_fails(
    items: Items, alone: list[object], tmp_path: Path, here: list[Share],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(trainable, "CLIP", OnlyIn(CLIP.smallest, process=os.getpid()))
    lines: list[str] = []
    assert run(items, tmp_path, 1, log=lines.append) == alone
    assert lines[1:] == [
        "a process that augments pictures failed (no room for a picture); its work is done "
        "without it"
    ]
    assert here


@pytest.mark.parametrize("broken", ["program", "memory"])
def test_processes_that_cannot_start(
    items: Items, alone: list[object], tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []

    def refused(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(ahead, "cores", lambda: 4)
    if broken == "program":
        monkeypatch.setattr(nursery, "PROGRAM", "raise SystemExit(3)")
    else:
        monkeypatch.setattr(slots, "mapped", refused)
    assert run(items, tmp_path, 2, log=lines.append) == alone
    said = {"program": "died; its work is done", "memory": "without other processes: no memory"}
    assert len(lines) == {"program": 3, "memory": 2}[broken]  # one of each process
    assert all(said[broken] in line for line in lines[1:])


class KilledError(Exception):
    """In place of a kill."""


@pytest.mark.slow
def test_a_killed_run_continues_with_any_number(
    items: Items, alone: list[object], tmp_path: Path, here: list[Share]
) -> None:
    def kill(state: FinetuneProgress) -> None:
        if state.epoch == 1:
            raise KilledError

    with pytest.raises(KilledError):
        run(items, tmp_path, 1, kill)
    assert here == []
    epochs: list[int] = []
    assert run(items, tmp_path, 0, lambda p: epochs.append(p.epoch)) == alone
    assert epochs == [2]


def test_pictures_are_augmented_once(
    items: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is encoded twice, the second time with gradients."""
    altered, one = [], Augmentation._one
    monkeypatch.setattr(Augmentation, "_one", lambda *given: (altered.append(1), one(*given))[1])
    run(items, tmp_path, None)
    assert len(altered) == STEPS * 16


def test_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")

    def count(chosen: int | None, device: torch.device = gpu, augment: bool = True) -> int:
        return process_count(chosen, device, augment=augment)

    monkeypatch.setattr(ahead, "cores", lambda: 6)
    assert [count(None), count(None, cpu), count(None, augment=False)] == [5, 0, 0]
    assert [count(0), count(2, cpu), count(99)] == [0, 2, 6]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert count(None) == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert count(None) == 0
    monkeypatch.setattr(ahead, "cores", lambda: 999)
    assert count(None) == ahead.MOST
    for chosen, augment, said in (
        (-1, True, "--decode-processes -1: 0 to 1024 is expected"),
        (2, False, "--decode-processes 2: nothing is augmented; drop --no-augment"),
    ):
        with pytest.raises(OptionError, match=said):
            count(chosen, augment=augment)
    assert count(0, augment=False) == 0
    monkeypatch.setattr(ahead, "os", SimpleNamespace(environ={}))
    assert count(None) == 0
    with pytest.raises(OptionError, match="--decode-processes 2: such processes need Linux"):
        count(2)
