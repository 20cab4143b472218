"""The best inner products of many users, without keeping the products.

Items are multiplied in blocks, the longest vectors first. Of every ``GROUP`` products only the
largest is compared with the user's K-th best so far, and only of groups that reach it are the
products looked at one by one. A product is at most the lengths multiplied, so a user who has K
better ones needs no more blocks: with trained embeddings, whose lengths differ, few products are
computed at all. No item is left out that belongs to the list.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from mmx.recommend.best import LEAST, Best
from mmx.recommend.interactions import UserItems
from mmx.recommend.threads import in_blocks
from mmx.recommend.ties import SPARE, UserItemVectors, settled
from mmx.search.products import inner_products

BLOCK = 2048  # items at once, about: as many as leave the products in the cache
PART = 1024  # items of one matrix product
CELLS = 1 << 20  # products at once in one thread
USERS = 512  # at once, at most
ALIKE = 16  # of so many the matrix product has full tiles, so equal vectors get equal scores
GROUP = 16  # items of which only the best is compared
COARSER = 4  # groups together, for the first bound
WIDE = 32  # items for each of the K best, from which blocks are worth it
ROUNDING = 1.001  # of a product of float32, relative to the lengths; enough for 8,000 numbers


def best_products(
    users: np.ndarray, items: np.ndarray, pool: np.ndarray, k: int, hidden: UserItems
) -> tuple[np.ndarray, np.ndarray]:
    """Items and scores (n, k) of the best of ``pool`` for (n, d) users, in items (m, d).

    ``hidden`` has a row for each of the n users: items not in the list. Of equal scores the
    lower number comes first; -1 and -inf where there are no more.
    """
    of_items, of_users = lengths_of(items), lengths_of(users)
    pool = pool[np.argsort(-of_items[pool], kind="stable")]
    lengths, most = of_items[pool], of_users * ROUNDING
    best = Best.none(len(users), min(k + SPARE, len(pool)))
    parts, part = _cut(len(pool), k)
    step = max(ALIKE, min(USERS, CELLS // (parts * part) // ALIKE * ALIKE))
    masks, buffers = Masks.of(hidden, pool, parts * part), Buffers(parts * part * step)
    for number, start in enumerate(range(0, len(pool), parts * part)):
        active = np.flatnonzero(most * lengths[start] >= best.least)
        if not len(active):
            break
        numbers = pool[start : start + parts * part]
        block = ItemBlock(users, items, numbers, part, active, *masks.block(number, active))
        in_blocks(partial(block.search, best=best, buffers=buffers), len(active), step)
    return settled(UserItemVectors(users, items, of_users, of_items), best, k, hidden, pool)


def searched_products(
    users: np.ndarray,
    items: np.ndarray,
    of_items: np.ndarray,
    pool: np.ndarray,
    k: int,
    hidden: UserItems,
) -> tuple[np.ndarray, np.ndarray]:
    """The same for a few users by one search of FAISS; ``of_items`` (m,) are the items' lengths.

    Memory is that of a search for as many items as the list and any user's hidden ones.
    """
    best = Best.none(len(users), min(k + SPARE, len(pool)))
    if len(users):
        candidates = items if len(pool) == len(items) else items[pool]
        fetch = min(best.keys.shape[1] + int(hidden.counts.max()), len(pool))
        scores, places = inner_products(users, candidates, fetch)
        found = pool[places]
        row, column = np.nonzero(~_are_hidden(found, hidden))
        best.add(np.arange(len(users)), row, scores[row, column], found[row, column])
    return settled(
        UserItemVectors(users, items, lengths_of(users), of_items), best, k, hidden, pool
    )


def _are_hidden(items: np.ndarray, hidden: UserItems) -> np.ndarray:
    """(n, m) bool of (n, m) items: which are hidden from the user of the row."""
    keys = np.arange(len(items))[:, None] * hidden.n_items + items
    known = np.append(hidden.keys, -1)
    return np.asarray(known[np.searchsorted(hidden.keys, keys)] == keys)


def lengths_of(rows: np.ndarray) -> np.ndarray:
    """(n,) of (n, d)."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows)))


