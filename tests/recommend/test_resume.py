"""A killed training continues only where the contents of all that it reads are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmx.data.dataset import load_items
from mmx.errors import RunError
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.recommend import checkpoint, memory
from mmx.recommend.end_to_end import EndToEndJob, EndToEndOptions
from mmx.recommend.features import FeatureSpec
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions, TrainProgress
from tests.catalogue import plain_catalogue, random_log, write_interactions

ITEMS = 20


@pytest.fixture(autouse=True)
def _every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = plain_catalogue(tmp_path / "data", items=ITEMS)
    write_interactions(folder, random_log(15, ITEMS, 8))
    return folder


def encode(data: Path) -> Path:
    store = data.parent / "toy.parquet"
    extract(load_items(data), open_encoder("toy"), store, ExtractOptions(overwrite=store.exists()))
    return store


def job(data: Path, *, along: bool = False) -> TrainJob:
    options = TrainOptions(epochs=3, batch_size=64)
    if along:
        pixels = data.parent / "pixels"
        joint = EndToEndJob("clip:mini", pixels=pixels, options=EndToEndOptions(refresh="epoch"))
        return TrainJob(data, end_to_end=joint, training=options)
    return TrainJob(data, features=[FeatureSpec(data.parent / "toy.parquet")], training=options)


def killed(work: TrainJob, out: Path) -> None:
    """Killed in epoch 3."""

    def kill(state: TrainProgress) -> None:
        if state.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(work, out, progress=kill)


def epochs_that_follow(work: TrainJob, out: Path) -> tuple[list[int], str]:
    epochs: list[int] = []
    lines: list[str] = []
    fit(work, out, progress=lambda state: epochs.append(state.epoch), log=lines.append)
    return epochs, "\n".join(lines)


def recolour(data: Path) -> None:
    """The same names and sizes, another picture."""
    with Image.open(data / "images/3.png") as old:
        Image.new("RGB", old.size, (255, 0, 0)).save(data / "images/3.png")


def rename(data: Path) -> None:
    """Item i3 is called so in both tables no more."""
    for name in ("items", "interactions"):
        table = pq.read_table(data / f"{name}.parquet")
        ids = ["j3" if one == "i3" else one for one in table["item_id"].to_pylist()]
        place = table.column_names.index("item_id")
        pq.write_table(table.set_column(place, "item_id", [ids]), data / f"{name}.parquet")


def rename_user(data: Path) -> None:
    table = pq.read_table(data / "interactions.parquet")
    ids = ["v3" if one == "u3" else one for one in table["user_id"].to_pylist()]
    split = table.set_column(0, "user_id", [ids])
    pq.write_table(split, data / "interactions.parquet")


def reword(data: Path) -> None:
    table = pq.read_table(data / "items.parquet")
    texts = pa.array(
        ["other" if n == 3 else text for n, text in enumerate(table["text"].to_pylist())]
    )
    pq.write_table(table.set_column(2, "text", texts), data / "items.parquet")


def swap(data: Path) -> None:
    """Items i3 and i4 change names: the same ids, pictures and texts, but another item each."""
    table = pq.read_table(data / "items.parquet")
    swapped = {"i3": "i4", "i4": "i3"}
    ids = [swapped.get(one, one) for one in table["item_id"].to_pylist()]
    pq.write_table(table.set_column(0, "item_id", [ids]), data / "items.parquet")


def test_the_same_goes_on(data: Path, tmp_path: Path) -> None:
    encode(data)
    killed(job(data), tmp_path / "run")
    epochs, said = epochs_that_follow(job(data), tmp_path / "run")
    assert epochs == [3]
    assert "starts over" not in said


@pytest.mark.parametrize("change", [recolour, rename, reword, swap])
def test_changed_features_start_over(
    data: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """Names, modalities, dimensions and the number of items are what they were."""
    encode(data)
    killed(job(data), tmp_path / "run")
    change(data)
    encode(data)
    epochs, said = epochs_that_follow(job(data), tmp_path / "run")
    assert epochs == [1, 2, 3]
    assert "is of other inputs or options; training starts over" in said
    assert not list(tmp_path.glob(".run.*.checkpoint"))


def test_what_goes_on_does_not_start_over(data: Path, tmp_path: Path) -> None:
    """Though another job was killed with the same ``--out``."""
    encode(data)
    for work in (job(data), replace(job(data), settings=["reg=0.3"])):
        killed(work, tmp_path / "run")
    epochs, said = epochs_that_follow(work, tmp_path / "run")
    assert epochs == [3]
    assert "starts over" not in said


def test_a_renamed_user_starts_over(data: Path, tmp_path: Path) -> None:
    """Whose split stays what it was: it is given."""
    table = pq.read_table(data / "interactions.parquet")
    split = ["test" if n % 4 == 0 else "train" for n in range(table.num_rows)]
    pq.write_table(table.append_column("split", [split]), data / "interactions.parquet")
    work = TrainJob(data, "bpr", training=TrainOptions(epochs=3, batch_size=64))
    killed(work, tmp_path / "run")
    rename_user(data)
    assert epochs_that_follow(work, tmp_path / "run")[0] == [1, 2, 3]


@pytest.mark.parametrize("change", [None, recolour, reword, swap])
def test_end_to_end_by_pictures_and_texts(
    data: Path, tmp_path: Path, change: Callable[[Path], None] | None
) -> None:
    killed(job(data, along=True), tmp_path / "run")
    if change is not None:
        change(data)
    epochs, _ = epochs_that_follow(job(data, along=True), tmp_path / "run")
    assert epochs == ([3] if change is None else [1, 2, 3])


def test_a_garbage_checkpoint_is_named(data: Path, tmp_path: Path) -> None:
    encode(data)
    killed(job(data), tmp_path / "run")
    (kept,) = tmp_path.glob(".run.*.checkpoint")
    kept.write_bytes(b"garbage")
    with pytest.raises(RunError, match=r"cannot be continued .* delete it to start over"):
        fit(job(data), tmp_path / "run")


def test_what_cannot_fit_in_memory_is_one_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(data)
    wide = replace(job(data), settings=["dim=65536"])
    monkeypatch.setattr(memory, "memory_there", lambda: 16 * 35 * 65536 - 1)
    with pytest.raises(
        RunError, match=r"^--set dim=65536 of 35 users and items needs 0 GiB .*lower"
    ):
        fit(wide, tmp_path / "run")


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9")]
)
def test_an_allocation_that_fails_is_one_line(error: Exception) -> None:
    said = r"^bpr does not fit in memory \(.*\); lower --set dim$"
    with pytest.raises(RunError, match=said), memory.allocating("bpr", "lower --set dim"):
        raise error
    with pytest.raises(RuntimeError, match=r"^other$"), memory.allocating("bpr", ""):
        raise RuntimeError("other")


def test_numpy_and_torch_say_so(tmp_path: Path) -> None:
    import torch

    for allocate in (lambda: np.empty(2**52), lambda: torch.empty(2**52)):
        with pytest.raises(RunError, match="does not fit in memory"), memory.allocating("x", "y"):
            allocate()
