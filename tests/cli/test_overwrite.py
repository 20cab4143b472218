"""``--overwrite`` replaces what mmx made, of the kind being written, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mmx.atomic import file_sha256
from mmx.cli.app import app
from mmx.errors import MmxError, TargetError
from mmx.sample.catalogue import write_sample

pytestmark = pytest.mark.slow

TRAIN = ["train", "--model", "popularity", "--data", "data"]
FINETUNE = ["finetune", "--model", "clip:mini", "--data", "data", "--epochs", "1"]
EXTRACT = ["extract", "--model", "toy", "--data", "data"]


def mmx(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def done(*arguments: str) -> None:
    result = mmx(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, a store, two runs, an encoder, and things that mmx did not make."""
    path = tmp_path_factory.mktemp("shop")
    write_sample(path / "data", items=30, users=25, seed=3)
    (path / "photos").mkdir()
    (path / "photos" / "1.jpg").write_bytes(b"dear to me")
    (path / "notes.csv").write_text("a,b\n1,2\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        done(*EXTRACT)
        for name in ("one", "two", "three"):
            done(*TRAIN, "--out", f"runs/{name}")
        done(*FINETUNE, "--out", "tuned")
        done("store", "convert", "cache/toy.parquet", "--to", "npy", "--out", "npy")
        done("sql", "select 1 as a", "--out", "one.parquet")
    return path


@pytest.fixture
def here(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In that folder; at the end nothing in it may have changed."""
    monkeypatch.chdir(shop)
    return shop


def contents(path: Path) -> dict[str, str]:
    """All files but decoded pictures, which are kept for the next time."""
    files = [p for p in path.rglob("*") if p.is_file() and "pixels" not in p.parts]
    return {str(p.relative_to(path)): file_sha256(p) for p in files}


OTHERS = ["photos", "photos/1.jpg", "data", "data/items.parquet", "runs", "runs/one", "tuned",
          "cache", "cache/toy.parquet", "npy", "one.parquet", "notes.csv", "."]  # fmt: skip
COMMANDS = {
    "train": (TRAIN, {"runs/one"}),
    "fuse": (["fuse", "runs/three", "runs/two"], {"runs/one"}),
    "finetune": (FINETUNE, {"tuned"}),
    "extract": (EXTRACT, {"cache/toy.parquet"}),
    "merge": (["store", "merge", "cache/toy.parquet"], {"cache/toy.parquet"}),
    "filter": (
        ["store", "filter", "cache/toy.parquet", "--where", "true"],
        {"cache/toy.parquet"},
    ),
    "export": (["store", "convert", "cache/toy.parquet", "--to", "npy"], {"npy"}),
    "adopt": (["store", "convert", "npy", "--from", "npy"], {"cache/toy.parquet"}),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_of_another_kind_is_replaced(here: Path, name: str) -> None:
    command, own = COMMANDS[name]
    before = contents(here)
    for out in OTHERS:
        if out not in own:
            result = mmx(*command, "--out", out, "--overwrite")
            assert isinstance(result.exception, MmxError), f"{out}: {result.exception!r}"
            assert "elsewhere" in str(result.exception)
    assert contents(here) == before


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_replaced_unasked(here: Path, name: str) -> None:
    command, own = COMMANDS[name]
    before = contents(here)
    if name == "extract":  # which goes on from what is there
        done(*command)
        assert contents(here) == before
        return
    for out in own:
        result = mmx(*command, "--out", out)
        assert isinstance(result.exception, TargetError)
        assert "--overwrite" in str(result.exception)
    assert contents(here) == before


@pytest.mark.parametrize(
    "command",
    [
        ["sql", "from 'cache/toy.parquet'"],
        ["sql", "from toy", "--store", "cache/toy.parquet"],
        ["recommend", "runs/one", "--all"],
    ],
)
def test_tables_replace_tables(here: Path, command: list[str]) -> None:
    before = contents(here)
    foreign = ["cache/toy.parquet", "data/items.parquet", "data/interactions.parquet"]
    for out in (*foreign, "one.parquet", "new/folder/x.csv"):
        assert isinstance(mmx(*command, "--out", out).exception, MmxError), out
    for out in foreign:
        assert isinstance(mmx(*command, "--out", out, "--overwrite").exception, MmxError), out
    assert contents(here) == before
    assert not (here / "new").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        [*FINETUNE, "--lr", "-1"],
        [*FINETUNE, "--tune", "last:x"],
        [*FINETUNE, "--objective", "itm"],
        ["finetune", "--model", "clip:mini", "--data", "lone"],
        ["finetune", "--model", "toy", "--data", "data"],
        [*TRAIN, "--min-rating", "99"],
        [*TRAIN, "--features", "cache/toy.parquet"],
        ["train", "--model", "popularity", "--data", "lone"],
        ["train", "--model", "vbpr", "--data", "data", "--features", "cache/none.parquet"],
        [*EXTRACT, "--batch-size", "0"],
        [*EXTRACT, "--modalities", "audio"],
        ["extract", "--model", "toy", "--data", "none"],
    ],
)
def test_a_mistake_costs_nothing(here: Path, wrong: list[str]) -> None:
    if not (here / "lone").exists():
        write_sample(here / "lone", items=1, users=1)
        (here / "lone" / "interactions.parquet").unlink()
    before = contents(here)
    out = {"finetune": "tuned", "train": "runs/one", "extract": "cache/toy.parquet"}[wrong[0]]
    result = mmx(*wrong, "--out", out, "--overwrite")
    assert isinstance(result.exception, MmxError), repr(result.exception)
    assert contents(here) == before
