"""Opening weights files: every published nesting and head set, and nothing else."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from mmx.errors import EncoderError, MmxError, OptionError
from mmx.extract.vlmo import ARCHITECTURES, VLMo, VLMoConfig, load
from mmx.extract.vlmo.checkpoint import _File
from mmx.extract.vlmo.positions import relative_index, resize_positions, resize_table
from tests.extract.tiny_vlmo import ABSPOS, HEADS, RELPOS, inputs, tiny
from tests.shared import shared

STANDARD = replace(RELPOS, table_text_len=196)  # what a file without index keys is taken for


def published(config: VLMoConfig, heads: tuple[str, ...] = HEADS) -> dict[str, Any]:
    """The state of a tiny model as the official class saves it, with its unused keys."""
    state: dict[str, Any] = dict(tiny(config, heads).state_dict())
    length = config.max_text_len
    state["text_embeddings.position_ids"] = torch.arange(length)[None]
    if config.family == "relpos":
        state["text_embeddings.position_embeddings.weight"] = torch.randn(length, config.width)
    return state


def with_indices(state: dict[str, Any], config: VLMoConfig) -> dict[str, Any]:
    """The three keys that some files have; the fused one is float in the official class."""
    index = torch.from_numpy(
        relative_index(config.grid, config.max_text_len, config.table_text_len)
    )
    N = config.image_tokens
    return {
        "relative_position_index": index[:N, :N],
        "text_relative_position_index": index[N:, N:],
        "text_imag_relative_position_index": index.roll((-N, -N), (0, 1)).float(),
        **state,
    }


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def same(model: VLMo, config: VLMoConfig, atol: float = 2e-6) -> None:
    """The model gives the tiny one's image embedding, text embedding and fused output."""
    wanted, (pixels, ids, mask) = tiny(config), inputs(config)
    with torch.inference_mode():
        for one in ("encode_image", "encode_text", "encode_fused"):
            args = {"encode_image": (pixels,), "encode_text": (ids, mask)}
            ours = getattr(model, one)(*args.get(one, (pixels, ids, mask)))
            theirs = getattr(wanted, one)(*args.get(one, (pixels, ids, mask)))
            torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


NESTINGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "flat": lambda s: s,
    "lightning": lambda s: {"epoch": 3, "state_dict": s, "hyper_parameters": {"config": {"a": 1}}},
    "deepspeed": lambda s: {"module": {f"module.{k}": v for k, v in s.items()}, "steps": 7},
    "model": lambda s: {"model": s, "optimizer": None},
}


@pytest.mark.parametrize("nesting", NESTINGS)
@pytest.mark.parametrize("indices", [True, False])
def test_relpos_files_tell_all_their_sizes(tmp_path: Path, nesting: str, indices: bool) -> None:
    config = RELPOS if indices else STANDARD
    state = published(config)
    state = with_indices(state, config) if indices else state
    model = load(saved(tmp_path / "a.pt", NESTINGS[nesting](state)))
    wanted = {"hidden": 4 * config.width, "max_text_len": 40 if not indices else 9}
    assert model.heads == HEADS
    assert replace(model.config, **wanted, answers=5) == replace(config, **wanted)
    assert not model.training
    same(model, config)


@pytest.mark.parametrize("nesting", NESTINGS)
def test_abspos_files_need_only_the_number_of_heads(tmp_path: Path, nesting: str) -> None:
    path = saved(tmp_path / "a.pt", NESTINGS[nesting](published(ABSPOS)))
    same(load(path, heads=3), ABSPOS)
    same(load(path, VLMoConfig(12, 3, 3, 1, 32)), ABSPOS)  # the family is not said and not needed
    with pytest.raises(EncoderError, match=r"width 12 .* number of attention heads; pass load"):
        load(path)


def test_safetensors_and_float16(tmp_path: Path) -> None:
    state = published(STANDARD)
    save_file(state, tmp_path / "a.safetensors")
    same(load(tmp_path / "a.safetensors"), STANDARD)
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    model = load(saved(tmp_path / "half.pt", half))
    assert model.dtype == torch.float32
    same(model, STANDARD, atol=5e-3)


def test_float16_index_keys_are_not_trusted(tmp_path: Path) -> None:
    """A fused index above 2048 cannot be said in float16."""
    state = with_indices(published(STANDARD), STANDARD)
    state["text_imag_relative_position_index"] = torch.zeros(3, 3).half()
    same(load(saved(tmp_path / "a.pt", state)), STANDARD)


def test_a_saved_model_loads_again(tmp_path: Path) -> None:
    model = load(saved(tmp_path / "a.pt", published(ABSPOS)), heads=3)
    same(load(saved(tmp_path / "b.pt", model.state_dict()), heads=3), ABSPOS)


