"""What the server can do, whoever asks: the API and the tools of agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmx.errors import OptionError, StoreError, UnknownIdError
from mmx.recommend.scoring import Ranking
from mmx.search.nearest import Neighbours
from mmx.search.searcher import Searcher
from mmx.serve.filters import Filter
from mmx.serve.listing import Listing, listings
from mmx.serve.options import ServeOptions
from mmx.serve.ranking import Chooser, Wanted
from mmx.serve.snapshot import NO_STORE, SHOWN, NoStoreError, Snapshot
from mmx.serve.stores import Asking, ServedStore
from mmx.serve.work import Batches, Pool

MOST = 200  # items of a list
WAITING = 512  # requests that may wait for a list


class Service:
    """Answers from the newest snapshot; each request uses one from its beginning to its end."""

    def __init__(self, options: ServeOptions, snapshot: Snapshot) -> None:
        self.options, self.snapshot = options, snapshot
        self.problem: str | None = None  # why a newer run or store is not served
        self.swaps = 0
        self.lists = Pool("lists", 1, WAITING)
        self.looks = Pool("looks", 2, 64)
        self.encoders = Pool("encoders", 1, 64)
        self.decoders = Pool("decoders", 1, 16)  # so that words do not wait for large pictures
        self.queries = Pool("sql", 1, 16)  # of its own: one query may take ten seconds
        self._batches = Batches(self.lists)

    @property
    def pools(self) -> list[Pool]:
        """All of them."""
        return [self.lists, self.looks, self.encoders, self.decoders, self.queries]

    def swap(self, snapshot: Snapshot) -> None:
        """Serve this from the next request on."""
        self.snapshot, self.problem = snapshot, None
        self.swaps += 1

    async def recommend(self, user: str, wanted: Wanted) -> Listing:
        """The list of a user. Raises UnknownIdError, OptionError, BusyError."""
        now = self.snapshot
        run = now.run(wanted.run)
        number = run.users.get(user)
        if number is None:
            raise UnknownIdError(f"unknown user: {user[:SHOWN]}")
        key = (id(now), "recommend", wanted.key)

        def work(users: Sequence[int]) -> list[Listing]:
            allowed = now.allowed(run, list(wanted.filters))
            chooser = Chooser(now, run, wanted, allowed)
            numbers = np.array(users, np.int64)
            found = run.lists(numbers, wanted.candidates, allowed)
            return [
                chooser.finished(found, row, run.taken(one), chooser.wider(one))
                for row, one in enumerate(users)
            ]

        answer: Listing = await self._batches.ask(key, work, number)
        return answer

    async def recommend_for(self, items: list[str], wanted: Wanted) -> Listing:
        """The list of a visitor who took some items, or none. Raises RunError too."""
        now = self.snapshot
        run = now.run(wanted.run)
        numbers = [run.items.get(item) for item in items]
        for item, number in zip(items, numbers, strict=True):
            if number is None:
                raise UnknownIdError(f"unknown item: {item[:SHOWN]}")

        def work() -> Listing:
            allowed = now.allowed(run, list(wanted.filters))
            chooser = Chooser(now, run, wanted, allowed)
            known = np.unique([number for number in numbers if number is not None]).astype(np.int64)
            if not len(known):
                return chooser.popular("there is no history", known)
            scorer = run.visitor(known)

            def ranked(size: int) -> Ranking:
                return run.list_of(scorer, size, allowed)

            return chooser.finished(ranked(wanted.candidates), 0, known, ranked)

        return await self.lists.run(work)

    async def similar(
        self, item: str, k: int, modality: str | None, filters: list[Filter]
    ) -> Listing:
        """The items nearest to an item. Raises StoreError for one without a vector."""
        now = self.snapshot
        searcher = now.searcher(modality)
        row = now.row(searcher, item)
        if row is None:
            if item not in now.items.places:
                raise UnknownIdError(f"unknown item: {item[:SHOWN]}")
            raise StoreError(f"{item[:SHOWN]} has no {searcher.modality} vector to search by")
        key = (id(now), "similar", searcher.modality, k, repr(filters))

        def work(rows: Sequence[int]) -> list[Listing]:
            found = searcher.others(np.array(rows, np.int64), k, now.within(searcher, filters))
            return _near(now, searcher, found)

        answer: Listing = await self._batches.ask(key, work, row)
        return answer

    async def search_words(
        self, words: str, k: int, modality: str | None, filters: list[Filter]
    ) -> Listing:
        """The items nearest to words. Raises OptionError, NoEncoderError."""
        now = self.snapshot
        asking, chosen = self._asking(now, "text", modality)
        vector = await self.encoders.run(asking.words, words)
        return await self._search(now, chosen, vector, k, filters)

    async def search_picture(
        self, data: bytes, k: int, modality: str | None, filters: list[Filter]
    ) -> Listing:
        """The items nearest to an encoded picture. Raises ImageError too."""
        now = self.snapshot
        asking, chosen = self._asking(now, "image", modality)
        pixels = await self.decoders.run(asking.pixels, data)
        vector = await self.encoders.run(asking.picture, pixels)
        return await self._search(now, chosen, vector, k, filters)

    async def _search(
        self, now: Snapshot, searcher: Searcher, vector: np.ndarray, k: int, filters: list[Filter]
    ) -> Listing:
        key = (id(now), "search", id(searcher), k, repr(filters))

        def work(vectors: Sequence[np.ndarray]) -> list[Listing]:
            found = searcher.near(np.array(vectors), k, now.within(searcher, filters))
            return _near(now, searcher, found)

        answer: Listing = await self._batches.ask(key, work, vector)
        return answer

    def _asking(self, now: Snapshot, asked: str, modality: str | None) -> tuple[Asking, Searcher]:
        """An encoder for a query and the vectors it is compared with."""
        if not now.stores:
            raise NoStoreError(NO_STORE)
        able = [store for store in now.stores if asked in store.store.card.dimensions]
        store: ServedStore = (able or now.stores)[0]
        known = store.comparable(asked)
        chosen = known[0] if modality is None else modality
        if chosen not in known:
            raise OptionError(f"modality {chosen[:SHOWN]!r} is not compared with such a query; "
                              f"known: {', '.join(known)}")  # fmt: skip
        asking = store.asking[asked]
        if asking.encoder is None:
            raise NoStoreError(asking.reason)
        return asking, store.searchers[chosen]

    async def look(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Something that takes longer than the event loop may wait."""
        return await self.looks.run(work, *arguments)

    async def picture(self, item: str, side: int) -> bytes | None:
        """A JPEG of an item's picture; None where there is none."""
        now = self.snapshot
        name = now.names.get(item)
        if now.pictures is None or name is None:
            return None
        made: bytes | None = await self.looks.run(now.thumbnails.get, now.pictures, name, side)
        return made


def _near(now: Snapshot, searcher: Searcher, found: Neighbours) -> list[Listing]:
    ids = now.ids_of(searcher)
    several = []
    for places, scores in zip(found.places, found.scores, strict=True):
        there = places >= 0
        several.append(([ids[place] for place in places[there].tolist()], scores[there].tolist()))
    return listings(now.items, several)
