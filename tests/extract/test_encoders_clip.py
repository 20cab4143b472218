"""clip: through open_clip and transformers, on tiny networks with random weights."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from mmx.errors import EncoderError, OptionError
from mmx.extract.encoders import open_encoder
from mmx.extract.images import prepare
from tests.extract.kit import TEXTS, check_encoder, pictures, pixel_batch

TINY: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {
        "context_length": 20,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A weights file of the architecture "tiny-test", known to open_clip within this module."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-test.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tiny-test.json")
    torch.manual_seed(0)
    model = open_clip.create_model("tiny-test")
    for parameter in model.parameters():  # larger than at the start, so that all parts matter
        torch.nn.init.normal_(parameter, std=0.3)
    save_file(model.state_dict(), folder / "tiny.safetensors")
    yield folder / "tiny.safetensors"
    open_clip.factory._MODEL_CONFIG_PATHS.remove(folder / "tiny-test.json")
    open_clip.factory._MODEL_CONFIGS.pop("tiny-test")


@pytest.fixture
def tag(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Published weights of the tiny architecture that want QuickGELU and their own resize."""
    facts = {
        "file": str(tiny),
        "quick_gelu": True,
        "mean": (0.3, 0.4, 0.5),
        "std": (0.2, 0.2, 0.3),
        "interpolation": "bilinear",
        "resize_mode": "squash",
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-test", {"drawn": facts})
    return "clip:tiny-test/drawn"


def official(name: str, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Image and text vectors of open_clip's own pipeline."""
    model, _, preprocess = open_clip.create_model_and_transforms(name, **options)
    tokens = open_clip.get_tokenizer(name)(TEXTS)
    with torch.inference_mode():
        images = torch.stack([preprocess(picture) for picture in pictures()])
        return (
            model.eval().encode_image(images, normalize=True).numpy(),
            model.encode_text(tokens, normalize=True).numpy(),
        )


def ours(encoder: Any) -> tuple[np.ndarray, np.ndarray]:
    return (
        encoder.encode_image(pixel_batch(encoder, pictures())),
        encoder.encode_text(encoder.tokenize(TEXTS)),
    )


def assert_close(got: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]) -> None:
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_a_weights_file_equals_open_clip(tiny: Path) -> None:
    encoder = open_encoder("clip:tiny-test", weights=tiny)
    assert_close(ours(encoder), official("tiny-test", pretrained=str(tiny)))
    check_encoder(encoder)
    card = encoder.card
    assert (card.library, card.architecture, card.weights) == (
        "open_clip",
        "tiny-test",
        "tiny.safetensors",
    )
    assert (card.dimensions, card.text_limit) == ({"image": 24, "text": 24}, 20)
    assert card.extra == {"activation": "GELU"}


def test_a_tag_brings_its_activation_and_its_resize_rule(tag: str, tiny: Path) -> None:
    encoder = open_encoder(tag)
    expected = official("tiny-test", pretrained="drawn", force_quick_gelu=True)
    assert_close(ours(encoder), expected)
    assert encoder.card.extra == {"activation": "QuickGELU"}
    assert encoder.card.weights == "drawn"
    assert encoder.card.image_rule["mode"] == "squash"
    gelu = official("tiny-test", pretrained="drawn")  # open_clip by itself only warns
    assert np.abs(gelu[0] - expected[0]).max() > 1e-3
    assert_close(
        ours(open_encoder(tag, weights=tiny)), expected
    )  # the tag's rule, the file's values


def test_a_local_directory(tmp_path: Path, tiny: Path) -> None:
    config = {"model_cfg": TINY, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "size": 32}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    (tmp_path / "open_clip_model.safetensors").write_bytes(tiny.read_bytes())
    encoder = open_encoder(f"clip:local-dir:{tmp_path}")
    assert_close(ours(encoder), official(f"local-dir:{tmp_path}"))
    assert encoder.card.image_rule["mean"] == [0.1, 0.2, 0.3]
    assert encoder.card.parameters_sha256 == (
        open_encoder("clip:tiny-test", weights=tiny).card.parameters_sha256
    )
    (tmp_path / "open_clip_model.safetensors").unlink()
    with pytest.raises(EncoderError, match="must be a directory with open_clip_config.json"):
        open_encoder(f"clip:local-dir:{tmp_path}")


def test_the_shipped_mini() -> None:
    from mmx.extract.encoders.openclip import MINI

    if not MINI.is_dir():
        pytest.skip("clip:mini has not been trained yet")
    encoder = open_encoder("clip:mini")
    assert_close(ours(encoder), official(f"local-dir:{MINI}"))
    check_encoder(encoder)


def test_a_file_of_another_layout_is_brought_into_place(tiny: Path, tmp_path: Path) -> None:
    state = {f"module.{k}": v for k, v in load_file(tiny).items()}
    state["module.logit_scale"] = state["module.logit_scale"].reshape(1)
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "epoch_3.pt")
    encoder = open_encoder("clip:tiny-test", weights=tmp_path / "epoch_3.pt")
    same = open_encoder("clip:tiny-test", weights=tiny)
    assert_close(ours(encoder), ours(same))
    assert encoder.card.parameters_sha256 == same.card.parameters_sha256
    assert encoder.card.weights_sha256 != same.card.weights_sha256
    assert encoder.card.differences(same.card) == []


