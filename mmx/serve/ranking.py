"""From the scores of a run to the list that was wanted: diverse, capped, with reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.errors import OptionError, suggestion
from mmx.recommend.diversity import UNCAPPED, mmr, pool_size, reach_of, units, within_cap
from mmx.recommend.fallback import popular
from mmx.recommend.reasons import closest
from mmx.recommend.scoring import Ranking
from mmx.serve.filters import Filter, kind_of
from mmx.serve.listing import Listing, listing
from mmx.serve.runs import ServedRun
from mmx.serve.snapshot import SHOWN, Snapshot

WIDER = 4  # how many times more candidates are looked at where a cap leaves too few
POPULAR = "popular items: "


@dataclass(frozen=True)
class Wanted:
    """How a list of recommendations is to be."""

    k: int
    filters: tuple[Filter, ...] = ()
    explain: bool = False
    diversity: float = 0.0
    per: tuple[str, int] | None = None  # column, and most items of a value
    run: str | None = None

    @property
    def key(self) -> str:
        """Equal of equal ones."""
        return repr(self)

    @property
    def candidates(self) -> int:
        """How many of the best items the list is chosen from."""
        return pool_size(self.k) if self.diversity or self.per else self.k


@dataclass(frozen=True)
class Chooser:
    """Makes lists of one run as they are wanted."""

    now: Snapshot
    run: ServedRun
    wanted: Wanted
    allowed: np.ndarray | None  # (items,) bool

    def finished(
        self, found: Ranking, row: int, history: np.ndarray, wider: Callable[[int], Ranking]
    ) -> Listing:
        """The list of one user from the candidates in a row of ``found``.

        ``history`` are numbers of the user's items; ``wider`` ranks more candidates of the user.
        """
        items, scores = _there(found, row)
        places = self._chosen(items, scores)
        size = self.wanted.candidates
        while len(places) < self.wanted.k and size <= len(items):
            size *= WIDER
            items, scores = _there(wider(size), 0)
            places = self._chosen(items, scores)
        if not len(items):
            return self.popular("the model knows nothing of this user", history)
        return self._listed(items[places], scores[places], history)

    def wider(self, user: int) -> Callable[[int], Ranking]:
        """What ranks more candidates of a user."""
        return lambda size: self.run.lists(np.array([user]), size, self.allowed)

    def popular(self, why: str, hidden: np.ndarray) -> Listing:
        """What most users took in training; the score is how many."""
        order = popular(self.run.run.data.train, self.allowed)
        order = order[~np.isin(order, hidden)]
        if self.wanted.per:
            groups = self._groups(self.wanted.per[0])[order]
            order = order[within_cap(groups[None], self.wanted.per[1])[0]]
        order = order[: self.wanted.k]
        counts = self.run.run.data.train.item_counts[order]
        found = self._listed(order, counts.astype(np.float32), hidden)
        found.note = POPULAR + why
        return found

    def _chosen(self, items: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Places of the candidates that are shown, in their order."""
        k, per = self.wanted.k, self.wanted.per
        groups = None if per is None else self._groups(per[0])[items]
        if self.wanted.diversity:
            return self._diverse(items, scores, groups, per[1] if per else 0)
        if groups is None or per is None:
            return np.arange(min(k, len(items)))
        return np.flatnonzero(within_cap(groups[None], per[1])[0])[:k]

    def _diverse(
        self, items: np.ndarray, scores: np.ndarray, groups: np.ndarray | None, most: int
    ) -> np.ndarray:
        """Places by MMR, among no more candidates than it needs."""
        k = self.wanted.k
        if groups is not None:
            reach = reach_of(within_cap(groups[None], most)[0], k)
            items, scores, groups = items[:reach], scores[:reach], groups[:reach]
        return mmr(scores, self._vectors(items), k, self.wanted.diversity, groups, most)

    def _groups(self, column: str) -> np.ndarray:
        """(items,) number of the value that each item of the run has in a column."""
        return np.asarray(self.now.once(
            ("groups", self.run.name, column), lambda: _codes(self.now, self.run, column)
        ))  # fmt: skip

    def _vectors(self, items: np.ndarray) -> np.ndarray:
        """(n, d) vectors of items of the run, as ``ItemVectors.together`` has them."""
        ids = [self.run.ids[number] for number in items.tolist()]
        names = self.now.modalities or (None,)  # without a store the error says so
        return np.concatenate([units(self.now.vectors(name, ids)) for name in names], axis=1)

    def _listed(self, items: np.ndarray, scores: np.ndarray, history: np.ndarray) -> Listing:
        ids = [self.run.ids[number] for number in items.tolist()]
        answer = listing(self.now.items, ids, scores.tolist())
        if self.wanted.explain and len(items) and len(history):
            self._explain(answer, [self.run.ids[number] for number in history.tolist()])
        return answer

    def _explain(self, answer: Listing, history: list[str]) -> None:
        """Say of each row which item of the history it is closest to."""
        names, ids = self.now.modalities, answer.ids
        shown = {name: self.now.vectors(name, ids) for name in names}
        own = {name: self.now.vectors(name, history) for name in names}
        same = np.array(ids, object)[:, None] == np.array(history, object)
        found = closest(shown, own, same)
        for place in np.flatnonzero(found.places >= 0).tolist():
            item = history[found.places[place]]
            answer.reasons[place] = {
                "modality": names[found.modalities[place]], "item_id": item,
                "title": self.now.items.title(item),
                "similarity": round(float(found.similarities[place]), 6),
            }  # fmt: skip


def _there(found: Ranking, row: int) -> tuple[np.ndarray, np.ndarray]:
    there = found.items[row] >= 0
    return found.items[row][there], found.scores[row][there]


def _codes(now: Snapshot, run: ServedRun, column: str) -> np.ndarray:
    table = now.items.table
    known = [field.name for field in table.schema if kind_of(field.type)]
    if column not in known:
        raise OptionError(f"per: {column[:SHOWN]!r} is not a column{suggestion(column, known)}")
    values = table[column].combine_chunks()
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    codes = pc.fill_null(values.indices, UNCAPPED).to_numpy()
    return np.append(codes, UNCAPPED)[now.items.rows(run.ids)]
