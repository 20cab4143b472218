"""clip:hf: equals transformers' own pipeline, on tiny networks with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from mmx.errors import EncoderError
from mmx.extract.encoders import open_encoder
from mmx.extract.pictures.images import prepare
from tests.extract.kit import TEXTS, assert_close, check_encoder, ours, pictures, word_tokenizer


def clip_tokenizer() -> transformers.CLIPTokenizer:
    """The tokenizer of every published CLIP, built from the copy that open_clip carries."""
    simple = open_clip.SimpleTokenizer()
    rename = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {rename.get(token, token): number for token, number in simple.encoder.items()}
    merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.__getitem__)
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[tuple(m) for m in merges if m])


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
    word_tokenizer().save_pretrained(folder)
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


def test_only_texts_that_reach_the_limit_are_tokenised_again(
    hf_siglip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, asked = open_encoder(f"clip:hf:{hf_siglip}"), []
    reads = encoder.tokenizer.tokenizer

    def counted(texts: list[str], **how: object) -> object:
        asked.append(list(texts))
        return reads(texts, **how)

    monkeypatch.setattr(encoder.tokenizer, "tokenizer", counted)
    found = encoder.tokenize(["a red x", "x " * 300])
    assert found.truncated.tolist() == [False, True]
    assert asked == [["a red x", "x " * 300], ["x " * 300]]
    assert sorted(found.tokens) == ["input_ids"]


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
    with pytest.raises(EncoderError, match=r"the model of .* cannot be loaded"):
        open_encoder(f"clip:hf:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(EncoderError, match="is a 'bert' model; clip:hf takes clip, siglip"):
        open_encoder(f"clip:hf:{tmp_path}")
    (tmp_path / "config.json").unlink()
    with pytest.raises(EncoderError, match=r"configuration of .* cannot be loaded"):
        open_encoder(f"clip:hf:{tmp_path}")


def test_pictures_are_prepared_at_the_size_of_the_card(hf_clip: Path) -> None:
    encoder = open_encoder(f"clip:hf:{hf_clip}")
    assert prepare(pictures()[0], encoder.image_rule).shape == (33, 33, 3)