def test_weights_of_another_architecture(tiny: Path, tmp_path: Path) -> None:
    state = load_file(tiny)
    state["visual.positional_embedding"] = torch.zeros(50, 32)
    del state["ln_final.weight"]
    state["stranger"] = torch.zeros(3)
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(EncoderError) as error:
        open_encoder("clip:tiny-test", weights=tmp_path / "other.safetensors")
    for part in (
        "1 missing (ln_final.weight)",
        "1 unknown (stranger)",
        "1 of another shape (visual.positional_embedding is (50, 32), not (17, 32))",
    ):
        assert part in str(error.value)


def test_another_image_size_resizes_the_positions_as_open_clip_does(tiny: Path) -> None:
    encoder = open_encoder("clip:tiny-test", weights=tiny, image_size=48)
    expected = official("tiny-test", pretrained=str(tiny), force_image_size=48)
    assert_close(ours(encoder), expected)
    assert encoder.card.image_rule["size"] == encoder.card.image_rule["resize"] == 48


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision(tiny: Path, precision: str) -> None:
    encoder = open_encoder("clip:tiny-test", weights=tiny, precision=precision)
    full = open_encoder("clip:tiny-test", weights=tiny)
    for half, exact in zip(ours(encoder), ours(full), strict=True):
        assert half.dtype == np.float32
        assert (half * exact).sum(1).min() > 0.995
        assert np.abs(half - exact).max() > 1e-6
        np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-6)
    assert encoder.card.precision == precision
    assert encoder.card.parameters_sha256 == full.card.parameters_sha256


def test_one_modality_alone(tiny: Path) -> None:
    image = open_encoder("clip:tiny-test", weights=tiny, modalities=("image",))
    text = open_encoder("clip:tiny-test", weights=tiny, modalities=("text",))
    check_encoder(image)
    check_encoder(text)
    assert (image.card.tokenizer, image.card.text_limit) == (None, None)
    assert (text.image_rule, text.card.image_rule) == (None, None)


def test_token_counts(tiny: Path) -> None:
    encoder = open_encoder("clip:tiny-test", weights=tiny)
    texts = ["", "!", "one two", " ".join(["dog"] * 18), " ".join(["dog"] * 19), "<end_of_text>"]
    batch = encoder.tokenize(texts)
    assert batch.count.tolist() == [2, 3, 4, 20, 20, 3]
    assert batch.truncated.tolist() == [False, False, False, False, True, False]
    assert torch.equal(batch.tokens, open_clip.get_tokenizer("tiny-test")(texts))


def test_a_word_without_end_is_no_trap(tiny: Path) -> None:
    encoder = open_encoder("clip:tiny-test", weights=tiny)
    letters = np.random.default_rng(0).choice(list("abcdefghijklmnopqrstuvwxyz"), 200_000)
    start = time.perf_counter()
    batch = encoder.tokenize(["".join(letters), "".join(letters[:1500])])
    assert time.perf_counter() - start < 5  # open_clip alone: above ten minutes
    assert batch.truncated.all()
    assert torch.equal(batch.tokens[0, :-2], batch.tokens[1, :-2])


