"""A store that is served: its vectors in memory, and its encoder for words and pictures."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmx.cache.health import Health, health
from mmx.cache.store import Store, open_store
from mmx.errors import MmxError, first_line
from mmx.extract.asking import QueryEncoder, comparable, open_for_query
from mmx.files import Place
from mmx.search.searcher import Searcher, open_searcher

EXACT = 4_000_000  # pixels; a larger picture is decoded the fast way
REMEMBERED = 2048  # queries whose vectors are kept


@dataclass
class Asking:
    """An encoder that encodes one query after the other, or the reason why there is none."""

    encoder: QueryEncoder | None
    reason: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: OrderedDict[str, np.ndarray] = field(default_factory=OrderedDict)

    def words(self, text: str) -> np.ndarray:
        """(d,). Raises OptionError for a text without a visible character."""
        assert self.encoder is not None
        with self._lock:
            if text not in self._known:
                self._known[text] = self.encoder.text(text)
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
            return self._known[text]

    def pixels(self, data: bytes) -> np.ndarray:
        """(size, size, 3) uint8 of an encoded picture; needs no turn. Raises ImageError."""
        assert self.encoder is not None
        return self.encoder.pixels(data, EXACT)

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """(d,) of a picture's pixels."""
        assert self.encoder is not None
        with self._lock:
            return self.encoder.decoded(pixels)


@dataclass(frozen=True)
class ServedStore:
    """Everything of one store that requests read."""

    store: Store
    searchers: dict[str, Searcher]
    asking: dict[str, Asking]  # "text" and "image"
    health: Health

    @property
    def name(self) -> str:
        """What it is called."""
        return self.store.path.name

    def comparable(self, asked: str) -> list[str]:
        """Modalities that a query of a kind is compared with. Raises OptionError."""
        return comparable(self.store.card, asked)


def load_store(place: Place | str, options: dict[str, Any], before: ServedStore | None,
               log: Callable[[str], None]) -> ServedStore:  # fmt: skip
    """Read all vectors and open the encoder; that of ``before`` is kept where it is the same.

    Raises StoreError and its kind. An encoder that cannot be opened is no error here.
    """
    store = open_store(place)
    searchers = {name: open_searcher(store, name) for name in store.card.modalities}
    same = before is not None and before.store.card == store.card
    asking = before.asking if same and before else _opened(store, options, log)
    return ServedStore(store, searchers, asking, health(store))


def _opened(store: Store, options: dict[str, Any], log: Callable[[str], None]) -> dict[str, Asking]:
    """For words and for pictures; one encoder where it takes both."""
    found: dict[str, Asking] = {}
    for asked in ("text", "image"):
        other = found.get("text")
        if other and other.encoder and asked in store.card.dimensions:
            found[asked] = other
            continue
        try:
            encoder = open_for_query(store, asked, **options)
            found[asked] = Asking(encoder)
            _warm(found[asked], asked)
        except MmxError as error:
            found[asked] = Asking(None, first_line(error))
    for asked in [asked for asked in store.card.dimensions if asked in found]:
        if found[asked].reason:
            what = "words" if asked == "text" else "pictures"
            log(f"search by {what} is off: {found[asked].reason}")
    return found


def _warm(asking: Asking, asked: str) -> None:
    """The first query of an encoder is slow; this one is nobody's."""
    if asked == "text":
        asking.words("warm")
