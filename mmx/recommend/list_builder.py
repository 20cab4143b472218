"""The lists of some users: ranked, thinned out, filled up and explained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mmx.recommend.candidates import Candidates
from mmx.recommend.diversity import mmr, pool_size, reach_of, within_cap
from mmx.recommend.fallback import filled_up
from mmx.recommend.interactions import UserItems
from mmx.recommend.item_vectors import ItemVectors
from mmx.recommend.list_tables import table_of
from mmx.recommend.reasons import closest
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.run import Run
from mmx.recommend.scoring import Ranking, Scorer, rank

CELLS = 1 << 22  # of candidates at once


@dataclass(frozen=True)
class Shared:
    """What the lists of all users have in common."""

    run: Run
    options: RecommendOptions
    candidates: Candidates
    popular: np.ndarray | None  # item numbers that fill short lists, best first
    vectors: ItemVectors | None

    @property
    def width(self) -> int:
        """Items of the longest list there can be."""
        return min(self.options.k, self.candidates.count(self.run))


@dataclass(frozen=True)
class Builder:
    """Makes lists of users, whose numbers are those of the scorer, ``hidden`` and ``history``."""

    shared: Shared
    scorer: Scorer
    hidden: UserItems  # items never shown to a user
    history: UserItems  # items that reasons name

    def table(self, users: np.ndarray, ids: pa.Array) -> pa.Table:
        """Lists of (n,) user numbers, -1 for somebody unknown, and their external ids."""
        found = self._known(users)
        filled = self._fill(users, found)
        table = table_of(found, ids, self.shared.run.data.items)
        if filled is not None:
            rows = pa.array(filled[found.items >= 0])
            scores = table["score"].combine_chunks().to_numpy()
            scores = pa.array(scores, pa.float32(), mask=np.asarray(rows))
            table = table.set_column(table.column_names.index("score"), "score", scores)
            table = table.append_column("fallback", rows)
        if self.shared.options.explain:
            for name, column in self._reasons(users, found).items():
                table = table.append_column(name, column)
        return table

    def _known(self, users: np.ndarray) -> Ranking:
        """The model's lists; those of unknown users are empty."""
        shape = (len(users), self.shared.width)
        items, scores = np.full(shape, -1, np.int64), np.full(shape, -np.inf, np.float32)
        rows = np.flatnonzero(users >= 0)
        for part, found in self._ranked(users[rows]):
            width = found.items.shape[1]
            items[rows[part], :width], scores[rows[part], :width] = found.items, found.scores
        return Ranking(items, scores)

    def _ranked(self, users: np.ndarray) -> Iterator[tuple[np.ndarray, Ranking]]:
        """Which of the users, and their lists; more candidates for those whose list is short."""
        options, allowed = self.shared.options, self.shared.candidates.allowed
        left = np.arange(len(users))
        if not options.diversity and options.per is None:
            yield left, rank(self.scorer, users, options.k, self.hidden, allowed)
            return
        reach = pool_size(options.k) if options.diversity else 2 * options.k
        while len(left):
            short = []
            for part in _parts(left, max(1, CELLS // min(reach, self.scorer.n_items))):
                found = rank(self.scorer, users[part], reach, self.hidden, allowed)
                keep = self._fitting(found.items)
                whole = found.items.shape[1] < reach
                done = whole | (found.items[:, -1:] < 0).any(1) | (keep.sum(1) >= options.k)
                yield part[done], self._chosen(found, keep, done)
                short.append(part[~done])
            left, reach = np.concatenate(short), 4 * reach

    def _fitting(self, items: np.ndarray) -> np.ndarray:
        """(n, m) bool: which of ranked items a list without regard to diversity would take."""
        if self.shared.options.per is None:
            return items >= 0
        candidates = self.shared.candidates
        return (items >= 0) & within_cap(candidates.groups_of(items), candidates.most)

    def _chosen(self, found: Ranking, keep: np.ndarray, which: np.ndarray) -> Ranking:
        """The lists of some rows, from all that may be in them."""
        k, rows = min(self.shared.options.k, found.items.shape[1]), np.flatnonzero(which)
        if not self.shared.options.diversity:
            places = np.argsort(~keep[rows], axis=1, kind="stable")[:, :k]
            there = np.take_along_axis(keep[rows], places, 1)
        else:
            places, there = np.zeros((len(rows), k), np.int64), np.zeros((len(rows), k), bool)
            for place, row in enumerate(rows):
                mine = self._diverse(found.items[row], found.scores[row], keep[row])
                places[place, : len(mine)], there[place, : len(mine)] = mine, True
        items = np.take_along_axis(found.items[rows], places, 1)
        scores = np.take_along_axis(found.scores[rows], places, 1)
        return Ranking(np.where(there, items, -1), np.where(there, scores, -np.inf))

    def _diverse(self, items: np.ndarray, scores: np.ndarray, keep: np.ndarray) -> np.ndarray:
        """Places by MMR among the shortest start of a ranking that is long enough for k items."""
        options, candidates, content = (
            self.shared.options, self.shared.candidates, self.shared.vectors,
        )  # fmt: skip
        assert content is not None
        pool = items[: reach_of(keep, options.k)]
        pool = pool[pool >= 0]
        groups = None if options.per is None else candidates.groups_of(pool)
        vectors = content.together(pool)
        most = candidates.most
        return mmr(scores[: len(pool)], vectors, options.k, options.diversity, groups, most)

    def _fill(self, users: np.ndarray, found: Ranking) -> np.ndarray | None:
        """Fill lists that are short, in place; (n, K) bool: where. None without a fallback."""
        if self.shared.popular is None:
            return None
        filled = np.zeros(found.items.shape, dtype=bool)
        candidates = self.shared.candidates
        for row in np.flatnonzero((found.items < 0).any(1)):
            mine = found.items[row][found.items[row] >= 0]
            more = filled_up(
                mine, self.shared.popular, _items_of(self.hidden, users[row]),
                self.shared.width, candidates.groups, candidates.most,
            )  # fmt: skip
            place = slice(len(mine), len(mine) + len(more))
            found.items[row, place], filled[row, place] = more, True
        return filled

    def _reasons(self, users: np.ndarray, found: Ranking) -> dict[str, pa.Array]:
        """Columns that say which of the user's items each item is closest to, and by what."""
        content = self.shared.vectors
        assert content is not None
        names = list(content.matrices)
        because, by, alike = [], [], []
        for user, row in zip(users, found.items, strict=True):
            shown, history = row[row >= 0], _items_of(self.history, user)
            same = shown[:, None] == history
            reasons = closest(content.rows(shown), content.rows(history), same)
            because.append(np.where(reasons.places < 0, -1, np.append(history, -1)[reasons.places]))
            by.append(reasons.modalities)
            alike.append(reasons.similarities)
        items, modalities, values = (
            np.concatenate([np.zeros(0, kind), *parts])
            for parts, kind in ((because, np.int64), (by, np.int64), (alike, np.float32))
        )
        return {
            "because_item": _taken(self.shared.run.data.items.ids, items),
            "because_modality": _taken(pa.array(names, pa.string()), modalities),
            "similarity": pa.array(values, pa.float32(), mask=np.isnan(values)),
        }


def _items_of(matrix: UserItems, user: int) -> np.ndarray:
    """A user's items; none of somebody unknown."""
    start, end = matrix.indptr[[user, user + 1]] if user >= 0 else (0, 0)
    return matrix.indices[start:end]


def _taken(values: pa.Array, places: np.ndarray) -> pa.Array:
    """The values of some places; null where a place is -1."""
    return values.take(pa.array(places, mask=places < 0))


def _parts(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
