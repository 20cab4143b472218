"""The encoder of a finished store, opened again to encode one query.

A store is data: its card names an encoder, and that name alone neither fetches weights nor runs
code or loads a folder. Whoever asks allows that: ``model`` names the encoder, ``fetch`` allows the
network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmx.cache.card import EncoderCard
from mmx.cache.store import Store
from mmx.devices import AUTO
from mmx.errors import DataError, EncoderError, MmxError, OptionError, StoreError
from mmx.extract.encoder import Encoder, checked
from mmx.extract.encoders import code_of, open_encoder
from mmx.extract.encoders.records import CPU_ONLY
from mmx.extract.encoders.request import MODALITIES
from mmx.extract.hub import without_fetching
from mmx.extract.opening import rule_of
from mmx.extract.pictures.decoding import header, pixels_of
from mmx.extract.pictures.images import ImageRule
from mmx.extract.reasons import ImageError
from mmx.extract.sources.paths import read_bytes
from mmx.extract.stages.load import clean_text
from mmx.logs import log_line

OWN = ("clip", "timm", "torchvision", "sbert", "vlmo", "toy")  # families of mmx's own
JOINT = ("joint image-text space", "projection of the image [CLS]")  # in a card's output
LOOSE = ("precision", "dimensions", "image_rule")  # may differ from the store's card
NAME = 80  # characters of a name that a message shows


@dataclass(frozen=True)
class QueryEncoder:
    """The encoder that made a store, for one query at a time."""

    encoder: Encoder
    card: EncoderCard  # of the store
    log: Callable[[str], None] = log_line

    def text(self, words: str) -> np.ndarray:
        """(d,) float32. Raises OptionError for a text without a visible character.

        ``log`` gets a line where the encoder does not read all of it.
        """
        clean, _ = clean_text(words)
        if clean is None:
            raise OptionError("the query is empty; give words, or the path of a picture")
        batch = self.encoder.tokenize([clean])
        if batch.truncated[0]:
            self.log(f"the encoder reads {batch.count[0]} tokens of the query, not all of it")
        found = self.encoder.encode_text(batch)
        return self._checked(found, "text")

    def image(self, path: Path) -> np.ndarray:
        """(d,) float32 of a picture file. Raises DataError when it is not one."""
        try:
            return self.picture(read_bytes(path.parent, path.name))
        except ImageError as error:
            raise DataError(f"{path}: {error}; a picture is expected") from error

    def picture(self, data: bytes) -> np.ndarray:
        """(d,) float32 of an encoded picture. Raises ImageError when it is not one."""
        return self.decoded(self.pixels(data))

    def pixels(self, data: bytes, exact: int | None = None) -> np.ndarray:
        """(size, size, 3) uint8 of an encoded picture, as the encoder reads it. Raises ImageError.

        A picture of more than ``exact`` pixels is decoded the fast way, so that of a large JPEG a
        part of its pixels is made (``mmx.extract.pictures.decoding``).
        """
        rule = _rule(self.card)
        assert rule is not None
        image = None if exact is None else header(data)
        large = exact is not None and image is not None and image.width * image.height > exact
        if large or rule.decode == "gpu":
            rule = replace(rule, decode="fast")
        return pixels_of(data, rule)

    def decoded(self, pixels: np.ndarray) -> np.ndarray:
        """(d,) float32 of what ``pixels`` returned."""
        return self._checked(self.encoder.encode_image(pixels[None]), "image")

    def _checked(self, found: np.ndarray, modality: str) -> np.ndarray:
        dimension = self.card.dimensions[modality]
        return checked(found, 1, dimension, self.card.name)[0]


def comparable(card: EncoderCard, asked: str) -> list[str]:
    """Modalities of a store that a query of words ("text") or a picture ("image") is compared with.

    The usual one first. Raises OptionError where the encoder does not read such queries.
    """
    have = card.dimensions
    if asked not in have:
        what = "words" if asked == "text" else "pictures"
        raise OptionError(f"{_name(card)} encodes {', '.join(have)}, and no {what}; "
                          f"ask by an item: `mmx similar`")  # fmt: skip
    if "image" in have and "text" in have and any(mark in card.output for mark in JOINT):
        return ["image", "text"]
    return [asked]


def open_for_query(
    store: Store,
    asked: str,
    *,
    model: str | None = None,
    weights: Path | str | None = None,
    device: str = AUTO,
    fetch: bool = False,
    log: Callable[[str], None] = log_line,
) -> QueryEncoder:
    """Open the encoder of a store; ``asked`` is "text" or "image".

    ``model`` is what `mmx extract --model` was given, by default what the store's card says: then
    only an encoder of mmx's own that is no folder of this machine. With ``fetch`` its weights may
    be downloaded. Raises OptionError, EncoderError where it cannot be opened, or is not the one
    that made the store.
    """
    comparable(store.card, asked)
    spec = model or _trusted(store.card)
    options: dict[str, Any] = {"device": "cpu" if spec in CPU_ONLY else device}
    if weights is not None:
        options["weights"] = weights
    if model is not None:
        options["code"] = code_of(model)
    if spec.partition(":")[0] == "vlmo":  # whose card says what it was opened for
        options["modalities"] = [m for m in MODALITIES if m in store.card.dimensions]
    if fetch:
        encoder = _opened(store.card, spec, {**options, "log": log})
    else:
        with without_fetching("--fetch was not given") as tried:
            try:
                encoder = _opened(store.card, spec, {**options, "log": lambda line: None})
            except EncoderError as error:
                if not tried:
                    raise
                raise EncoderError(
                    f"the weights of {spec[:NAME]} are not all on this machine; --fetch downloads "
                    "them, --weights PATH names a file"
                ) from error
    _must_be_of(store, encoder.card, asked, spec)
    return QueryEncoder(encoder, store.card, log)


def _opened(card: EncoderCard, spec: str, options: dict[str, Any]) -> Encoder:
    """The encoder; with the store's size of pictures where it is not the usual one."""
    rule = _rule(card)
    encoder = open_encoder(spec, **options)
    if rule and encoder.image_rule and rule.size != encoder.image_rule.size:
        return open_encoder(spec, image_size=rule.size, **options)
    return encoder