@pytest.mark.parametrize("config", [STANDARD, ABSPOS], ids=["relpos", "abspos"])
def test_another_image_size_resamples_the_positions(tmp_path: Path, config: VLMoConfig) -> None:
    path = saved(tmp_path / "a.pt", published(config))
    larger = load(path, heads=config.heads, image_size=80)
    original = tiny(config)
    if config.family == "relpos":
        wanted = resize_table(original.relative_position_bias_table.detach(), 3, 5)
        assert (larger.relative_position_bias_table == wanted).all()
    else:
        wanted = resize_positions(original.transformer.pos_embed.detach(), 2, 5)
        assert (larger.transformer.pos_embed == wanted).all()
    with torch.inference_mode():
        assert larger.encode_image(torch.zeros(1, 3, 80, 80)).shape == (1, config.width)
    with pytest.raises(OptionError, match=r"pixels of shape .* expected \(B, 3, 80, 80\)"):
        larger.encode_image(torch.zeros(1, 3, 48, 48))
    by_config = load(path, replace(config, image_size=80))
    assert by_config.config.image_size == 80
    with pytest.raises(OptionError, match="image size 50 px is not a multiple of the patch size"):
        load(path, heads=config.heads, image_size=50)


def test_a_config_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", published(STANDARD))
    for change in ({"depth": 4}, {"heads": 4}, {"vlffn_start": 1}, {"width": 16}):
        name, value = next(iter(change.items()))
        with pytest.raises(EncoderError, match=f"{name} .*the config says {value}"):
            load(path, replace(STANDARD, **change))


def test_text_only_files_keep_the_first_40_positions(tmp_path: Path) -> None:
    """Stage 2 of the authors: 196 positions, no VL experts, no ITC."""
    config = replace(ABSPOS, vlffn_start=3, max_text_len=196)
    state = published(config, ("pooler", "mlm"))
    model = load(saved(tmp_path / "a.pt", state), heads=3)
    assert (model.config.max_text_len, model.config.vlffn_start) == (40, 3)
    kept = model.text_embeddings.position_embeddings.weight
    assert (kept == state["text_embeddings.position_embeddings.weight"][:40]).all()
    assert load(tmp_path / "a.pt", replace(ABSPOS, vlffn_start=1)).config.vlffn_start == 3
    ids = torch.ones(1, 4, dtype=torch.long)
    for run in (
        lambda: model.encode_image(torch.zeros(1, 3, 32, 32)),
        lambda: model.encode_text(ids, ids),
        lambda: model.encode_fused(torch.zeros(1, 3, 32, 32), ids, ids),
        lambda: model.fused_features(torch.zeros(1, 3, 32, 32), ids, ids),
        lambda: model.text_features(ids, ids, ("vl",)),
    ):
        with pytest.raises(EncoderError, match=r"a\.pt has no .*; its heads: pooler, mlm; use"):
            run()


@pytest.mark.parametrize("heads", [("pooler", "vqa"), ("pooler", "nlvr2"), ("pooler", "itc")])
def test_an_absent_head_is_named(tmp_path: Path, heads: tuple[str, ...]) -> None:
    config = replace(STANDARD, token_types=3 if "nlvr2" in heads else 2)
    model = load(saved(tmp_path / "a.pt", published(config, heads)))
    pixels, ids, mask = inputs(config)
    passes = {
        "itc": lambda: model.encode_image(pixels),
        "vl": lambda: model.encode_text(ids, mask, "vl"),
        "itm": lambda: model.itm_logits(torch.zeros(1, 8)),
        "mlm": lambda: model.mlm_logits(torch.zeros(1, 1, 8)),
        "vqa": lambda: model.vqa_logits(torch.zeros(1, 8)),
        "nlvr2": lambda: model.nlvr2_logits(torch.zeros(1, 8), torch.zeros(1, 8)),
    }
    for head in set(passes) - set(heads):
        with pytest.raises(EncoderError, match=f"has no .*; its heads: {', '.join(heads)}; use"):
            passes[head]()
    for head in set(passes) & set(heads):
        assert passes[head]() is not None
    assert model.config.answers == 5 or "vqa" not in heads


def test_half_a_head_is_no_head(tmp_path: Path) -> None:
    state = published(STANDARD)
    del state["itc_text_proj.fc.weight"]
    assert load(saved(tmp_path / "a.pt", state)).heads == ("pooler", "vl", "itm", "mlm")
    del state["mlm_score.decoder.weight"]
    with pytest.raises(EncoderError, match=r"lacks mlm_score\.decoder\.weight"):
        load(saved(tmp_path / "b.pt", state))


