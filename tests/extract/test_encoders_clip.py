"""clip: through open_clip equals open_clip, on tiny networks with random weights."""

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
from safetensors.torch import load_file, save_file

from mmx.errors import EncoderError, OptionError
from mmx.extract import hub
from mmx.extract.encoders import open_encoder
from tests.extract.kit import TEXTS, assert_close, check_encoder, ours, pictures, word_tokenizer

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
    with pytest.raises(EncoderError, match=r"must be a directory with open_clip_config.json"):
        open_encoder(f"clip:local-dir:{tmp_path}")


def test_a_local_directory_with_a_tokenizer_of_its_own(tmp_path: Path) -> None:
    word_tokenizer().save_pretrained(tmp_path)
    text = TINY["text_cfg"] | {"vocab_size": 10, "hf_tokenizer_name": "own", "context_length": 8}
    config = {"model_cfg": TINY | {"text_cfg": text}, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(4)
    model = open_clip.create_model(f"local-dir:{tmp_path}")
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    encoder = open_encoder(f"clip:local-dir:{tmp_path}")
    assert_close(ours(encoder), official(f"local-dir:{tmp_path}"))
    batch = encoder.tokenize(["a  red\nx", "x " * 7, "x " * 8])
    assert batch.count.tolist() == [4, 8, 8]
    assert batch.truncated.tolist() == [False, False, True]


def test_a_tokenizer_that_lies_on_the_hub(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "reachable", lambda url: False)
    word_tokenizer().save_pretrained(tmp_path)
    text = TINY["text_cfg"] | {"hf_tokenizer_name": "nobody/nothing"}
    configs = open_clip.factory._MODEL_CONFIGS
    monkeypatch.setitem(configs, "tiny-hub", TINY | {"text_cfg": text})
    with pytest.raises(EncoderError, match="--tokenizer DIR, or --modalities image"):
        open_encoder("clip:tiny-hub", weights=tiny)
    check_encoder(open_encoder("clip:tiny-hub", weights=tiny, modalities=("image",)))
    encoder = open_encoder("clip:tiny-hub", weights=tiny, tokenizer=tmp_path)
    assert encoder.tokenize(["a red x"]).count.tolist() == [4]
    assert encoder.card.tokenizer == "nobody/nothing"


def test_the_shipped_mini() -> None:
    from mmx.extract.encoders.records import MINI

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
    assert time.perf_counter() - start < 60  # open_clip alone: above ten minutes
    assert batch.truncated.all()
    assert torch.equal(batch.tokens[0, :-2], batch.tokens[1, :-2])


def test_opening_leaves_the_random_numbers_alone(tiny: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    open_encoder("clip:tiny-test", weights=tiny)
    assert torch.equal(torch.rand(3), expected)


def test_names_that_are_not_there(tiny: Path) -> None:
    for spec, message in [
        ("clip:ViT-B-61/openai", "did you mean 'ViT-B-16'"),
        ("clip:ViT-B-16/openia", "did you mean 'openai'"),
        ("clip:ViT-B-16", r"give clip:ViT-B-16/TAG \(TAG: openai, .*--weights PATH"),
        ("clip:tiny-test", "clip:tiny-test names no weights; give --weights PATH"),
        ("clip:Qqqqqqqqq", r"known: .* and \d+ more"),
        ("clip:local-dir:/no/such", "must be a directory"),
    ]:
        with pytest.raises(EncoderError, match=message):
            open_encoder(spec)


def test_options_that_do_not_fit(tiny: Path, tmp_path: Path) -> None:
    for options, message in [
        ({"tokenizer": tmp_path}, "--tokenizer is not used"),
        ({"head": "itc"}, "--head is not used by clip:tiny-test"),
        ({"imagesize": 3}, "no option --imagesize; did you mean 'image_size'"),
        ({"modalities": ("fused",)}, "--modalities fused: clip:tiny-test encodes image, text only"),
        ({"modalities": ()}, "--modalities is empty"),
        ({"precision": "float61"}, "did you mean 'float16'"),
        ({"device": "gpu"}, "--device gpu: torch has no such device"),
        ({"mean": (1, 2)}, "--mean .* must be three numbers"),
        ({"std": (1, 2, 0)}, "--std .* must be above 0"),
        ({"resize": 0}, "--resize 0: 1 to 16384 is expected"),
        ({"image_size": 10**9}, "--image-size 1000000000: at most 16384 is expected"),
        ({"resize_mode": "sqash"}, "did you mean 'squash'"),
        ({"interpolation": "cubic"}, "did you mean 'bicubic'"),
    ]:
        with pytest.raises(OptionError, match=message):
            open_encoder("clip:tiny-test", weights=tiny, **options)  # type: ignore[arg-type]
