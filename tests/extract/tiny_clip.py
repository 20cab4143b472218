"""A tiny CLIP of random weights, as transformers and sentence-transformers keep it."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer

from tests.extract.kit import word_tokenizer

LIMIT = 20  # tokens
SIZES = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 2}


def hugging_face_clip(folder: Path) -> Path:
    """Model, tokenizer and image processor in the layout of the hub."""
    text = SIZES | {"max_position_embeddings": LIMIT, "vocab_size": 10, "eos_token_id": 1}
    config = transformers.CLIPConfig(
        text_config=text | {"bos_token_id": 0, "pad_token_id": 0},
        vision_config=SIZES | {"image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    torch.manual_seed(1)
    transformers.CLIPModel(config).save_pretrained(folder)
    side = {"height": 32, "width": 32}
    pictures = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=side)
    words = word_tokenizer()
    words.model_max_length = LIMIT
    transformers.CLIPProcessor(pictures, words).save_pretrained(folder)
    return folder


def sentence_clip(clip: Path, folder: Path, *, routed: bool = False) -> Path:
    """The same as a SentenceTransformer that takes pictures and texts; ``routed``: by a Router."""
    first: torch.nn.Module = Transformer(str(clip))
    if routed:
        routes = {"see": [Transformer(str(clip))], "read": [first]}
        mappings = {(None, "text"): "read", (None, "image"): "see"}
        first = Router(routes, route_mappings=mappings)
    SentenceTransformer(modules=[first], device="cpu").save(str(folder))
    return folder


def text_vectors(clip: Path, texts: list[str]) -> torch.Tensor:
    """(B, d) by transformers itself, which guesses nothing."""
    model = transformers.CLIPModel.from_pretrained(clip).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(clip)
    tokens = tokenizer(
        texts, padding=True, truncation=True, max_length=LIMIT, return_tensors="pt",
        return_token_type_ids=False,
    )  # fmt: skip
    with torch.inference_mode():
        return model.get_text_features(**tokens).pooler_output
