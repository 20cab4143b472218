"""Fine-tuning a VLMo: all four objectives, checkpointed blocks, and the weights that come out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mmx.data.dataset import Items, load_items
from mmx.errors import OptionError, RunError
from mmx.extract.encoders import open_encoder
from mmx.extract.encoders.vlmo import VLMoEncoder
from mmx.extract.finetune import FinetuneOptions, finetune
from mmx.sample.catalogue import write_sample
from tests.extract.tiny_checkpoint import VOCABULARY, weights
from tests.extract.tiny_vlmo import HEADS, RELPOS

ALL = ("itc", "itm", "mlm", "co-interaction")
RELATIVE = replace(RELPOS, max_text_len=40, table_text_len=196, drop_path=0.1)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Items:
    directory = tmp_path_factory.mktemp("sample")
    write_sample(directory, items=40, users=30, seed=3)
    return load_items(directory)


def opened(folder: Path, path: Path) -> VLMoEncoder:
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    encoder = open_encoder("vlmo", weights=path, tokenizer=folder / "vocab.txt")
    assert isinstance(encoder, VLMoEncoder)
    return encoder


def run(items: Items, folder: Path, out: str, **options: object) -> dict[str, torch.Tensor]:
    path = weights(folder, RELATIVE, HEADS)
    chosen = FinetuneOptions(**{"epochs": 1, "batch_size": 12, "chunk": 6, "lr": 1e-3, **options})  # type: ignore[arg-type]
    finetune(items, opened(folder, path), folder / out, chosen, pixels=folder / "pixels")
    return load_file(folder / out / "model.safetensors")


def test_all_objectives_train_and_the_weights_open_again(items: Items, tmp_path: Path) -> None:
    tuned = run(items, tmp_path, "run", objectives=ALL)
    before = torch.load(tmp_path / "tiny.pt", weights_only=True)
    still = {name for name in before if torch.equal(tuned[name], before[name])}
    # nothing of the four losses goes through the heads of the other pair of projections
    assert still == {
        "itc_vl_image_proj.fc.weight", "itc_vl_text_proj.fc.weight", "logit_vl_scale"
    }  # fmt: skip
    again = opened(tmp_path, tmp_path / "run")  # a run directory, as --weights takes it
    assert again.card.weights == "model.safetensors"


def test_checkpointed_blocks_end_in_the_same_weights(items: Items, tmp_path: Path) -> None:
    plain = run(items, tmp_path, "plain", objectives=("itc", "mlm"))
    again = run(items, tmp_path, "again", objectives=("itc", "mlm"), checkpointing=True)
    start = torch.load(tmp_path / "tiny.pt", weights_only=True)
    for name, value in plain.items():
        step = (value - start[name]).norm()
        assert (value - again[name]).norm() <= 0.02 * step + 1e-6, name


@pytest.mark.parametrize("objective", ["itm", "mlm"])
def test_a_loss_that_is_not_finite_ends_the_run(
    objective: str, items: Items, tmp_path: Path
) -> None:
    """Also where negatives are drawn by similarities that are NaN."""
    with pytest.raises(RunError, match=r"^the loss is nan in epoch 1; lower --lr$"):
        run(items, tmp_path, "run", objectives=(objective,), lr=1e30)
    assert not (tmp_path / "run").exists()


def test_matching_is_vlmos_alone(items: Items, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="itm and mlm are VLMo's"):
        finetune(items, open_encoder("clip:mini"), tmp_path / "run",
                 FinetuneOptions(objectives=("itm",), epochs=1), pixels=tmp_path / "p")  # fmt: skip
