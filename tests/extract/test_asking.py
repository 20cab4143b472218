"""A store's encoder, opened for a query: never by running, fetching or reading what it names."""

from __future__ import annotations

import socket
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmx.cache.store import Store, open_store
from mmx.errors import DataError, EncoderError, OptionError, StoreError
from mmx.extract.asking import comparable, open_for_query
from mmx.extract.encoders import open_encoder
from tests.cache.stores import make_store

TOY = open_encoder("toy").card


def store_of(folder: Path, **changes: object) -> Store:
    card = replace(TOY, **changes)  # type: ignore[arg-type]
    return make_store(folder / "s.parquet", 3, card=card)


def test_words_and_pictures_are_encoded_as_the_store_was(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    said: list[str] = []
    asking = open_for_query(store, "text", log=said.append)
    np.testing.assert_array_equal(asking.text(" ab 1 "), [2, 2, 1, 1, 0, 0, 2, 2])
    Image.new("RGB", (9, 5), (255, 0, 51)).save(tmp_path / "p.png")
    found = asking.image(tmp_path / "p.png")
    np.testing.assert_allclose(found[:4], [1, 0, 0.2, 0.4], atol=1e-6)
    assert said == []
    asking.text("word " * 70)
    assert said == ["the encoder reads 64 tokens of the query, not all of it"]
    with pytest.raises(OptionError, match="query is empty"):
        asking.text(" \u200b")
    (tmp_path / "bad.png").write_bytes(b"<svg/>")
    for name in ("bad.png", "absent.png", "."):
        with pytest.raises(DataError, match="a picture is expected"):
            asking.image(tmp_path / name)


def test_what_a_query_is_compared_with() -> None:
    joint = replace(TOY, output="projection into the joint image-text space")
    assert comparable(joint, "text") == comparable(joint, "image") == ["image", "text"]
    assert (comparable(TOY, "text"), comparable(TOY, "image")) == (["text"], ["image"])
    with pytest.raises(OptionError, match=r"toy encodes image, and no words; .*mmx similar"):
        comparable(replace(TOY, dimensions={"image": 8}), "text")


@pytest.mark.parametrize(
    "name",
    ["mine.py:Encoder", "os.path:join", "package-encoder", "sbert:folder", "clip:hf:folder",
     "clip:local-dir:folder", "sbert:/etc", "clip:hf:~/x", "clip:hf:../x", "timm:local-dir:x",
     "clip:hf:https://host/x", "x" * 10_000],
)  # fmt: skip
def test_a_store_does_not_lead_to_code_or_folders(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "mine.py").write_text("raise SystemExit('ran')")
    store = store_of(tmp_path, name=name)
    with pytest.raises(OptionError, match=r"--model NAME allows it") as caught:
        open_for_query(store, "text")
    assert len(str(caught.value)) < 400


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"differs in output; give the one that made it"):
        open_for_query(store_of(tmp_path, output="other statistics"), "text")
    rule = {**TOY.image_rule, "unheard": 1}  # type: ignore[dict-item]
    with pytest.raises(StoreError, match="another version"):
        open_for_query(store_of(tmp_path, image_rule=rule), "image")


def test_code_of_ones_own_is_run_when_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from mmx.extract.encoders.toy import Toy\n"
        "class Mine(Toy):\n    def __init__(self, request): super().__init__()\n"
    )
    card = open_encoder("mine.py:Mine", code="mine.py").card
    store = make_store(tmp_path / "s.parquet", 3, card=card)
    asking = open_for_query(open_store(store.path), "text", model="mine.py:Mine")
    assert asking.text("a").tolist() == [1, 1, 1, 0, 0, 0, 1, 1]
    (tmp_path / "mine.py").write_text((tmp_path / "mine.py").read_text() + "# changed\n")
    with pytest.raises(EncoderError, match=r"the code of mine.py:Mine has changed"):
        open_for_query(store, "text", model="mine.py:Mine")


@pytest.mark.slow
def test_pictures_of_another_size(tmp_path: Path) -> None:
    """The card says which; the encoder has other parameters then."""
    small = open_encoder("clip:mini", image_size=32)
    store = make_store(tmp_path / "s.parquet", 3, card=replace(small.card, precision="bfloat16"))
    asking = open_for_query(store, "text")
    expected = small.encode_text(small.tokenize(["a cup"]))[0]
    np.testing.assert_allclose(asking.text("a cup"), expected, atol=1e-6)
    Image.new("RGB", (50, 40), (9, 90, 200)).save(tmp_path / "p.png")
    assert asking.image(tmp_path / "p.png").shape == (96,)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["clip:ViT-B-32/openai", "sbert:nobody/nothing", "clip:hf:nobody/nothing",
             "timm:resnet18", "torchvision:resnet18", "vlmo"]
)  # fmt: skip
def test_nothing_is_fetched(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    asked: list[object] = []

    def refuse(*given: object, **_: object) -> None:
        asked.append(given)
        raise OSError("no network in this test")

    for where, what in ((socket, "create_connection"), (socket.socket, "connect"),
                        (socket, "getaddrinfo")):  # fmt: skip
        monkeypatch.setattr(where, what, refuse)
    opening = urllib.request.OpenerDirector.open
    store = store_of(tmp_path, name=name)
    with pytest.raises(EncoderError, match=r"not all on this machine; --fetch"):
        open_for_query(store, "image" if "resnet" in name else "text")
    assert asked == []
    assert urllib.request.OpenerDirector.open is opening