def test_opening_leaves_the_random_numbers_alone(tiny: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    open_encoder("clip:tiny-test", weights=tiny)
    assert torch.equal(torch.rand(3), expected)


def test_names_that_are_not_there(tiny: Path) -> None:
    for spec, told in [
        ("clip:ViT-B-61/openai", "did you mean 'ViT-B-16'"),
        ("clip:ViT-B-16/openia", "did you mean 'openai'"),
        ("clip:ViT-B-16", r"give clip:ViT-B-16/TAG \(TAG: openai, .*--weights PATH"),
        ("clip:tiny-test", "clip:tiny-test names no weights; give --weights PATH"),
        ("clip:Qqqqqqqqq", r"known: .* and \d+ more"),
        ("clip:local-dir:/no/such", "must be a directory"),
    ]:
        with pytest.raises(EncoderError, match=told):
            open_encoder(spec)


def test_options_that_do_not_fit(tiny: Path, tmp_path: Path) -> None:
    for options, told in [
        ({"tokenizer": tmp_path}, "--tokenizer is not used"),
        ({"head": "itc"}, "--head is not used by clip:tiny-test"),
        ({"imagesize": 3}, "no option --imagesize; did you mean 'image_size'"),
        ({"modalities": ("fused",)}, "--modalities fused: clip:tiny-test encodes image, text only"),
        ({"modalities": ()}, "--modalities is empty"),
        ({"precision": "float61"}, "did you mean 'float16'"),
        ({"device": "gpu"}, "--device gpu cannot be used"),
        ({"mean": (1, 2)}, "--mean .* must be three numbers"),
        ({"std": (1, 2, 0)}, "--std .* must be above 0"),
        ({"resize": 0}, "--resize 0 must be a number of pixels"),
        ({"resize_mode": "sqash"}, "did you mean 'squash'"),
        ({"interpolation": "cubic"}, "did you mean 'bicubic'"),
    ]:
        with pytest.raises(OptionError, match=told):
            open_encoder("clip:tiny-test", weights=tiny, **options)  # type: ignore[arg-type]


# Hugging Face layout


def clip_tokenizer() -> transformers.CLIPTokenizer:
    """The tokenizer of every published CLIP, built from the copy that open_clip carries."""
    simple = open_clip.SimpleTokenizer()
    rename = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {rename.get(token, token): number for token, number in simple.encoder.items()}
    merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.__getitem__)
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[tuple(m) for m in merges if m])


def siglip_tokenizer() -> transformers.PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["<pad>", "</s>", "<unk>", "a", "red", "leather", "handbag", "x", "42", "!"]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


SIZES = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 2}