class Malicious:
    """Pickled, it wants to run a command when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("how", ["torch", "plain", "nested"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, how: str) -> None:
    path, proof = tmp_path / "evil.pt", tmp_path / "proof"
    state = published(STANDARD)
    content = {"state_dict": state, "callback": Malicious(proof)} if how == "nested" else None
    content = content or (state | {"x": Malicious(proof)})
    if how == "plain":
        path.write_bytes(pickle.dumps(Malicious(proof), protocol=2))
    else:
        torch.save(content, path)
    with pytest.raises(EncoderError, match=r"evil\.pt holds Python objects .*system") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert not proof.exists()


def broken(kind: str, path: Path) -> Path:
    whole = saved(path, published(STANDARD)).read_bytes()
    content = {
        "empty": b"",
        "one byte": b"P",
        "half": whole[: len(whole) // 2],
        "last byte lost": whole[:-1],
        "jpeg": b"\xff\xd8\xff\xe0" + bytes(range(256)) * 9,
        "html": b"<!DOCTYPE html><html>Not found</html>",
        "middle lost": whole[:2000] + whole[9000:],
    }
    path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize(
    "kind", ["empty", "one byte", "half", "last byte lost", "jpeg", "html", "middle lost"]
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_broken_file_is_one_clear_line(tmp_path: Path, kind: str, suffix: str) -> None:
    path = broken(kind, tmp_path / f"weights{suffix}")
    with pytest.raises(EncoderError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG: dict[str, Any] = {
    "a list": [torch.zeros(3)],
    "a tensor": torch.zeros(3),
    "no tensors": {"epoch": 3, "args": {"lr": 0.1}},
    "another model": {"conv1.weight": torch.zeros(3, 3), "fc.weight": torch.zeros(2, 2)},
    "an image transformer": {
        "transformer.cls_token": torch.zeros(1, 1, 8),
        "transformer.patch_embed.proj.weight": torch.zeros(8, 3, 16, 16),
    },
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, what: str) -> None:
    with pytest.raises(EncoderError, match=r"a\.pt (holds|is not a VLMo)") as caught:
        load(saved(tmp_path / "a.pt", WRONG[what]))
    assert "\n" not in str(caught.value)


def test_missing_foreign_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    def change(**values: Any) -> Path:
        state = published(STANDARD) | values
        return saved(tmp_path / "a.pt", {k: v for k, v in state.items() if v is not None})

    with pytest.raises(EncoderError, match=r"lacks transformer\.norm\.weight"):
        load(change(**{"transformer.norm.weight": None}))
    with pytest.raises(EncoderError, match=r"has transformer\.extra, which no VLMo has"):
        load(change(**{"transformer.extra": torch.zeros(2)}))
    with pytest.raises(EncoderError, match=r"transformer\.norm\.bias is \(3,\), expected \(8,\)"):
        load(change(**{"transformer.norm.bias": torch.zeros(3)}))
    with pytest.raises(EncoderError, match="relative positions are not a square"):
        load(change(relative_position_bias_table=torch.zeros(400, 6)))
    with pytest.raises(EncoderError, match="7 columns"):
        load(change(relative_position_bias_table=torch.zeros(422, 7)))
    load(change(**{"rank_output.weight": torch.zeros(2)}))  # a head mmx does not know is left out


def test_an_absent_file_or_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.pt"):
        with pytest.raises(MmxError, match="is not a file; set --weights"):
            load(path)


def test_sizes_of_all_published_files() -> None:
    """From the key lists of the official class at real size; shapes only, no weights."""
    entries = json.loads(shared("vlmo/official_keys.json").read_text())
    assert len(entries) == 14
    for name, entry in entries.items():
        state = {
            key: torch.empty(shape, dtype=getattr(torch, kind[6:]), device="meta")
            for key, (*shape, kind) in entry["keys"].items()
        }
        file = _File(name, state)
        found = file.config(None, None)
        arch = entry["arch"].removeprefix("vlmo_").removesuffix("_patch16")
        known = ARCHITECTURES["large" if arch.startswith("vit_large") else arch]
        sizes = ("width", "depth", "heads", "family", "layer_scale", "table_text_len")
        assert [getattr(found, s) for s in sizes] == [getattr(known, s) for s in sizes], name
        assert (found.image_size, found.vlffn_start) == (entry["image_size"], entry["vlffn_start"])
        with torch.device("meta"):
            model = VLMo(found, file.heads())
        positions = "text_embeddings.position_embeddings.weight"
        if found.family == "abspos":  # 196 of them in text-only files
            state[positions] = state[positions][:40]
        there = {key: tuple(v.shape) for key, v in state.items()}
        assert {k: there[k] for k in model.state_dict()} == {
            k: tuple(v.shape) for k, v in model.state_dict().items()
        }
        unused = set(there) - set(model.state_dict())
        assert all("index" in k or "text_embeddings.position" in k for k in unused), name
