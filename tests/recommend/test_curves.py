"""The curves of a training: with TensorBoard where it is installed, and with a made-up writer."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmx.errors import OptionError, TargetError
from mmx.recommend import checkpoint
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions, TrainProgress
from mmx.sql import open_sql
from tests.catalogue import random_log, write_interactions, write_items


class Events:
    """What SummaryWriter is called with."""

    made: list[Events] = []  # noqa: RUF012

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step, self.closed = folder, purge_step, False
        self.points: list[tuple[str, float, int]] = []
        self.texts: list[str] = []
        self.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.points.append((name, value, step))

    def add_text(self, name: str, text: str, step: int) -> None:
        self.texts.append(text)

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Events]:
    module: Any = SimpleNamespace(SummaryWriter=Events)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Events, "made", [])
    return Events.made


def job(path: Path, model: str = "bpr", **options: Any) -> TrainJob:
    if not (path / "data").exists():
        write_items(path / "data", [{"item_id": f"i{n}"} for n in range(20)])
        write_interactions(path / "data", random_log(12, 20, 8))
    return TrainJob(path / "data", model, training=TrainOptions(epochs=4, device="cpu", **options))


class KilledError(Exception):
    pass


def test_a_resumed_run_goes_on_from_its_epoch(
    tmp_path: Path, events: list[Events], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)

    def killed(state: TrainProgress) -> None:
        if state.epoch == 3:
            raise KilledError

    with pytest.raises(KilledError):
        fit(job(tmp_path), tmp_path / "runs/a", progress=killed, tensorboard=True)
    (first,) = events
    assert first.closed
    assert first.folder == str(tmp_path / "runs/tensorboard/a")
    assert first.purge_step == 1
    assert '"reg": 0.05' in first.texts[0]
    assert all(line.startswith("    ") for line in first.texts[0].splitlines())
    cost = fit(job(tmp_path), tmp_path / "runs/a", tensorboard=True).config["cost"]
    assert (cost["resumed"], cost["seconds"]) == (True, None)
    assert cost["training_seconds"] > 0
    second = events[1]
    assert (second.purge_step, second.folder) == (3, first.folder)
    losses = [step for name, _, step in second.points if name == "loss"]
    assert losses == [3, 4]
    names = {name for name, _, _ in second.points}
    assert names >= {"loss", "valid/recall@20", "valid/ndcg@20", "seconds/training"}
    with open_sql(tmp_path / "cache", tmp_path / "runs") as opened:  # no run of its own
        assert opened.ask('select count(*) as n from "a".per_user').to_pylist()[0]["n"]


def test_what_is_refused(
    tmp_path: Path, events: list[Events], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OptionError, match="ease has a closed form and no epochs; drop --log"):
        fit(job(tmp_path, "ease"), tmp_path / "a", tensorboard=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match=r"--log-dir .*file/x cannot be written: "):
        fit(job(tmp_path), tmp_path / "a", tensorboard=tmp_path / "file" / "x")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(OptionError, match=r"pip install 'mmx\[tensorboard\]'"):
        fit(job(tmp_path), tmp_path / "a", tensorboard=True)
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_tensorboard_reads_them(tmp_path: Path) -> None:
    reading = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is absent (pip install 'mmx[tensorboard]')",
    )
    fit(job(tmp_path), tmp_path / "a", tensorboard=tmp_path / "logs")
    fit(job(tmp_path, lr=0.1), tmp_path / "b", tensorboard=tmp_path / "logs")
    found = reading.EventAccumulator(str(tmp_path / "logs"))
    found.Reload()
    assert [point.step for point in found.Scalars("loss")] == [1, 2, 3, 4]
    assert "valid/recall@20" in found.Tags()["scalars"]
