"""The columns of an embedding store and its metadata.

    item_id                        the identity
    image, text, fused             fixed-size lists of float32 or float16, null where there is none;
                                   any other name (audio, review …) of vectors of other tools
    image_status, text_status …    'ok', 'missing', or the reason why it could not be encoded
    text_tokens, text_truncated    what the tokenizer saw; null without a text
    content_hash                   of the inputs the encoder was given

A store has a column for each modality of its encoder's vectors, and a status for each of its
inputs.
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version

import pyarrow as pa

from mmx.cache.card import EncoderCard
from mmx.cache.modality import MODALITIES
from mmx.errors import StoreError

FORMAT = "1"
DTYPES = {"float32": pa.float32(), "float16": pa.float16()}
OK, MISSING = "ok", "missing"


def inputs(card: EncoderCard) -> tuple[str, ...]:
    """Which of image and text the encoder reads."""
    fused = "fused" in card.dimensions
    return tuple(name for name in ("image", "text") if fused or name in card.dimensions)


def status_columns(card: EncoderCard) -> tuple[str, ...]:
    """Names of the status columns in store order."""
    names = [m for m in MODALITIES if m in inputs(card) or m in card.dimensions]
    names += [m for m in card.dimensions if m not in MODALITIES]
    return tuple(f"{name}_status" for name in names)


def store_schema(card: EncoderCard, dtype: str) -> pa.Schema:
    """The Arrow schema of a store, without metadata. ``dtype`` is "float32" or "float16"."""
    if dtype not in DTYPES:
        raise StoreError(f"--dtype {dtype} is unknown; known: {', '.join(DTYPES)}")
    fields = [pa.field("item_id", pa.string(), nullable=False)]
    fields += [pa.field(m, pa.list_(DTYPES[dtype], d)) for m, d in card.dimensions.items()]
    fields += [pa.field(name, pa.string()) for name in status_columns(card)]
    if "text" in inputs(card):
        fields += [pa.field("text_tokens", pa.int32()), pa.field("text_truncated", pa.bool_())]
    return pa.schema([*fields, pa.field("content_hash", pa.string())])


def metadata(card: EncoderCard, dtype: str, items_fingerprint: str) -> dict[str, str]:
    """The key-value metadata of a finished store."""
    return {
        "mmx.format": FORMAT,
        "mmx.card": card.to_json(),
        "mmx.dtype": dtype,
        "mmx.items": items_fingerprint,
        "mmx.versions": json.dumps(library_versions(), sort_keys=True),
    }


def library_versions() -> dict[str, str]:
    """Versions of what can change a vector's numbers."""
    names = ("mmx", "torch", "torchvision", "open_clip_torch", "timm", "transformers",
             "sentence-transformers", "pillow", "numpy")  # fmt: skip
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
