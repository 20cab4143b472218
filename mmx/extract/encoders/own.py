"""Encoders of the user's own: of a file or module that the user named, or an installed package.

The class is called with the ``Request``, after the options that it does not name in ``takes``
were refused. Its card gets the name and the SHA-256 of the code, and with them the store.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np

from mmx.cache.card import EncoderCard
from mmx.errors import EncoderError, OptionError, out_of_memory
from mmx.extract.encoder import Encoder, TextBatch
from mmx.extract.encoders.request import Request
from mmx.extract.pictures.images import ImageRule
from mmx.own.member import Member


def open_own(request: Request, member: Member, kind: Any) -> OwnEncoder:
    """An instance of the class. Raises EncoderError for what is not an Encoder, OptionError."""
    if not (isinstance(kind, type) and issubclass(kind, Encoder)):
        raise EncoderError(f"{member.name} is not a class of encoders; a subclass of mmx.Encoder "
                           "is expected")  # fmt: skip
    request.only(*(name for name in kind.takes if name != "weights"))
    if request.weights is not None and "weights" not in kind.takes:
        raise OptionError(f"--weights is not used by {member.name}; drop it")
    make: Any = kind  # the base class takes nothing
    with member.blamed(EncoderError, "__init__", out_of_memory):
        inner = make(request)
    encoder = OwnEncoder(inner, member)
    _check_card(encoder.card, encoder.image_rule, request)
    return encoder


class OwnEncoder(Encoder):
    """Calls the user's encoder: an error in it is one line that names the file and the pass."""

    def __init__(self, inner: Encoder, member: Member) -> None:
        self.inner, self.member = inner, member
        with self._blamed("__init__"):
            card, self.image_rule, self.hardware = inner.card, inner.image_rule, inner.hardware
        self._must_be("card", card, EncoderCard)
        if self.image_rule is not None:
            self._must_be("image_rule", self.image_rule, ImageRule)
        rule = None if self.image_rule is None else self.image_rule.as_dict()
        extra = {**card.extra, "code": member.record()}
        self.card = replace(card, name=member.name, image_rule=rule, extra=extra)

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """See ``Encoder``."""
        return self._vectors("encode_image", pixels)

    def tokenize(self, texts: list[str]) -> TextBatch:
        """See ``Encoder``."""
        with self._blamed("tokenize"):
            batch = self.inner.tokenize(texts)
        self._must_be("tokenize", batch, TextBatch)
        for name in ("count", "truncated"):
            found = np.shape(getattr(batch, name))
            if found != (len(texts),):
                raise EncoderError(f"{self.member.name}.tokenize gave {name} of shape {found}; "
                                   f"({len(texts)},) is expected")  # fmt: skip
        return batch

    def encode_text(self, batch: TextBatch) -> np.ndarray:
        """See ``Encoder``."""
        return self._vectors("encode_text", batch)

    def encode_fused(self, pixels: np.ndarray, batch: TextBatch) -> np.ndarray:
        """See ``Encoder``."""
        return self._vectors("encode_fused", pixels, batch)

    def in_precision(self, precision: str) -> Encoder | None:
        """See ``Encoder``."""
        with self._blamed("in_precision"):
            found = self.inner.in_precision(precision)
        return None if found is None else self._again("in_precision", found)

    def compiled(self) -> Encoder:
        """See ``Encoder``."""
        with self._blamed("compiled"):
            found = self.inner.compiled()
        return self._again("compiled", found)

    def _again(self, hook: str, found: Any) -> OwnEncoder:
        self._must_be(hook, found, Encoder)
        return OwnEncoder(found, self.member)

    def _vectors(self, hook: str, *given: Any) -> np.ndarray:
        """What a pass gives; shape and numbers are checked by who calls it."""
        run: dict[str, Callable[..., np.ndarray]] = {
            "encode_image": self.inner.encode_image,
            "encode_text": self.inner.encode_text,
            "encode_fused": self.inner.encode_fused,
        }
        with self._blamed(hook):
            found = run[hook](*given)
        self._must_be(hook, found, np.ndarray)
        if not np.issubdtype(found.dtype, np.floating):
            raise EncoderError(f"{self.member.name}.{hook} gave {found.dtype}; float32 is expected")
        return found

    def _blamed(self, hook: str) -> AbstractContextManager[None]:
        return self.member.blamed(EncoderError, hook, out_of_memory)

    def _must_be(self, hook: str, found: object, kind: type) -> None:
        if not isinstance(found, kind):
            raise EncoderError(f"{self.member.name}.{hook} gave a {type(found).__name__}; "
                               f"a {kind.__name__} is expected")  # fmt: skip


def _check_card(card: EncoderCard, rule: ImageRule | None, request: Request) -> None:
    """Raise EncoderError for a card that is wrong, OptionError for one that was not wanted."""
    try:
        card.check()
    except (ValueError, TypeError, AttributeError) as error:
        raise EncoderError(f"{card.name}: its card is wrong: {error}") from error
    if rule is None and {"image", "fused"} & {*card.dimensions}:
        raise EncoderError(f"{card.name} encodes images and has no image_rule")
    if card.precision != request.precision:
        raise OptionError(f"{card.name} computes in {card.precision}; drop --precision")
    if request.modalities is not None and {*request.modalities} != {*card.dimensions}:
        raise OptionError(f"--modalities {', '.join(request.modalities)}: {card.name} encodes "
                          f"{', '.join(card.dimensions)}; drop it")  # fmt: skip