def _cut(m: int, k: int) -> tuple[int, int]:
    """Parts of a block, and items of a part: equal ones for m items."""
    blocks = -(-m // max(BLOCK, WIDE * k))
    parts = -(-m // (blocks * PART))
    return parts, -(-m // (blocks * parts * GROUP)) * GROUP


class Buffers:
    """Arrays of the same size that threads take and put back: new memory costs more than adding."""

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.free: deque[np.ndarray] = deque()

    @contextmanager
    def one(self) -> Iterator[np.ndarray]:
        """(cells,) float32."""
        try:
            array = self.free.pop()
        except IndexError:
            array = np.empty(self.cells, np.float32)
        yield array
        self.free.append(array)


@dataclass(frozen=True)
class Masks:
    """The hidden pairs by block, in each by user."""

    users: np.ndarray  # (pairs,)
    places: np.ndarray  # (pairs,) in the block
    bounds: np.ndarray  # (blocks + 1,)

    @classmethod
    def of(cls, hidden: UserItems, pool: np.ndarray, size: int) -> Masks:
        """Of blocks of ``size`` items of a pool; what is not in it needs no mask."""
        place = np.full(hidden.n_items, -1)
        place[pool] = np.arange(len(pool))
        places = place[hidden.indices]
        known = np.flatnonzero(places >= 0)
        block, places = np.divmod(places[known], size)
        order = np.argsort(block, kind="stable")
        bounds = np.searchsorted(block[order], np.arange(-(-len(pool) // size) + 1))
        return cls(hidden.users[known[order]], places[order], bounds)

    def block(self, number: int, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the active users: which of them, ascending, and the places."""
        mine = slice(*self.bounds[number : number + 2])
        users, places = self.users[mine], self.places[mine]
        which = np.minimum(np.searchsorted(active, users), len(active) - 1)
        there = active[which] == users
        return which[there], places[there]


@dataclass(frozen=True)
class ItemBlock:
    """A block of items, and the users who may find one of their best there."""

    users: np.ndarray  # (n, d)
    items: np.ndarray  # (m, d)
    numbers: np.ndarray  # (size,) of the block's items
    part: int
    active: np.ndarray  # (a,) users, ascending
    masked: np.ndarray  # (pairs,) which of the active ones, ascending
    places: np.ndarray  # (pairs,) in the block

    @cached_property
    def vectors(self) -> np.ndarray:
        """(parts, part, d); zeros behind the last item."""
        found = np.zeros(
            (-(-len(self.numbers) // self.part), self.part, self.items.shape[1]), np.float32
        )
        found.reshape(-1, found.shape[2])[: len(self.numbers)] = self.items[self.numbers]
        return found

    def search(self, rows: slice, best: Best, buffers: Buffers) -> None:
        """Add what is good enough for some of the active users to their best."""
        users = self.active[rows]
        width = -(-len(users) // ALIKE) * ALIKE
        with buffers.one() as buffer:
            scores = buffer[: self.vectors[..., 0].size * width]
            groups = self._multiply(users, scores.reshape(len(self.vectors), self.part, width))
            scores = scores.reshape(len(self.vectors), GROUP, -1)
            self._mask(rows, width, scores, groups)
            least = np.full(width, np.inf, np.float32)
            least[: len(users)] = best.least[users]
            if (least == LEAST).any():
                least[: len(users)] = np.maximum(
                    least, _kth(groups.reshape(-1, width), best.keys.shape[1])
                )[: len(users)]
            found = self._reaching(scores, groups, least)
        best.add(users, *found)

    def _multiply(self, users: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Fill in (parts, part, width) scores; and return the groups' best.

        (parts, part / GROUP * width): its items are part / GROUP apart, so whole rows are compared.
        """
        queries = np.zeros((scores.shape[2], self.users.shape[1]), np.float32)
        queries[: len(users)] = self.users[users]
        groups = np.empty((len(scores), scores[0].size // GROUP), np.float32)
        for number, vectors in enumerate(self.vectors):
            np.matmul(vectors, queries.T, out=scores[number])
            scores[number, max(len(self.numbers) - number * self.part, 0) :] = -np.inf
            scores[number].reshape(GROUP, -1).max(axis=0, out=groups[number])
        return groups

    def _mask(self, rows: slice, width: int, scores: np.ndarray, groups: np.ndarray) -> None:
        mine = slice(*np.searchsorted(self.masked, (rows.start, rows.stop)))
        part, place = np.divmod(self.places[mine], self.part)
        nth, place = np.divmod(place, self.part // GROUP)
        place = place * width + self.masked[mine] - rows.start
        scores[part, nth, place] = -np.inf
        groups[part, place] = _members(scores, part, place).max(axis=0)

    def _reaching(
        self, scores: np.ndarray, groups: np.ndarray, least: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of every score that reaches its user's least: the user's place, the score, the item."""
        width, across = len(least), groups.shape[1]
        part, place = np.divmod(np.flatnonzero(groups.reshape(-1, width) >= least), across)
        user = place % width
        values = _members(scores, part, place)
        nth, which = np.divmod(np.flatnonzero(values >= least[user]), len(part))
        inside = part * self.part + place // width
        items = self.numbers[inside[which] + nth * (across // width)]
        return user[which], values[nth, which], items


def _members(scores: np.ndarray, part: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(GROUP, n) scores of n groups."""
    across = scores.shape[2]
    first = part * (GROUP * across) + place
    return scores.ravel().take(first + np.arange(GROUP)[:, None] * across)


def _kth(groups: np.ndarray, k: int) -> np.ndarray:
    """(n, width) → (width,): at least k are at or above it; LEAST where that is not known."""
    merge = min(COARSER, len(groups) // (2 * k))
    if merge > 1:  # fewer to select from, and hardly a lower bound
        rows = len(groups) // merge
        groups = groups[: rows * merge].reshape(merge, rows, -1).max(axis=0)
    if len(groups) < k:
        return np.full(groups.shape[1], LEAST)
    across = np.ascontiguousarray(groups.T)
    across.partition(across.shape[1] - k, axis=1)
    return np.maximum(across[:, -k], LEAST)
