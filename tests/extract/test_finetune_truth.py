"""Fine-tuning that cannot learn says so; a killed one resumes only with the same contents."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmx.data.dataset import Items, load_items
from mmx.errors import DataError, OptionError, RunError
from mmx.extract.encoders import open_encoder
from mmx.extract.finetune import FinetuneOptions, FinetuneProgress, finetune, loop
from mmx.extract.finetune.pairs import _held_out
from mmx.extract.finetune.trainable import choose_parameters, open_trainable
from mmx.sample.catalogue import write_sample
from tests.catalogue import write_items

QUICK = {"epochs": 3, "batch_size": 16, "chunk": 8, "lr": 1e-3}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("drawn") / "data"
    write_sample(directory, items=40, users=20, seed=3)
    return directory


@pytest.fixture
def data(drawn: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return shutil.copytree(drawn, tmp_path / "data")


def run(
    data: Path, out: Path, progress: Callable[[FinetuneProgress], None] = lambda p: None,
    **options: object,
) -> None:  # fmt: skip
    chosen = FinetuneOptions(**{**QUICK, **options})  # type: ignore[arg-type]
    items: Items = load_items(data)
    encoder = open_encoder("clip:mini")
    finetune(items, encoder, out, chosen, pixels=out.parent / "pixels", progress=progress)


class KilledError(Exception):
    """In place of a kill."""


def killed(data: Path, out: Path) -> None:
    """Killed while epoch 3 runs."""

    def kill(state: FinetuneProgress) -> None:
        if state.epoch == 2:
            raise KilledError

    with pytest.raises(KilledError):
        run(data, out, kill)


def epochs_that_follow(data: Path, out: Path) -> list[int]:
    epochs: list[int] = []
    run(data, out, lambda state: epochs.append(state.epoch))
    return epochs


def test_the_same_contents_go_on(data: Path, tmp_path: Path) -> None:
    killed(data, tmp_path / "run")
    assert epochs_that_follow(data, tmp_path / "run") == [3]


def test_a_changed_picture_starts_over(data: Path, tmp_path: Path) -> None:
    """The table is the same: only the bytes in a file are not."""
    killed(data, tmp_path / "run")
    picture = sorted((data / "images").iterdir())[0]
    with Image.open(picture) as old:
        Image.new("RGB", old.size, (255, 0, 0)).save(picture)
    assert epochs_that_follow(data, tmp_path / "run") == [1, 2, 3]


def test_a_garbage_checkpoint_names_the_file(data: Path, tmp_path: Path) -> None:
    killed(data, tmp_path / "run")
    (kept,) = tmp_path.glob(".run.*.unfinished/checkpoint.pt")
    kept.write_bytes(b"garbage")
    with pytest.raises(RunError, match=r"checkpoint\.pt is damaged; delete the folder .* over$"):
        run(data, tmp_path / "run")
    torch.save({"model": {}, "optimiser": 3}, kept)  # a sound file of something else
    with pytest.raises(RunError, match=r"checkpoint\.pt is damaged; delete the folder .* over$"):
        run(data, tmp_path / "run")


def test_weights_of_the_best_epoch_that_are_gone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(data, tmp_path / "run")
    (kept,) = tmp_path.glob(".run.*.unfinished/best.safetensors")
    kept.unlink()

    def worse(objective: object) -> dict[str, float]:
        return {"valid_loss": 1e9, "valid_recall@10": 0.0}

    monkeypatch.setattr(loop, "validate", worse)
    with pytest.raises(RunError, match=r"best\.safetensors is damaged; delete the folder"):
        run(data, tmp_path / "run")


def test_a_loss_that_is_not_finite_ends_the_run(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^the (validation )?loss is (nan|inf) in epoch 1; lower"):
        run(drawn, tmp_path / "run", lr=1e30)
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob("*.unfinished/*"))


def test_a_validation_that_is_not_finite_ends_the_run(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "validate", lambda objective: {"valid_loss": float("nan")})
    with pytest.raises(RunError, match="the validation loss is nan in epoch 1; lower --lr"):
        run(drawn, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob(".run.*.unfinished/*"))


@pytest.mark.parametrize("shared", ["image", "text"])
def test_pairs_that_all_share_a_side_are_refused(tmp_path: Path, shared: str) -> None:
    (tmp_path / "data").mkdir()
    rows = []
    for n in range(12):
        Image.new("RGB", (24, 24), (20 * n, 255 - 20 * n, 9)).save(tmp_path / f"data/{n}.png")
        row = {"item_id": f"i{n}", "image": f"{n}.png", "text": f"word {n}"}
        rows.append(row | ({"image": "0.png"} if shared == "image" else {"text": "one"}))
    write_items(tmp_path / "data", rows)
    one, many = ("1 different pictures", "12 different texts")
    if shared == "text":
        one, many = "12 different pictures", "1 different texts"
    with pytest.raises(DataError, match=f"12 items with picture and text have {one} and {many}"):
        run(tmp_path / "data", tmp_path / "run")


@pytest.mark.parametrize("components", [2, 3, 4, 5, 19, 40])
def test_neither_side_is_left_alone(components: int) -> None:
    """A single held-out pair has loss 0 in every epoch, whatever is learned."""
    groups = np.stack([np.arange(components)] * 2, 1)
    held = _held_out(groups, 0.1, 0)
    least = 2 if components >= 4 else 1
    assert held.sum() == max(least, round(0.1 * components))
    assert (~held).sum() >= least


def test_more_blocks_than_there_are() -> None:
    trainable = open_trainable(open_encoder("clip:mini"))
    deepest = max(len(tower) for tower in trainable.blocks)
    choose_parameters(trainable, f"last:{deepest}")
    with pytest.raises(OptionError, match=f"--tune last:99: clip:mini.* has {deepest} blocks"):
        choose_parameters(trainable, "last:99")


def test_a_shorter_tower_trains_whole() -> None:
    trainable = open_trainable(open_encoder("clip:mini"))
    trainable.blocks[1] = trainable.blocks[1][:1]
    choose_parameters(trainable, f"last:{len(trainable.blocks[0])}")
    for tower in trainable.blocks:
        assert all(p.requires_grad for block in tower for p in block.parameters())
