"""Small encoders of each library that a record names, with drawn weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from safetensors.torch import save_file

from mmx.extract.encoder import Encoder
from mmx.extract.encoders import open_encoder
from mmx.extract.encoders.vlmo import open_vlmo
from mmx.extract.vlmo import VLMoConfig
from tests.extract.tiny_checkpoint import CONFIG, VOCABULARY, weights
from tests.extract.tiny_clip import hugging_face_clip, sentence_clip
from tests.extract.tiny_vlmo import ABSPOS

TEXTS = ["a red leather bag", "blue", "the shoes of the cafe"]
Opened = Callable[..., Encoder]  # takes the rest of open_encoder's options
ABSOLUTE = VLMoConfig(**{**vars(ABSPOS), "max_text_len": 40})


def _network(spec: str, model: torch.nn.Module, folder: Path, **options: Any) -> Opened:
    save_file(model.state_dict(), folder / "weights.safetensors")
    return lambda **more: open_encoder(
        spec, weights=folder / "weights.safetensors", **options, **more
    )


def _vlmo(folder: Path, config: VLMoConfig) -> Opened:
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    path = weights(folder, config)
    return lambda **more: open_vlmo(
        "vlmo", path, tokenizer=folder / "vocab.txt", config=config, **more
    )


def _timm(folder: Path, name: str) -> Opened:
    return _network(f"timm:{name}", timm.create_model(name), folder)


def _torchvision(folder: Path) -> Opened:
    net = torchvision.models.get_model("squeezenet1_1", weights=None)
    return _network("torchvision:squeezenet1_1", net, folder, image_size=64, resize=64)


def _sentence(folder: Path) -> Opened:
    path = sentence_clip(hugging_face_clip(folder / "clip"), folder / "whole")
    return lambda **more: open_encoder(f"sbert:{path}", **more)


def _hugging_face(folder: Path) -> Opened:
    path = hugging_face_clip(folder)
    return lambda **more: open_encoder(f"clip:hf:{path}", **more)


MADE: dict[str, list[Callable[[Path], Opened]]] = {  # of every library
    "open_clip": [lambda folder: lambda **more: open_encoder("clip:mini", **more)],
    "transformers": [_hugging_face],
    "timm": [lambda folder: _timm(folder, "test_vit"), lambda folder: _timm(folder, "test_resnet")],
    "torchvision": [_torchvision],
    "sentence-transformers": [_sentence],
    "mmx": [lambda folder: _vlmo(folder, CONFIG), lambda folder: _vlmo(folder, ABSOLUTE)],
}
CASES = [(name, number) for name, made in MADE.items() for number in range(len(made))]


def passes(encoder: Encoder) -> dict[str, np.ndarray]:
    """The vectors of made-up pictures and of TEXTS, by modality."""
    found, dimensions = {}, encoder.card.dimensions
    batch = encoder.tokenize(TEXTS) if dimensions.keys() != {"image"} else None
    pixels = np.zeros(0)
    if encoder.image_rule is not None:
        side = encoder.image_rule.size
        random = np.random.default_rng(0)
        pixels = random.integers(0, 256, (len(TEXTS), side, side, 3), dtype=np.uint8)
    if "image" in dimensions:
        found["image"] = encoder.encode_image(pixels)
    if batch is not None and "text" in dimensions:
        found["text"] = encoder.encode_text(batch)
    if batch is not None and "fused" in dimensions:
        found["fused"] = encoder.encode_fused(pixels, batch)
    return found