@pytest.fixture(scope="module")
def hf_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hf-clip")
    text = SIZES | {"max_position_embeddings": 20, "vocab_size": 49408, "eos_token_id": 49407}
    config = transformers.CLIPConfig(
        text_config=text | {"bos_token_id": 49406, "pad_token_id": 49407},
        vision_config=SIZES | {"image_size": 33, "patch_size": 8},
        projection_dim=24,
    )
    torch.manual_seed(1)
    transformers.CLIPModel(config).save_pretrained(folder)
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": 37}, crop_size={"height": 33, "width": 33}
    )
    processor.save_pretrained(folder)
    clip_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def hf_siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hf-siglip")
    config = transformers.SiglipConfig(
        text_config=SIZES | {"max_position_embeddings": 16, "vocab_size": 10},
        vision_config=SIZES | {"image_size": 32, "patch_size": 8},
    )
    torch.manual_seed(2)
    transformers.SiglipModel(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.SiglipImageProcessor(size=size, resample=2).save_pretrained(folder)
    siglip_tokenizer().save_pretrained(folder)
    return folder


def official_hf(folder: Path, limit: int, mask: bool) -> tuple[np.ndarray, np.ndarray]:
    """transformers' own pipeline in its Pillow form, as the model cards show it."""
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    images = [processor(picture, return_tensors="pt")["pixel_values"] for picture in pictures()]
    padding = {"padding": "max_length"} if not mask else {"padding": True}
    tokens = tokenizer(TEXTS, truncation=True, max_length=limit, return_tensors="pt", **padding)
    kept = {k: v for k, v in tokens.items() if k == "input_ids" or (mask and "mask" in k)}
    with torch.inference_mode():
        outputs = (
            model.get_image_features(pixel_values=torch.cat(images)).pooler_output,
            model.get_text_features(**kept).pooler_output,
        )
    image, text = (torch.nn.functional.normalize(output, dim=-1).numpy() for output in outputs)
    return image, text


def test_hugging_face_clip(hf_clip: Path) -> None:
    encoder = open_encoder(f"clip:hf:{hf_clip}")
    assert_close(ours(encoder), official_hf(hf_clip, 20, mask=True))
    check_encoder(encoder)
    card = encoder.card
    assert (card.library, card.architecture, card.dimensions) == (
        "transformers",
        "clip",
        {"image": 24, "text": 24},
    )
    assert (card.image_rule["size"], card.image_rule["resize"], card.text_limit) == (33, 37, 20)


def test_hugging_face_siglip(hf_siglip: Path) -> None:
    encoder = open_encoder(f"clip:hf:{hf_siglip}")
    assert_close(ours(encoder), official_hf(hf_siglip, 16, mask=False))
    check_encoder(encoder)
    assert encoder.card.image_rule["mode"] == "squash"
    assert encoder.card.image_rule["interpolation"] == "bilinear"
    assert encoder.card.dimensions == {"image": 32, "text": 32}


def test_hugging_face_token_counts(hf_clip: Path, hf_siglip: Path) -> None:
    texts = ["!", "a red x", " ".join(["x"] * 15), " ".join(["x"] * 16), "x " * 300]
    siglip = open_encoder(f"clip:hf:{hf_siglip}").tokenize(texts)
    assert siglip.count.tolist() == [2, 4, 16, 16, 16]
    assert siglip.truncated.tolist() == [False, False, False, True, True]
    clip = open_encoder(f"clip:hf:{hf_clip}").tokenize(texts)
    assert clip.count.tolist() == [3, 5, 17, 18, 20]
    assert clip.truncated.tolist() == [False, False, False, False, True]


def test_hugging_face_weights_from_elsewhere(hf_clip: Path, tmp_path: Path) -> None:
    model = transformers.CLIPModel.from_pretrained(hf_clip, dtype=torch.float32)
    with torch.no_grad():
        model.visual_projection.weight.mul_(-1)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    before = ours(open_encoder(f"clip:hf:{hf_clip}"))
    after = ours(open_encoder(f"clip:hf:{hf_clip}", weights=tmp_path / "w.safetensors"))
    assert_close((-after[0], after[1]), before)
    # a directory takes the place of the name, which then need not exist
    moved = open_encoder("clip:hf:nobody/nothing", weights=hf_clip)
    assert_close(ours(moved), before)
    assert moved.card.name == "clip:hf:nobody/nothing"


def test_hugging_face_directories_that_are_not_whole(hf_clip: Path, tmp_path: Path) -> None:
    for path in hf_clip.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    del state["visual_projection.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"lacks 1 parameters \(visual_projection.weight\)"):
        open_encoder(f"clip:hf:{tmp_path}")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match="the model of .* cannot be loaded"):
        open_encoder(f"clip:hf:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(EncoderError, match="is a 'bert' model; clip:hf takes clip, siglip"):
        open_encoder(f"clip:hf:{tmp_path}")
    (tmp_path / "config.json").unlink()
    with pytest.raises(EncoderError, match="configuration of .* cannot be loaded"):
        open_encoder(f"clip:hf:{tmp_path}")


def test_pictures_are_prepared_at_the_size_of_the_card(hf_clip: Path) -> None:
    encoder = open_encoder(f"clip:hf:{hf_clip}")
    assert prepare(pictures()[0], encoder.image_rule).shape == (33, 33, 3)