def _rule(card: EncoderCard) -> ImageRule | None:
    try:
        return rule_of(card)
    except (TypeError, MmxError) as error:
        raise StoreError(
            f"the image rule of {_name(card)} in the store is of another version of mmx; "
            "extract it again, or ask by an item: `mmx similar`"
        ) from error


def _trusted(card: EncoderCard) -> str:
    """The encoder that a card names, if the name cannot lead to code or files of this machine."""
    family, _, name = card.name.partition(":")
    inner = name.removeprefix("hf:")
    folder = (family == "sbert" or inner != name) and (
        Path(inner).exists() or inner.startswith(("/", ".", "~"))
    )
    if family not in OWN or "local-dir:" in name or "://" in name or folder:
        raise OptionError(
            f"the store was made by {_name(card)}, which a store alone does not open: it is code "
            "or a folder of this machine; --model NAME allows it"
        )
    return card.name


def _must_be_of(store: Store, found: EncoderCard, asked: str, spec: str) -> None:
    """Raise EncoderError unless vectors of the encoder can be compared with the store's."""
    loose = {*LOOSE, *(("tokenizer", "text_limit") if asked == "image" else ())}
    differing = [name for name in store.card.differences(found) if name not in loose]
    if found.dimensions.get(asked) != store.card.dimensions[asked]:
        differing.append("dimensions")
    if differing:
        raise EncoderError(
            f"{spec[:NAME]} is not the encoder of {store.path}: it differs in "
            f"{', '.join(differing)}; {found.code_hint(store.card)}give the one that "
            "made it (--model, --weights)"
        )


def _name(card: EncoderCard) -> str:
    return card.name if len(card.name) <= NAME else f"{card.name[: NAME - 1]}…"
