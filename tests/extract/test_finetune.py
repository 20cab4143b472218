"""Fine-tuning: losses against loops, what trains and what stays, kill and resume."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from mmx.data.dataset import Items, load_items
from mmx.errors import DataError, OptionError, RunError, TargetError
from mmx.extract.encoders import open_encoder
from mmx.extract.finetune import FinetuneOptions, FinetuneProgress, finetune
from mmx.extract.finetune.losses import itc
from mmx.extract.finetune.partners import Partners
from mmx.extract.finetune.trainable import choose_parameters, merged_state, open_trainable
from mmx.sample.catalogue import write_sample
from tests.catalogue import write_items

QUICK = {"epochs": 2, "batch_size": 16, "chunk": 8, "lr": 1e-3}


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Items:
    directory = tmp_path_factory.mktemp("sample")
    write_sample(directory, items=60, users=20, seed=3)
    return load_items(directory)


def run(items: Items, out: Path, progress=lambda p: None, overwrite=False, **options):  # type: ignore[no-untyped-def]
    chosen = FinetuneOptions(**{**QUICK, **options})
    encoder = open_encoder("clip:mini")
    return finetune(
        items, encoder, out, chosen, overwrite=overwrite, pixels=items.directory.parent / "pixels",
        progress=progress,
    )  # fmt: skip


def slow_itc(images, texts, scale, alike):  # type: ignore[no-untyped-def]
    total = 0.0
    for left, right in ((images, texts), (texts, images)):
        for b in range(len(left)):
            others = [n for n in range(len(left)) if n == b or not alike[b][n]]
            logits = [scale * float(left[b] @ right[n]) for n in others]
            total += math.log(sum(math.exp(x) for x in logits)) - scale * float(left[b] @ right[b])
    return total / (2 * len(images))


def test_itc_equals_loops_and_masks_false_negatives() -> None:
    generator = torch.Generator().manual_seed(0)
    images, texts = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    alike = torch.eye(6, dtype=torch.bool)
    alike[1, 4] = alike[4, 1] = True
    for mask in (torch.eye(6, dtype=torch.bool), alike):
        loss = itc(images, texts, torch.tensor(3.0), mask).item()
        assert loss == pytest.approx(slow_itc(images, texts, 3.0, mask), abs=1e-12)


def before() -> dict[str, torch.Tensor]:
    return merged_state(open_trainable(open_encoder("clip:mini")).model)


def changed(out: Path) -> set[str]:
    after = load_file(out / "model.safetensors")
    old = before()
    assert set(after) == set(old)
    return {name for name, value in after.items() if not torch.equal(value, old[name])}


def test_full_changes_everything_that_is_used(items: Items, tmp_path: Path) -> None:
    states: list[FinetuneProgress] = []
    report = run(items, tmp_path / "run", states.append)
    moved = changed(tmp_path / "run")
    assert {"visual.conv1.weight", "logit_scale"} <= moved
    assert [p.epoch for p in states] == [1, 2]
    assert report.valid_pairs >= 1
    assert report.truncated_share == 0.0


def test_projection_and_last_leave_the_rest_bit_for_bit(items: Items, tmp_path: Path) -> None:
    run(items, tmp_path / "p", tune="projection")
    assert all("blocks" not in name and "conv1" not in name for name in changed(tmp_path / "p"))
    run(items, tmp_path / "l", tune="last:1")
    blocks = {name for name in changed(tmp_path / "l") if "resblocks" in name}
    numbers = {name.split("resblocks.")[1].split(".")[0] for name in blocks}
    assert blocks
    assert "0" not in numbers


def test_lora_leaves_the_frozen_weights_bit_for_bit() -> None:
    trainable = open_trainable(open_encoder("clip:mini"))
    old = {name: p.clone() for name, p in trainable.model.state_dict().items()}
    parameters = choose_parameters(trainable, "lora")
    assert any("lora_" in name for name in parameters)
    for name, parameter in parameters.items():
        if "lora_" in name:
            parameter.data.add_(0.1)
    state = trainable.model.state_dict()
    for name, value in old.items():
        kept = state.get(name)
        if kept is None:  # moved below its adapter
            owner, _, leaf = name.rpartition(".")
            kept = state[f"{owner}.base_layer.{leaf}"]
        assert torch.equal(kept, value), name
    merged = merged_state(trainable.model)
    assert set(merged) == set(old)
    assert sum(not torch.equal(merged[name], old[name]) for name in old) >= 2


def test_merged_adapters_encode_as_the_adapted_model_does(items: Items, tmp_path: Path) -> None:
    run(items, tmp_path / "run", tune="lora")
    tuned = open_encoder("clip:mini", weights=tmp_path / "run")
    plain = open_encoder("clip:mini")
    batch = plain.tokenize(["red mug", "blue chair"])
    assert tuned.card.parameters_sha256 != plain.card.parameters_sha256
    assert np.abs(tuned.encode_text(batch) - plain.encode_text(batch)).max() > 1e-4


class KilledError(Exception):
    """In place of a kill."""


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_a_killed_run_ends_in_the_same_weights(items: Items, tmp_path: Path, tune: str) -> None:
    run(items, tmp_path / "whole", tune=tune, epochs=3)

    def kill(state: FinetuneProgress) -> None:
        if state.epoch == 2:
            raise KilledError

    with pytest.raises(KilledError):
        run(items, tmp_path / "killed", kill, tune=tune, epochs=3)
    epochs: list[int] = []
    run(items, tmp_path / "killed", lambda p: epochs.append(p.epoch), tune=tune, epochs=3)
    assert epochs == [3]
    whole, resumed = (load_file(tmp_path / n / "model.safetensors") for n in ("whole", "killed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed", "whole"]


@pytest.mark.parametrize("name", ["checkpoint.pt", "best.safetensors"])
def test_a_flipped_bit_in_what_was_kept_is_noticed(items: Items, tmp_path: Path, name: str) -> None:
    def kill(state: FinetuneProgress) -> None:
        if state.epoch == 2:
            raise KilledError

    with pytest.raises(KilledError):
        run(items, tmp_path / "run", kill, epochs=3)
    (kept,) = tmp_path.glob(f".run.*.unfinished/{name}")
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 64
    kept.write_bytes(content)
    if name == "checkpoint.pt":
        with pytest.raises(RunError, match=r"checkpoint.pt is damaged; delete the folder"):
            run(items, tmp_path / "run", epochs=3)
    else:  # of the best epoch so far: it counts unless a better one comes
        with suppress(RunError):
            run(items, tmp_path / "run", epochs=3)
        written = tmp_path / "run" / "model.safetensors"
        assert not written.exists() or written.read_bytes() != bytes(content)


def test_a_finished_run_stays_until_another_one_is_done(items: Items, tmp_path: Path) -> None:
    run(items, tmp_path / "run", epochs=1)
    before = contents(tmp_path / "run")
    with pytest.raises(TargetError, match="exists; set --out elsewhere, or --overwrite"):
        run(items, tmp_path / "run", epochs=1, lr=3e-4)
    for wrong in ({"tune": "last:x"}, {"objectives": ("itm",)}):
        with pytest.raises(OptionError):
            run(items, tmp_path / "run", overwrite=True, **wrong)
    lone = load_items(write_items(tmp_path / "lone", [{"item_id": "a", "text": "x"}]))
    with pytest.raises(DataError):
        run(lone, tmp_path / "run", overwrite=True)
    assert contents(tmp_path / "run") == before
    run(items, tmp_path / "run", overwrite=True, epochs=1, lr=3e-4)
    assert contents(tmp_path / "run") != before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lone", "pixels", "run"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_nothing_but_a_run_is_replaced(items: Items, tmp_path: Path) -> None:
    run(items, tmp_path / "run", epochs=1)
    (tmp_path / "run" / "notes.txt").write_text("dear to me")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(b"dear to me")
    for name in ("run", "photos"):
        before = contents(tmp_path / name)
        with pytest.raises(TargetError, match="is not a run of `mmx finetune`, or holds other"):
            run(items, tmp_path / name, overwrite=True, epochs=1)
        assert contents(tmp_path / name) == before


def test_what_cannot_be_tuned_says_so(items: Items, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot be fine-tuned"):
        open_trainable(open_encoder("toy"))
    with pytest.raises(OptionError, match="known: full, lora"):
        run(items, tmp_path / "run", tune="some")
    with pytest.raises(OptionError, match="VLMo's"):
        run(items, tmp_path / "run", objectives=("itc", "itm"))
    lone = load_items(write_items(tmp_path / "lone", [{"item_id": "a", "text": "x"}]))
    with pytest.raises(DataError, match="0 items with picture and text"):
        run(lone, tmp_path / "other")


def test_partners_come_from_the_training_split_only(tmp_path: Path) -> None:
    items = load_items(write_items(tmp_path, [{"item_id": f"i{n}"} for n in range(5)]))
    split = pa.table(
        {
            "user_id": ["u", "u", "u", "v", "v"],
            "item_id": ["i0", "i1", "i2", "i2", "i3"],
            "split": ["train", "train", "test", "train", "train"],
        }
    )
    partners = Partners(items, split)
    generator = torch.Generator().manual_seed(0)
    drawn = [set() for _ in range(5)]  # type: ignore[var-annotated]
    for _ in range(60):
        for row, other in enumerate(partners.draw(torch.arange(5), generator).tolist()):
            drawn[row].add(other)
    assert drawn == [{0, 1}, {0, 1}, {2, 3}, {2, 3}, {4}]
