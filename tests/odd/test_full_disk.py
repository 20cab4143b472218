"""A full disk, or a limit to the size of files, while runs, encoders and tables are written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from mmx.atomic import replacing
from mmx.cli.table_files import write_table
from mmx.data.dataset import load_items
from mmx.errors import TargetError
from mmx.extract.encoders import open_encoder
from mmx.extract.finetune import FinetuneOptions, finetune
from mmx.extract.pictures.images import ImageRule
from mmx.extract.pixels import cached_pixels
from mmx.recommend import checkpoint
from mmx.recommend.end_to_end import EndToEndJob
from mmx.recommend.fit import fit
from mmx.recommend.fuse import fuse
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions
from mmx.recommend.run import open_run
from mmx.sample.catalogue import write_sample
from mmx.torch_files import load_checked, save_checked, save_tensors
from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.full_disk import FULL, mounted, no_room
from tests.odd.shop import attempt

ITEMS = 120


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/ and the runs factors and items."""
    folder = tmp_path_factory.mktemp("shop")
    data = plain_catalogue(folder / "data", items=ITEMS)
    write_interactions(data, random_log(60, ITEMS, 8))
    fit(TrainJob(data, "bpr", training=TrainOptions(epochs=1)), folder / "factors")
    fit(TrainJob(data, "ease"), folder / "items")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


WAYS: dict[str, Callable[[Path, Path], object]] = {
    "factors": lambda shop, out: fit(
        TrainJob(shop / "data", "bpr", training=TrainOptions(epochs=1)), out
    ),
    "items": lambda shop, out: fit(TrainJob(shop / "data", "ease"), out),
    "fused": lambda shop, out: fuse([shop / "factors", shop / "items"], out),
    "sample": lambda shop, out: write_sample(out, items=30, users=10),
}
for suffix in ("parquet", "csv", "json", "jsonl"):
    WAYS[suffix] = lambda shop, out, suffix=suffix: write_table(  # type: ignore[misc]
        out.with_suffix(f".{suffix}"), TABLE.schema, TABLE.to_batches(), overwrite=False
    )
TABLE = pa.table({"number": np.random.default_rng(0).random(10_000)})


@pytest.mark.parametrize("limit", [10, 1000, 3000, 20_000])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_half_written(shop: Path, tmp_path: Path, way: str, limit: int) -> None:
    """20,000 bytes hold all of a run but its item weights, which are not written by Python."""
    with no_room(limit):
        said = attempt(lambda: WAYS[way](shop, tmp_path / "out"))
    if said == "done":
        assert limit == 20_000
        assert way in ("sample", "factors")
    else:
        assert "File too large; free the disk" in said
        assert str(tmp_path / "out") in said
        assert names(tmp_path) == []


def test_what_stood_there_stays(shop: Path, tmp_path: Path) -> None:
    out = fit(TrainJob(shop / "data", "ease"), tmp_path / "out").path
    before = {path: (out / path).read_bytes() for path in names(out)}
    with no_room(20_000), pytest.raises(TargetError, match=FULL):
        fit(TrainJob(shop / "data", "ease"), out, overwrite=True)
    assert {path: (out / path).read_bytes() for path in names(out)} == before
    assert names(tmp_path)[0] == "out"
    assert len(names(tmp_path)) == 1 + len(before)
    open_run(out)


def test_a_checkpoint(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch itself says nothing of the disk."""
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    job = TrainJob(shop / "data", "bpr", training=TrainOptions(epochs=2))
    with no_room(20_000), pytest.raises(TargetError, match=FULL):
        fit(job, tmp_path / "out")
    assert names(tmp_path) == []


def test_tensors(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(10_000)}
    for write in (save_checked, save_tensors):
        with (
            no_room(1000),
            pytest.raises(TargetError, match=FULL),
            replacing(tmp_path / "a") as temporary,
        ):
            write(tensors, temporary)
        assert names(tmp_path) == []
    save_checked(tensors, tmp_path / "a")
    assert torch.equal(load_checked(tmp_path / "a")["a"], tensors["a"])


def test_an_encoder(shop: Path, tmp_path: Path) -> None:
    """What a fine-tuning keeps until it ends is whole as well, and it resumes from there."""
    items = load_items(shop / "data")
    options = FinetuneOptions(epochs=1, batch_size=16, chunk=8)

    def tune() -> None:
        encoder = open_encoder("clip:mini")
        finetune(items, encoder, tmp_path / "out", options, pixels=tmp_path / "pixels")

    for limit in (1000, 1 << 20):
        with no_room(limit), pytest.raises(TargetError, match=FULL):
            tune()
        assert not [name for name in names(tmp_path) if name.endswith((".tmp", ".pt"))]
        assert not (tmp_path / "out").exists()
    tune()
    assert (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.slow
def test_end_to_end(shop: Path, tmp_path: Path) -> None:
    job = TrainJob(
        shop / "data",
        "vbpr",
        end_to_end=EndToEndJob("clip:mini", pixels=tmp_path / "pixels"),
        training=TrainOptions(epochs=1),
    )
    with no_room(1 << 20), pytest.raises(TargetError, match=FULL):
        fit(job, tmp_path / "out")
    assert not [name for name in names(tmp_path) if "out" in name]


def test_pixels_on_a_truly_full_disk(shop: Path, tmp_path: Path) -> None:
    """Pages of a file that is mapped into memory have no room: without a look before, a SIGBUS."""
    items = load_items(shop / "data")
    rule = ImageRule(64, 64, "squash", "bilinear", (0.0,) * 3, (1.0,) * 3)
    with mounted(tmp_path / "m", "size=256k") as disk:
        with pytest.raises(TargetError, match=FULL):
            cached_pixels(items, rule, disk / "pixels")
        assert names(disk) == ["pixels"]


def test_a_limit_of_the_shell(shop: Path, tmp_path: Path) -> None:
    """``ulimit -f``: a signal by default, which Python leaves aside."""
    command = f"ulimit -f 2; exec {sys.executable} -m mmx train --model ease --data {shop / 'data'}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("mmx: error:")]
    assert "cannot write runs/ease: File too large; free the disk" in line
    assert names(tmp_path) == ["runs"]
