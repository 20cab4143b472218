"""What files say never makes code run: runs, plans, stores, checkpoints that name a trap.

The trap is a file and a package, in the working directory and on ``sys.path``, that leave a mark
when they are run.
"""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml

import mmx
from mmx.cli.inspect import info
from mmx.errors import MmxError, OptionError, RunError
from mmx.experiments.grid import Grid
from mmx.experiments.plan import load_plan
from mmx.extract.encoders import check_request
from mmx.recommend import checkpoint
from mmx.recommend.models import find_model, listing
from mmx.torch_files import save_checked
from tests.own.packages import MODEL, KilledError, job, written

NAMES = ("evil.py:Model", "./evil.py:Model", "ROOM/evil.py:Model", "evil:Model", "evil", "evil.py",
         "evilpack.inner:Model", "evilpack.inner", "evilpack:Model")  # fmt: skip


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The room with the trap; afterwards nothing of it must have run."""
    room = tmp_path / "room"
    (room / "evilpack").mkdir(parents=True)
    mark = f"open({str(room / 'ran')!r}, 'w')\nModel = Encoder = Config = dict\n"
    for name in ("evil.py", "evilpack/__init__.py", "evilpack/inner.py"):
        (room / name).write_text(mark)
    monkeypatch.chdir(room)
    monkeypatch.syspath_prepend(room)
    yield room
    assert not (room / "ran").exists()
    assert not [name for name in sys.modules if name.startswith(("evil", "mmx_own_evil"))]
    assert not list(room.rglob("*.pyc"))


@pytest.fixture
def made(trap: Path, sample: Path) -> Path:
    """A store and a run beside the trap."""
    mmx.encode(sample, "toy", trap / "s.parquet")
    settings = ["dim=4"]
    training = mmx.TrainOptions(epochs=1)
    mmx.fit(mmx.TrainJob(sample, "vbpr", "s.parquet", settings, training=training), trap / "run")
    return trap


def changed(value: Any, put: Any) -> Iterator[Any]:
    """The JSON value with one text of it replaced, for each text; keys stay."""

    def places(inner: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        if isinstance(inner, dict | list):
            for key, one in inner.items() if isinstance(inner, dict) else enumerate(inner):
                yield from places(one, (*path, key))
        elif isinstance(inner, str) or inner is None:
            yield path

    for path in places(value, ()):
        other = copy.deepcopy(value)
        holder = other
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = put
        yield other


def used(*calls: Callable[[], object]) -> int:
    """How many of the calls went through; the others raised an error of mmx's own."""
    done = 0
    for call in calls:
        with suppress(MmxError):
            call()
            done += 1
    return done


def test_runs(made: Path) -> None:
    file = made / "run/config.json"
    config = {**json.loads(file.read_text()), "code": {"name": "x", "sha256": "y"}}
    went = 0
    for n, other in enumerate(changed(config, "PUT")):
        name = NAMES[n % len(NAMES)].replace("ROOM", str(made))
        file.write_text(json.dumps(other).replace("PUT", name))
        went += used(
            lambda: mmx.open_run("run"),
            lambda: mmx.top_k("run", k=3),
            lambda: mmx.top_k("run", items_from=["nothing"]),
            lambda: mmx.evaluate("run", cold=True, log=print),
            lambda: info(made / "run"),
        )
    assert went > 20
    assert {path.name for path in made.iterdir()} == {"evil.py", "evilpack", "run", "s.parquet"}


def test_stores(made: Path, sample: Path) -> None:
    store = made / "s.parquet"
    table = pq.read_table(store)
    facts = dict(table.schema.metadata)
    card = json.loads(facts[b"mmx.card"])
    card["extra"] = {"code": {"name": "x", "sha256": "y", "package": "z"}}
    went = 0
    for n, other in enumerate(changed(card, "PUT")):
        name = NAMES[n % len(NAMES)].replace("ROOM", str(made))
        text = json.dumps(other).replace("PUT", name)
        pq.write_table(table.replace_schema_metadata({**facts, b"mmx.card": text.encode()}), store)
        went += used(
            lambda: mmx.open_store(store).card,
            lambda: info(store),
            lambda: mmx.encode(sample, "toy", store),
            lambda: mmx.load_items(sample),
        )
    assert went > 20


