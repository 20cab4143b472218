"""Opening weights files: every published nesting, head set and size."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from mmx.errors import EncoderError, OptionError
from mmx.extract.vlmo import ARCHITECTURES, VLMo, VLMoConfig, load
from mmx.extract.vlmo.checkpoint import _File
from mmx.extract.vlmo.positions import relative_index, resize_positions, resize_table
from tests.extract.tiny_checkpoint import STANDARD, published, saved
from tests.extract.tiny_vlmo import ABSPOS, HEADS, RELPOS, inputs, tiny
from tests.shared import shared


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
