"""What must not change a vector: padding, the other items of a batch, slices, caches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mmx.errors import EncoderError, OptionError
from mmx.extract.vlmo import SECOND_IMAGE, VLMo, VLMoConfig, batching
from mmx.extract.vlmo.batching import cropped, in_slices, slice_size
from tests.extract.tiny_vlmo import ABSPOS, HEADS, RELPOS, inputs, tiny

BOTH = pytest.mark.parametrize("config", [RELPOS, ABSPOS], ids=["relpos", "abspos"])
Tensors = dict[str, torch.Tensor]


def embeddings(model: VLMo, pixels, ids, mask) -> Tensors:
    return {
        "image": model.encode_image(pixels),
        "text": model.encode_text(ids, mask),
        "text vl": model.encode_text(ids, mask, "vl"),
        "fused": model.encode_fused(pixels, ids, mask),
    }


def close(ours: Tensors, theirs: Tensors, atol: float) -> None:
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=atol, msg=name)


@BOTH
def test_cropping_to_the_longest_text_changes_nothing(config: VLMoConfig) -> None:
    model, (pixels, ids, mask) = tiny(config), inputs(config)
    short = [x[1:] for x in (pixels, ids, mask)]  # 4 and 2 tokens in 6 columns
    with torch.inference_mode():
        whole = torch.cat(model.fused_features(*short), dim=1)
        cut = torch.cat(model.fused_features(short[0], short[1][:, :4], short[2][:, :4]), dim=1)
        text = model.text_features(short[1], short[2])[0]
        cut_text = model.text_features(short[1][:, :4], short[2][:, :4])[0]
    used = torch.cat([short[2].bool(), torch.ones(2, config.image_tokens).bool()], dim=1)
    cut_used = torch.cat([used[:, :4], used[:, 6:]], dim=1)
    torch.testing.assert_close(cut[cut_used], whole[used], rtol=0, atol=2e-6)
    valid = short[2][:, :4].bool()
    torch.testing.assert_close(cut_text[valid], text[:, :4][valid], rtol=0, atol=2e-6)


@BOTH
def test_the_rest_of_the_batch_changes_nothing(config: VLMoConfig) -> None:
    model, (pixels, ids, mask) = tiny(config), inputs(config)
    with torch.inference_mode():
        batch = embeddings(model, pixels, ids, mask)
        singles = [
            embeddings(model, pixels[i : i + 1], ids[i : i + 1], mask[i : i + 1]) for i in range(3)
        ]
        backwards = embeddings(model, pixels.flip(0), ids.flip(0), mask.flip(0))
    close(batch, {name: torch.cat([s[name] for s in singles]) for name in batch}, 2e-6)
    close(batch, {name: value.flip(0) for name, value in backwards.items()}, 2e-6)


def test_what_stands_at_padding_changes_nothing() -> None:
    for config in (RELPOS, ABSPOS):
        model, (pixels, ids, mask) = tiny(config), inputs(config)
        noise = torch.where(mask.bool(), ids, 7)
        with torch.inference_mode():
            before, after = (embeddings(model, pixels, x, mask) for x in (ids, noise))
        close(before, after, 0)


def test_masks_of_any_type_and_with_holes() -> None:
    model, (pixels, ids, mask) = tiny(ABSPOS), inputs(ABSPOS)
    mask[0, 2] = 0
    with torch.inference_mode():
        integers = embeddings(model, pixels, ids, mask)
        close(embeddings(model, pixels, ids, mask.bool()), integers, 0)
        close(embeddings(model, pixels, ids, mask.float()), integers, 0)
        filled = model.encode_text(ids, mask.index_fill(1, torch.tensor([2]), 1))
    assert (filled[0] - integers["text"][0]).abs().max() > 1e-4


@BOTH
def test_slices_equal_the_whole_batch(config: VLMoConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (pixels, ids, mask) = tiny(config), inputs(config)
    with torch.inference_mode():
        whole = embeddings(model, pixels, ids, mask)
        monkeypatch.setattr(batching, "SLICE_BYTES", 1)
        assert slice_size(config, 10) == 1
        close(embeddings(model, pixels, ids, mask), whole, 2e-6)


def test_slices_are_even_and_only_without_gradients() -> None:
    sizes: list[int] = []

    def seen(part: torch.Tensor) -> torch.Tensor:
        sizes.append(len(part))
        return part * 2

    batch = torch.arange(10.0)
    with torch.no_grad():
        assert (in_slices(seen, 4, batch) == batch * 2).all()
    assert sizes == [4, 3, 3]
    in_slices(seen, 4, batch)
    assert sizes[3:] == [10]


def test_no_activation_of_a_published_size_exceeds_the_slice() -> None:
    config = VLMoConfig(768, 12, 12, 10, 224)
    size = slice_size(config, 237)
    assert size * 237 * max(3072, 12 * 237) * 4 <= batching.SLICE_BYTES
    assert (size + 1) * 237 * max(3072, 12 * 237) * 4 > batching.SLICE_BYTES


def test_cropped_keeps_the_last_used_column_and_at_least_eight() -> None:
    ids, mask = torch.arange(24).view(2, 12), torch.zeros(2, 12)
    mask[:, 0] = mask[1, 9] = 1
    assert cropped(ids, mask, 40)[0].tolist() == ids[:, :10].tolist()
    assert cropped(ids, torch.ones(2, 12), 40)[0].shape == (2, 12)
    assert cropped(ids, mask[:1].expand(2, -1), 40)[1].tolist() == [[1] + 7 * [0]] * 2
    few = cropped(ids[:, :3], mask[:, :3], 40)
    assert (few[0][:, 3:].any(), few[1].sum(), few[0].shape) == (False, 2, (2, 8))
    assert cropped(ids[:, :3], mask[:, :3], 6)[0].shape == (2, 6)


def test_gathered_biases_follow_the_table() -> None:
    """They are kept between batches of any length, but not when the table changes."""
    model, (pixels, ids, mask) = tiny(RELPOS), inputs(RELPOS)
    table = model.relative_position_bias_table
    with torch.inference_mode():
        first = embeddings(model, pixels, ids, mask)
        kept = model.relative_bias.kept
        embeddings(model, pixels, ids, mask)
        assert model.relative_bias.kept is kept
        embeddings(model, pixels, ids[:, :3], mask[:, :3])
        close(embeddings(model, pixels, ids, mask), first, 0)
    table.data.mul_(0.5)  # past every version counter
    with torch.inference_mode():
        changed = embeddings(model, pixels, ids, mask)
    fresh = tiny(RELPOS)
    fresh.load_state_dict(model.state_dict())
    with torch.inference_mode():
        close(changed, embeddings(fresh, pixels, ids, mask), 0)
    assert (changed["image"] - first["image"]).abs().max() > 1e-3


def test_a_model_made_in_inference_mode_encodes() -> None:
    """Torch counts no changes of its weights, so there is no version to read."""
    batch = inputs(RELPOS)
    with torch.inference_mode():
        model = tiny(RELPOS)
        first = embeddings(model, *batch)
        close(first, embeddings(tiny(RELPOS), *batch), 0)
        model.relative_position_bias_table.mul_(0.5)
        changed = embeddings(model, *batch)
    assert (changed["image"] - first["image"]).abs().max() > 1e-3


@BOTH
def test_gradients_do_not_change_the_numbers(config: VLMoConfig) -> None:
    model, batch = tiny(config), inputs(config)
    with torch.inference_mode():
        without = embeddings(model, *batch)
    close({k: v.detach() for k, v in embeddings(model, *batch).items()}, without, 2e-6)


@BOTH
def test_bfloat16_points_the_same_way(config: VLMoConfig) -> None:
    model, batch = tiny(replace(config, depth=6, vlffn_start=4)), inputs(config)
    with torch.inference_mode():
        full = embeddings(model, *batch)
        half = embeddings(model.bfloat16(), *batch)
    for name, value in half.items():
        assert value.dtype == torch.float32
        assert torch.cosine_similarity(value, full[name]).min() > 0.999, name


def test_embeddings_have_length_one() -> None:
    model, (pixels, ids, mask) = tiny(RELPOS), inputs(RELPOS)
    with torch.inference_mode():
        for x in (model.encode_image(pixels), model.encode_text(ids, mask, "vl")):
            torch.testing.assert_close(x.norm(dim=1), torch.ones(3))


def test_the_second_image_of_nlvr2() -> None:
    config = replace(ABSPOS, token_types=3)
    model, (pixels, ids, mask) = tiny(config, ("pooler", "nlvr2")), inputs(config)
    with torch.inference_mode():
        first = model.encode_fused(pixels, ids, mask)
        second = model.encode_fused(pixels, ids, mask, SECOND_IMAGE)
        assert (first - second).abs().max() > 1e-3
        assert model.nlvr2_logits(first, second).shape == (3, 2)
        with pytest.raises(EncoderError, match="2 token types, none for a second image"):
            tiny(ABSPOS).encode_fused(pixels, ids, mask, SECOND_IMAGE)


def test_wrong_shapes_and_heads_are_refused() -> None:
    model, pixels = tiny(RELPOS), inputs(RELPOS)[0]
    with pytest.raises(OptionError, match=r"expected \(B, 3, 48, 48\); load the model with image"):
        model.encode_image(pixels[:, :, :32, :32])
    with pytest.raises(OptionError, match="7 tokens, the model takes 6"):
        model.text_features(torch.ones(1, 7, dtype=torch.long), torch.ones(1, 7))
    with pytest.raises(OptionError, match="no head 'itm' for embeddings; known: itc, vl"):
        model.encode_image(pixels, "itm")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "width 8 is not a multiple of heads 3"),
        ({"image_size": 50}, "image size 50 px is not a multiple of the patch size 16 px"),
        ({"vlffn_start": 4}, r"vlffn_start 4 is not in 0\.\.3"),
        ({"max_text_len": 10}, "max_text_len 10 exceeds the bias table's 9"),
    ],
)
def test_contradictory_sizes_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        replace(RELPOS, **change)


def test_new_models_are_drawn_as_the_authors_do() -> None:
    torch.manual_seed(0)
    model = VLMo(VLMoConfig(64, 2, 4, 1, 48, vocab_size=500), HEADS)
    state = model.state_dict()
    for name in (
        "transformer.blocks.1.mlp_vl.fc1.weight",
        "text_embeddings.word_embeddings.weight",
        "itc_vl_image_proj.fc.weight",
    ):
        assert state[name].std().item() == pytest.approx(0.02, rel=0.1), name
    zero = ["relative_position_bias_table", "mlm_score.bias", "transformer.blocks.0.attn.v_bias"]
    assert all(not state[name].any() for name in zero)
    assert (state["transformer.blocks.0.gamma_1"] == 0.1).all()
    assert state["logit_scale"].exp().item() == pytest.approx(1 / 0.07)
    assert (state["transformer.norm.weight"] == 1).all()
