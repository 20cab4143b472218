"""May an extraction go on over the store that stands at its target?"""

from __future__ import annotations

from pathlib import Path

from mmx.cache.card import EncoderCard
from mmx.cache.store import open_store
from mmx.errors import StoreError

DECODED = {
    "exact": "with --exact",
    "gpu": "with --gpu-decode",
    "fast": "without --exact and --gpu-decode",
}


def check_store(out: Path, card: EncoderCard, dtype: str) -> None:
    """Raise StoreError when the store at ``out`` is of another encoder, or of other numbers."""
    if not out.exists():
        return
    store = open_store(out)
    differing = store.card.differences(card)
    if differing:
        hint = "" if "architecture" in differing else _decoding_hint(store.card, card)
        raise StoreError(
            f"{out} was made by {store.card.name} ({store.card.precision}) and differs in "
            f"{', '.join(differing)}; {hint}"
            "set --out elsewhere, or --overwrite"
        )
    if store.dtype != dtype:
        raise StoreError(f"{out} holds {store.dtype}; --dtype {store.dtype}, or --overwrite")


def _decoding_hint(there: EncoderCard, here: EncoderCard) -> str:
    """How the pictures of the store were decoded, where both have some and that differs."""
    if there.image_rule is None or here.image_rule is None:
        return ""
    was, now = (rule.get("decode", "exact") for rule in (there.image_rule, here.image_rule))
    return "" if was == now else f"its pictures were decoded {DECODED[was]}; "
