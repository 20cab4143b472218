"""On a GPU the numbers are those that the CPU's are: what may not be rounded is not."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F

from mmx.devices import sent
from mmx.extract.encoders import open_encoder
from mmx.extract.encoders.hardware import Hardware
from mmx.extract.encoders.vlmo import VLMoEncoder, open_vlmo
from mmx.extract.finetune.keeper import Keeper, State
from mmx.extract.finetune.objective import Objective
from mmx.extract.finetune.pairs import PairBatch
from mmx.extract.vlmo import VLMo
from mmx.extract.vlmo.losses import hard_negatives, mask_tokens
from mmx.extract.vlmo.transformer import TransformerBlock
from mmx.recommend.blocks import knn
from mmx.recommend.blocks.content import Halved
from mmx.recommend.blocks.graph import csr_product
from mmx.torch_files import load_checked, save_checked
from tests.devices.fake_cuda import FakeCuda
from tests.extract.tiny_checkpoint import VOCABULARY, weights
from tests.extract.tiny_vlmo import RELPOS
from tests.recommend.toy import toy_model

TEXTS = ["a red bag", "blue"]


def opened(folder: Path) -> VLMoEncoder:
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return open_vlmo("vlmo", weights(folder), tokenizer=folder / "vocab.txt", device="cuda")


def test_a_model_made_in_inference_mode_never_uses_stale_biases(tmp_path: Path) -> None:
    """Torch does not count how often such a table changes."""
    with FakeCuda(), torch.inference_mode():
        encoder = opened(tmp_path)
        first = encoder.encode_text(encoder.tokenize(TEXTS))
        encoder.model.relative_position_bias_table.mul_(0.5)
        assert abs(encoder.encode_text(encoder.tokenize(TEXTS)) - first).max() > 1e-4


def test_biases_are_gathered_before_the_passes_and_no_pass_waits_for_them(tmp_path: Path) -> None:
    """Passes run on streams of their own: none may read what another has yet to gather."""
    with FakeCuda() as gpu:
        encoder = opened(tmp_path)
        kept = encoder.model.relative_bias.kept
        assert kept is not None
        assert kept[1].is_cuda
        gpu.waits.clear()
        first = encoder.encode_text(encoder.tokenize(TEXTS))
        assert encoder.model.relative_bias.kept is kept
        assert [line.partition(" at ")[0] for line in gpu.waits] == ["a copy to cpu"]
        lower = encoder.in_precision("bfloat16").model
        assert lower.relative_bias.kept is not None
        assert lower.relative_bias.kept[1].dtype == torch.bfloat16
        table = encoder.model.relative_position_bias_table
        assert table is not None
        with torch.no_grad():
            table.mul_(0.5)
        changed = encoder.encode_text(encoder.tokenize(TEXTS))
        assert encoder.model.relative_bias.kept is kept  # other lanes may be reading it
        assert abs(changed - first).max() > 1e-4
        encoder.model.keep_biases()
        assert (encoder.encode_text(encoder.tokenize(TEXTS)) == changed).all()
        table.requires_grad_(True)
        table.data.mul_(2)  # past every counter, as some optimisers do
        assert abs(encoder.encode_text(encoder.tokenize(TEXTS)) - first).max() < 1e-6


def test_the_gathered_biases_are_there_before_other_streams_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    for owner, name in ((VLMo, "keep_biases"), (Hardware, "wait")):
        monkeypatch.setattr(owner, name, lambda self, name=name: seen.append(name))
    with FakeCuda():
        encoder = opened(tmp_path)
        assert seen[-2:] == ["keep_biases", "wait"]
        encoder.in_precision("bfloat16")
    assert seen[-2:] == ["keep_biases", "wait"]
    assert seen.count("keep_biases") == 2


def test_vlmo_s_heads_are_padded_for_the_fast_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """base_plus has heads of 34: cuDNN's, flash and memory-efficient attention take 40."""
    attention, widths = F.scaled_dot_product_attention, set()

    def watched(q: torch.Tensor, *others: Any, **named: Any) -> torch.Tensor:
        widths.add(q.shape[-1])
        return attention(q, *others, **named)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    pixels = torch.rand(2, 3, RELPOS.image_size, RELPOS.image_size)
    model = VLMo(RELPOS, ()).eval()
    with torch.no_grad():
        cpu = model.image_features(pixels)[0]
        assert widths == {RELPOS.width // RELPOS.heads} == {4}
        widths.clear()
        with FakeCuda():
            gpu = model.to("cuda").image_features(pixels.to("cuda"))[0].cpu()
    assert widths == {8}
    torch.testing.assert_close(gpu, cpu, rtol=0, atol=1e-6)


def test_float32_is_float32_in_convolutions() -> None:
    before = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = True
        with FakeCuda():
            open_encoder("clip:mini", device="cuda")
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before


def test_the_lower_precision_is_that_of_the_chosen_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {0: (9, 0), 1: (8, 0), 2: (7, 5), 3: (7, 0), 4: (6, 1)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: kinds[device.index])
    found = [Hardware(torch.device("cuda", n), torch.float32).fast_precision for n in kinds]
    assert found == ["bfloat16", "bfloat16", "float16", "float16", "float32"]


def test_a_sparse_product_is_in_float32_under_autocast() -> None:
    indptr, columns, values = torch.tensor([0, 2, 3]), torch.tensor([0, 1, 1]), torch.rand(3)
    x = torch.rand(2, 5)
    expected = csr_product(indptr, columns, values, x)
    with torch.autocast("cpu", torch.bfloat16):
        found = csr_product(indptr, columns, values, x)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_neighbours_are_those_of_float32_under_autocast() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(200, 16), dim=1)
    expected = knn.search_in_blocks(vectors, 10, 64)
    model = toy_model("lattice", "image", "text")
    exact = model._mine()[0]
    with torch.autocast("cpu", torch.bfloat16):
        found, mined = knn.search_in_blocks(vectors, 10, 64), model._mine()[0]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert torch.equal(mined.values, exact.values)
    assert torch.equal(mined.columns, exact.columns)


