"""VLMo in stage 1: names, card, tokens, modalities, and a store with all three columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from mmx.data.dataset import load_items
from mmx.errors import EncoderError, OptionError
from mmx.extract.encoders.vlmo import VLMoEncoder, open_vlmo
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.extract.vlmo import records
from mmx.extract.vlmo.records import RECORDS, find, in_lines
from mmx.extract.vlmo.tokenizer import open_tokenizer
from tests.extract.kit import check_encoder, pictures, pixel_batch
from tests.extract.tiny_checkpoint import CONFIG, VOCABULARY, weights
from tests.extract.tiny_vlmo import ABSPOS, HEADS, tiny


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return path


def opened(folder: Path, vocabulary: Path, **options) -> VLMoEncoder:
    return open_vlmo("vlmo", weights(folder), tokenizer=vocabulary, **options)


def test_it_is_an_encoder(tmp_path: Path, vocabulary: Path) -> None:
    check_encoder(opened(tmp_path, vocabulary, modalities=("image", "text")))


def test_the_card_tells_what_the_vectors_are(tmp_path: Path, vocabulary: Path) -> None:
    card = opened(tmp_path, vocabulary).card
    assert card.dimensions == {"image": 8, "text": 8, "fused": 8}
    assert not card.normalised  # the fused vectors are not
    assert opened(tmp_path, vocabulary, modalities=("text", "image")).card.normalised
    assert card.image_rule is not None
    expected = {"size": 48, "mode": "squash", "interpolation": "bicubic", "mean": [0.5] * 3}
    assert {key: card.image_rule[key] for key in expected} == expected
    assert card.image_rule["std"] == card.image_rule["mean"]
    assert (card.text_limit, card.precision, card.weights) == (40, "float32", "tiny.pt")
    resized = opened(tmp_path, vocabulary, image_size=80).card
    assert {"image_rule", "parameters_sha256"} <= set(card.differences(resized))
    assert card.differences(opened(tmp_path, vocabulary, head="vl").card) == ["output"]
    assert card.differences(opened(tmp_path, vocabulary, precision="bfloat16").card) == [
        "precision"
    ]


def test_its_vectors_are_the_models(tmp_path: Path, vocabulary: Path) -> None:
    encoder, model = opened(tmp_path, vocabulary), tiny(CONFIG)
    pixels = pixel_batch(encoder, pictures()[:3])
    batch = encoder.tokenize(["red handbags!", "a", "the shoe of the blue cafe"])
    floats = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    ids, mask = batch.tokens["ids"], batch.tokens["mask"]
    with torch.inference_mode():
        pairs = [
            (encoder.encode_image(pixels), model.encode_image(floats)),
            (encoder.encode_text(batch), model.encode_text(ids, mask)),
            (encoder.encode_fused(pixels, batch), model.encode_fused(floats, ids, mask)),
        ]
    for ours, theirs in pairs:
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)
    half = opened(tmp_path, vocabulary, precision="bfloat16")
    cosine = (half.encode_image(pixels) * pairs[0][0]).sum(axis=1)
    assert cosine.min() > 0.999


def test_word_pieces_counts_and_truncation(vocabulary: Path) -> None:
    tokenizer = open_tokenizer(vocabulary, limit=6)
    batch = tokenizer(["Red HANDBAG!", "CAFÉ", "", "a a a a a", "the unknown [SEP] word"])
    number = {word: n for n, word in enumerate(VOCABULARY)}
    expected = [
        "[CLS] red hand ##bag ! [SEP]",
        "[CLS] cafe [SEP]",
        "[CLS] [SEP]",
        "[CLS] a a a a [SEP]",
        "[CLS] the [UNK] [SEP] [UNK] [SEP]",
    ]
    for row, words in zip(batch.tokens["ids"].tolist(), expected, strict=True):
        wanted = [number[word] for word in words.split()]
        assert row == wanted + [0] * (6 - len(wanted))
    assert batch.tokens["mask"].sum(1).tolist() == batch.count.tolist() == [6, 3, 2, 6, 6]
    assert batch.truncated.tolist() == [False, False, False, True, False]
    assert tokenizer([]).count.shape == (0,)


def test_a_directory_or_a_foreign_file_as_tokenizer(tmp_path: Path, vocabulary: Path) -> None:
    assert open_tokenizer(tmp_path).name == open_tokenizer(vocabulary).name
    assert "20 of SHA-256" in open_tokenizer(vocabulary).name
    other = tmp_path / "words.txt"
    other.write_text("one\ntwo\n")
    with pytest.raises(EncoderError, match=r"is not a BERT vocab\.txt: it lacks \[PAD\]"):
        open_tokenizer(other)
    other.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(EncoderError, match=r"words\.txt is not a vocab\.txt"):
        open_tokenizer(other)
    with pytest.raises(EncoderError, match=r"vocab\.txt is not there; give bert-base-uncased's"):
        open_tokenizer(tmp_path / "none" / "vocab.txt")
    large = tmp_path / "large.txt"
    large.write_text("\n".join([*VOCABULARY, *(f"w{n}" for n in range(30))]))
    with pytest.raises(EncoderError, match=r"the tokenizer knows 50 word pieces, .* only 30"):
        open_vlmo("vlmo", weights(tmp_path), tokenizer=large)


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        (HEADS, ("image", "text", "fused")),
        (("pooler", "itc"), ("image", "text")),
        (("pooler", "vqa"), ("fused",)),
    ],
)
def test_modalities_are_those_with_trained_heads(
    tmp_path: Path, vocabulary: Path, heads: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    path = weights(tmp_path, CONFIG, heads)
    assert open_vlmo("vlmo", path, tokenizer=vocabulary).card.modalities == expected
    for modality in {"image", "text", "fused"} - set(expected):
        with pytest.raises(EncoderError, match=f"its heads: {', '.join(heads)}; use"):
            open_vlmo("vlmo", path, tokenizer=vocabulary, modalities=(modality,))
    if "vl" not in heads:
        with pytest.raises(EncoderError, match="no ITC projections of the VL experts; its heads"):
            open_vlmo("vlmo", path, tokenizer=vocabulary, head="vl")


def test_images_alone_need_no_tokenizer(tmp_path: Path) -> None:
    encoder = open_vlmo("vlmo", weights(tmp_path), modalities=("image",))
    assert encoder.card.tokenizer is None
    text_only = ("text",)
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY))
    texts = open_vlmo("vlmo", weights(tmp_path), tokenizer=tmp_path, modalities=text_only)
    assert texts.image_rule is None
    assert texts.card.image_rule is None


def test_options_that_make_no_sense(tmp_path: Path, vocabulary: Path) -> None:
    with pytest.raises(OptionError, match=r"--head vll is unknown; did you mean 'vl'\?"):
        opened(tmp_path, vocabulary, head="vll")
    with pytest.raises(OptionError, match="audio is unknown; known: image, text, fused"):
        opened(tmp_path, vocabulary, modalities=("image", "audio"))
    with pytest.raises(OptionError, match="--head is of the image and text modalities; drop it"):
        opened(tmp_path, vocabulary, modalities=("fused",), head="vl")
    with pytest.raises(OptionError, match="--modalities is empty"):
        opened(tmp_path, vocabulary, modalities=())
    with pytest.raises(EncoderError, match=r"width 8 and 3 blocks, vlmo:base 768 and 12; use"):
        open_vlmo("vlmo:base", weights(tmp_path), tokenizer=vocabulary)


def test_files_of_unpublished_sizes_with_a_config(tmp_path: Path, vocabulary: Path) -> None:
    path = weights(tmp_path, ABSPOS)
    encoder = open_vlmo("vlmo", path, tokenizer=vocabulary, config=ABSPOS)
    assert encoder.card.architecture == "vlmo of width 12, 3 blocks, 3 heads"
    assert encoder.card.text_limit == 6  # the file has no more positions


def test_names_of_the_published_files() -> None:
    assert find("vlmo") is find("") is find("vlmo:base_plus") is find("base_plus")
    assert find("").file == "vlmo_base_plus_patch16_224.pt"
    coco = find("vlmo:large_384_coco")
    assert coco.url.endswith("/vlmo_ckpts/releases/download/vlmo/vlmo_large_patch16_384_coco.pt")
    assert (coco.image_size, coco.heads) == (384, ("pooler", "itc"))
    wanted = {
        f"{a}{t}" for a in ("base", "base_plus", "large") for t in ("", "_384_coco", "_384_f30k")
    }
    assert wanted <= set(RECORDS)
    with pytest.raises(EncoderError, match=r"'vlmo:bass_plus'; did you mean 'base_plus'\?"):
        find("vlmo:bass_plus")


def test_without_network_one_line_says_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(records, "RELEASE", "http://127.0.0.1:9")
    with pytest.raises(EncoderError) as caught:
        open_vlmo("vlmo:base")
    place = tmp_path / "checkpoints" / "vlmo_base_patch16_224.pt"
    assert f"at {place}, or give --weights PATH" in str(caught.value)
    place.write_bytes(b"nonsense")
    with pytest.raises(EncoderError, match="cannot be read as a PyTorch file"):
        open_vlmo("vlmo:base")


def test_without_network_one_line_asks_for_the_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("mmx.extract.vlmo.tokenizer.URL", "http://127.0.0.1:9/vocab.txt")
    with pytest.raises(
        EncoderError, match=r"bert-base-uncased-vocab\.txt is not .*--tokenizer PATH"
    ):
        open_tokenizer()
    place = tmp_path / "checkpoints" / "bert-base-uncased-vocab.txt"
    place.write_text("\n".join(VOCABULARY))
    assert open_tokenizer()(["red"]).count.tolist() == [3]


def test_progress_is_logged_by_the_hundredth() -> None:
    lines: list[str] = []
    progress = in_lines(lines.append, "a.pt")
    for done in range(0, 200_000_001, 100_000):
        progress(done, 200_000_000)
    assert len(lines) == 101
    assert (lines[0], lines[-1]) == ("a.pt: 0 of 200 MB", "a.pt: 200 of 200 MB")
    progress(5_000_000, None)
    assert lines[-1] == "a.pt: 5 MB"


def test_a_store_with_all_three_columns(tmp_path: Path, vocabulary: Path) -> None:
    """An item with only one of the two has that column, and no fused vector."""
    data = tmp_path / "data"
    data.mkdir()
    for name, picture in zip("abc", pictures(), strict=False):
        Image.fromarray(np.asarray(picture)).save(data / f"{name}.png")
    items = {
        "item_id": ["pair", "no text", "no image", "neither"],
        "image": ["a.png", "b.png", None, None],
        "text": ["red handbag", None, "blue shoe", None],
    }
    pq.write_table(pa.table(items), data / "items.parquet")
    pq.write_table(pa.table({"user_id": ["u"], "item_id": ["pair"]}), data / "interactions.parquet")
    out = tmp_path / "vlmo.parquet"
    encoder = opened(tmp_path, vocabulary)
    extract(load_items(data), encoder, out, ExtractOptions(batch_size=2, part_size=2))
    rows = {row["item_id"]: row for row in pq.read_table(out).to_pylist()}
    there = {n: {m for m in ("image", "text", "fused") if rows[n][m] is not None} for n in rows}
    assert there == {
        "pair": {"image", "text", "fused"},
        "no text": {"image"},
        "no image": {"text"},
        "neither": set(),
    }
    assert rows["pair"]["text_tokens"] == 5
    pixels = pixel_batch(encoder, [Image.open(data / "a.png")])
    fused = encoder.encode_fused(pixels, encoder.tokenize(["red handbag"]))
    np.testing.assert_allclose(rows["pair"]["fused"], fused[0], atol=2e-6)
