"""A text is a text: whatever it looks like, nothing is fetched or opened for it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer

from mmx.cache.store import open_store
from mmx.data.dataset import load_items
from mmx.errors import EncoderError
from mmx.extract.encoder import Encoder
from mmx.extract.encoders import open_encoder
from mmx.extract.finetune.trainable import open_trainable
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.recommend.end_to_end.catalogue import Catalogue
from tests.catalogue import write_items
from tests.extract.servers import Files, Server, serving
from tests.extract.tiny_checkpoint import VOCABULARY, weights
from tests.extract.tiny_clip import hugging_face_clip, sentence_clip, text_vectors
from tests.extract.watching import watched


@pytest.fixture(scope="module")
def lure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that texts will name."""
    folder = tmp_path_factory.mktemp("lure")
    Image.new("RGB", (40, 30), "red").save(folder / "x.png")
    for name in ("film.mp4", "sound.wav"):
        (folder / name).write_bytes(b"nothing of the kind")
    return folder


@pytest.fixture(scope="module")
def server(lure: Path) -> Iterator[Server]:
    with serving(lure, Files) as server:
        yield server


@pytest.fixture
def texts(lure: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What looks like pictures, films and sounds, among plain words."""
    monkeypatch.chdir(lure)
    inline = base64.b64encode((lure / "x.png").read_bytes()).decode()
    return [
        "a red leather handbag",
        f"{server.url()}/x.png",
        str(lure / "x.png"),
        "x.png",
        f"data:image/png;base64,{inline}",
        (lure / "x.png").as_uri(),
        f"{server.url()}/film.mp4",
        str(lure / "film.mp4"),
        "sound.wav",
        "https://youtu.be/x",
        "a red x",
    ]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hugging_face_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module", params=["plain", "routed"])
def sentence(
    request: pytest.FixtureRequest, clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("sentence")
    return sentence_clip(clip, folder, routed=request.param == "routed")


def touched(events: list[str], lure: Path) -> list[str]:
    """Events of sockets, and of the files that the texts name."""
    names = [str(lure), "x.png", "film.mp4", "sound.wav"]
    return [e for e in events if e.startswith("socket.") or any(name in e for name in names)]


def check(encoder: Encoder, texts: list[str], lure: Path) -> np.ndarray:
    with watched() as events:
        vectors = encoder.encode_text(encoder.tokenize(texts))
    assert touched(events, lure) == []
    alone = [encoder.encode_text(encoder.tokenize([text])) for text in texts]
    np.testing.assert_allclose(vectors, np.concatenate(alone), atol=1e-5)
    return vectors


def test_a_multimodal_sentence_encoder_reads_texts(
    sentence: Path, clip: Path, texts: list[str], lure: Path, server: Server, tmp_path: Path
) -> None:
    rows = [{"item_id": f"i{n}", "text": text} for n, text in enumerate(texts)]
    items = load_items(write_items(tmp_path / "data", rows))
    encoder = open_encoder(f"sbert:{sentence}")
    with watched() as events:
        report = extract(items, encoder, tmp_path / "s.parquet", ExtractOptions(batch_size=4))
    assert touched(events, lure) == []
    assert report.statuses["text"] == {"ok": len(texts)}
    found, present = open_store(tmp_path / "s.parquet").vectors("text", items.ids.combine_chunks())
    assert present.all()
    np.testing.assert_allclose(found, text_vectors(clip, texts), atol=1e-5)
    check(open_encoder(f"sbert:{sentence}"), texts, lure)
    assert not server.requests
    batch = encoder.tokenize(["a red x", "a " * 50])
    assert (batch.count.tolist(), batch.truncated.tolist()) == ([4, 20], [False, True])


def test_what_sentence_transformers_does_by_itself(
    sentence: Path, clip: Path, texts: list[str], server: Server
) -> None:
    """A check of the other tests: it fetches the picture, and opens the file."""
    model = SentenceTransformer(str(sentence), device="cpu")
    with watched() as events:
        fetched = model.encode([texts[1]])
    assert any(event.startswith("socket.") for event in events)
    assert server.requests.total() == 1
    server.requests.clear()
    for vectors in (fetched, model.encode([texts[2]])):
        assert np.abs(vectors - text_vectors(clip, texts[1:3]).numpy()).max() > 0.01


def test_the_other_encoders_read_texts(
    clip: Path, texts: list[str], lure: Path, tmp_path: Path, server: Server
) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    vlmo = open_encoder("vlmo", weights=weights(tmp_path), tokenizer=tmp_path / "vocab.txt")
    mini = open_encoder("clip:mini")
    for encoder in (open_encoder("toy"), open_encoder(f"clip:hf:{clip}"), mini, vlmo):
        check(encoder, texts, lure)
    for encoder in (mini, vlmo):  # as fine-tuning and end-to-end training read them
        rows = [{"item_id": f"i{n}", "text": text} for n, text in enumerate(texts)]
        items = load_items(write_items(tmp_path / encoder.card.library, rows))
        pixels = type("Some", (), {"present": np.ones(len(texts), dtype=bool)})
        with watched() as events:
            order = np.arange(len(texts))
            catalogue = Catalogue(open_trainable(encoder), items, pixels, order)  # type: ignore[arg-type]
            catalogue.encode("text", torch.arange(len(texts)))
        assert touched(events, lure) == []


def test_a_sentence_encoder_without_a_way_for_texts(clip: Path, tmp_path: Path) -> None:
    routes = {"a": [Transformer(str(clip))], "b": [Transformer(str(clip))]}
    router = Router(routes, allow_empty_key=False)
    SentenceTransformer(modules=[router], device="cpu").save(str(tmp_path / "routes"))
    with pytest.raises(EncoderError, match="several routes and none for texts"):
        open_encoder(f"sbert:{tmp_path / 'routes'}")
    pictures = {"image": {"method": "get_image_features", "method_output_name": "pooler_output"}}
    blind = Transformer(
        str(clip), modality_config=pictures, module_output_name="sentence_embedding"
    )
    SentenceTransformer(modules=[blind], device="cpu").save(str(tmp_path / "pictures"))
    with pytest.raises(EncoderError, match="encodes image, no texts"):
        open_encoder(f"sbert:{tmp_path / 'pictures'}")