def test_of_a_halved_matrix_there_is_one_copy() -> None:
    halved, matrix = Halved(), torch.rand(4, 3)
    half = halved(matrix)
    assert halved(matrix) is half
    gone = weakref.ref(half), weakref.ref(matrix)
    matrix = matrix.detach().clone()
    del half
    assert gone[1]() is None  # it is not held for the comparison

    class Watched(torch.Tensor):
        def bfloat16(self) -> torch.Tensor:  # type: ignore[override]
            assert gone[0]() is None  # the copy before is gone when the next is made
            return torch.Tensor.bfloat16(self)

    assert torch.equal(halved(matrix.as_subclass(Watched)), matrix.bfloat16())


def test_a_checkpoint_of_a_gpu_is_read_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every process would load onto the first GPU, whichever is its own."""
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:1")
    save_checked({"x": torch.arange(3)}, tmp_path / "checkpoint.pt")
    monkeypatch.undo()
    assert load_checked(tmp_path / "checkpoint.pt")["x"].tolist() == [0, 1, 2]


def test_a_seed_draws_the_same_on_every_device() -> None:
    ids = torch.arange(1, 25).view(2, 12)

    def drawn() -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(3)
        where = {"device": "cuda"} if torch.cuda.is_available() else {}
        words = ids.to(**where) if where else ids
        negatives = hard_negatives(torch.eye(5, **where), generator)
        masked = mask_tokens(
            words, torch.ones_like(words), special=[1], mask_id=2, vocab_size=30,
            probability=0.5, generator=generator,
        )  # fmt: skip
        torch.manual_seed(4)
        block = TransformerBlock(replace(RELPOS, drop_path=0.5), 0).train()
        path = block._add(torch.zeros(6, 1, 1, **where), None, torch.ones(6, 1, 1, **where))
        assert len({x.device for x in (words, negatives, *masked, path)}) == 1
        return [x.cpu() for x in (negatives, *masked, path)]

    expected = drawn()
    with FakeCuda() as gpu:
        found = drawn()
        assert gpu.mixed == []
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_what_is_drawn_on_the_cpu_is_sent_without_waiting() -> None:
    block = TransformerBlock(replace(RELPOS, drop_path=0.5), 0).train()
    with FakeCuda() as gpu:
        similarity, rows = (torch.eye(5, device="cuda"), torch.ones(6, 1, 1, device="cuda"))
        hard_negatives(similarity, torch.Generator().manual_seed(3))
        block._add(torch.zeros_like(rows), None, rows)
        assert gpu.mixed == gpu.waits == []


def test_chunks_are_encoded_again_with_the_random_state_of_their_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows are numbered on the CPU; dropout draws on the GPU, the same both times."""
    states, restored = iter(range(18)), []
    with FakeCuda() as gpu, monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "_initialized", True)
        patch.setattr(torch.cuda, "get_rng_state", lambda *_: next(states))
        patch.setattr(torch.cuda, "set_rng_state", lambda state, *_: restored.append(state))
        weight = torch.ones(4, device="cuda", requires_grad=True)

        def encode(rows: torch.Tensor) -> torch.Tensor:
            return sent(rows.float(), weight.device)[:, None] * weight

        objective: Any = SimpleNamespace(
            options=SimpleNamespace(chunk=2), processes=SimpleNamespace(whole=lambda part, _: part),
            trainable=SimpleNamespace(hardware=Hardware(weight.device, torch.float32)),
            _share=torch.arange, _encoders=lambda batch: (encode, encode),
        )  # fmt: skip
        images, texts = Objective.embed(objective, PairBatch(mock.Mock(), torch.arange(6)))
        assert restored == []
        (images.sum() + texts.sum()).backward()
        assert gpu.mixed == []
        assert {0, 1, 2, 3, 4, 5} <= set(restored)


def test_a_checkpoint_has_the_random_state_of_its_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout draws there."""

    def keeper(device: str) -> Keeper:
        model = torch.nn.Linear(2, 2)
        optimiser = torch.optim.AdamW(model.parameters())
        schedule = torch.optim.lr_scheduler.ConstantLR(optimiser)
        trainable: Any = SimpleNamespace(
            model=model, hardware=Hardware(torch.device(device), torch.float32)
        )
        return Keeper(tmp_path / "run", {}, trainable, optimiser, schedule, torch.Generator())

    restored = []
    state = torch.arange(16, dtype=torch.uint8)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: state + device.index)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *given: restored.append(given))
    keeper("cuda:1").save(State(epoch=1))
    keeper("cpu").load(State())
    assert restored == []
    resumed = State()
    keeper("cuda:1").load(resumed)
    assert resumed.epoch == 1
    ((found, device),) = restored
    assert (found.tolist(), device) == ((state + 1).tolist(), torch.device("cuda:1"))