@pytest.mark.parametrize("name", NAMES)
def test_plans(trap: Path, sample: Path, name: str) -> None:
    name = name.replace("ROOM", str(trap))
    base = {"datasets": {"d": {"data": str(sample)}}, "features": {"none": "none"},
            "recommenders": {"popularity": None}}  # fmt: skip
    both = {"vbpr": {"settings": {"dim": 4}}}
    plans: list[dict[str, Any]] = [
        {**base, "recommenders": {"x": {"model": name}}},
        {**base, "recommenders": {"popularity": {"settings": {name: name}}}},
        {**base, "features": {"f": {"extract": [{"model": name}]}}, "recommenders": both},
        {**base, "features": {"f": {"extract": [{"model": "toy", "weights": name}]}},
         "recommenders": both},
        {**base, "features": {"f": {"finetune": {"model": name, "options": {}}}},
         "recommenders": both},
        {**base, "features": {"f": {"end_to_end": {"encoder": name, "options": {}}}},
         "recommenders": both},
        {**base, "code": [name]},
    ]  # fmt: skip
    for n, content in enumerate(plans):
        (trap / "p.yaml").write_text(yaml.safe_dump(content))
        out = trap / f"out{n}"
        done = []
        with suppress(MmxError):
            outcome = Grid(load_plan(trap / "p.yaml"), out).run()
            done = outcome.finished
        assert done == []
        assert not (out / "runs").exists()


def test_yaml_that_makes_objects(trap: Path) -> None:
    for text in (
        "!!python/module:evil {}",
        "datasets: !!python/object/apply:importlib.import_module [evil]",
        "recommenders: {x: !!python/name:evil.Model }",
    ):
        (trap / "p.yaml").write_text(text)
        with pytest.raises(OptionError):
            load_plan(trap / "p.yaml")


class Bomb:
    """Its pickle imports the trap when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, ("evil",)


def test_checkpoints(trap: Path, sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    file = written(trap, MODEL)

    def kill(state: mmx.TrainProgress) -> None:
        if state.epoch == 3:
            raise KilledError

    def train(**more: Any) -> None:
        mmx.fit(job(sample, f"{file}:Model", file), trap / "run", **more)

    with pytest.raises(KilledError):
        train(progress=kill)
    (kept,) = trap.glob(".run.*.checkpoint")
    sound = torch.load(kept, weights_only=True)
    for name in NAMES:
        save_checked({**sound, "code": name}, kept)
        with pytest.raises(RunError, match="file has changed since: its SHA-256 is another"):
            train()
    for bomb in (pickle.dumps(Bomb()), pickle.dumps({**sound, "code": Bomb()})):
        kept.write_bytes(bomb)
        with pytest.raises(RunError, match="cannot be continued"):
            train()
    torch.save({**sound, "best": Bomb()}, kept)
    with pytest.raises(RunError, match="cannot be continued"):
        train()


def test_weights_of_an_encoder(trap: Path) -> None:
    torch.save({"x": Bomb()}, trap / "w.pt")
    tuned = trap / "tuned"
    tuned.mkdir()
    (tuned / "config.json").write_text(json.dumps({"finetune": "evil.py:Encoder", "card": {}}))
    torch.save({"x": Bomb()}, tuned / "model.safetensors")
    for spec, weights in (("clip:mini", trap / "w.pt"), ("vlmo", trap / "w.pt"), ("vlmo", tuned)):
        with pytest.raises(MmxError):
            mmx.open_encoder(spec, weights=weights, device="cpu")
    assert used(lambda: info(tuned)) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_a_name_alone_is_no_permission(trap: Path, name: str) -> None:
    """Not even from Python: a program may have it from a file."""
    name = name.replace("ROOM", str(trap))
    calls = (lambda: find_model(name), lambda: check_request(name), lambda: mmx.open_encoder(name))
    assert used(*calls) == 0
    used(lambda: mmx.EndToEndJob(name), lambda: mmx.TrainJob("d", name))


def test_a_folder_that_looks_installed(trap: Path) -> None:
    """The working directory may be a download; ``python -m mmx`` has it on ``sys.path``."""
    facts = trap / "evil-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    points = "[mmx.models]\nbest = evil:Model\n[mmx.encoders]\nbest = evil:Encoder\n"
    (facts / "entry_points.txt").write_text(points)
    assert used(lambda: find_model("best"), lambda: mmx.open_encoder("best")) == 0
    assert "best" not in {record.name for record in listing()}


@pytest.mark.slow
def test_the_commands(made: Path) -> None:
    file = made / "run/config.json"
    config = json.loads(file.read_text()) | {"model": "evil.py:Model"}
    config["code"] = {"name": "evil.py:Model", "sha256": "0" * 64}
    file.write_text(json.dumps(config))
    plan = {"datasets": {"d": {"data": "x"}}, "features": {"none": "none"},
            "recommenders": {"x": {"model": "evil.py:Model"}}}  # fmt: skip
    (made / "p.yaml").write_text(yaml.safe_dump(plan))
    for command, code in (
        ("info run", 0), ("evaluate run", 0), ("recommend run --user user-001", 0), ("models", 0),
        ("encoders", 0), ("fuse run run --out both", 2), ("reproduce p.yaml", 2),
        ("reproduce p.yaml --dry-run", 2), ("reproduce p.yaml --tables", 2),
    ):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "mmx", *command.split()], cwd=made, capture_output=True,
            text=True, timeout=180, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        assert done.returncode in (code, 1), f"{command}: {done.stderr}"
    assert not (made / "runs").exists()
