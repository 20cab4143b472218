"""What the lists of a run are like, and for whom they are good: beyond one mean over all users."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmx.errors import OptionError
from mmx.recommend import beyond
from mmx.recommend.api import as_cutoffs, opened
from mmx.recommend.categories import categories_of
from mmx.recommend.evaluation import hit_matrix, only
from mmx.recommend.features import load_features
from mmx.recommend.groups import (
    harmonic_mean,
    items_by_popularity,
    items_by_training,
    users_by_activity,
)
from mmx.recommend.interactions import UserItems
from mmx.recommend.job import FeatureSources, as_specs
from mmx.recommend.metrics import CUTOFFS, all_metrics
from mmx.recommend.run import Run
from mmx.recommend.scoring import rank
from mmx.recommend.validation import evaluated_users


@dataclass(frozen=True)
class Lists:
    """The lists that an evaluation of a run ranks."""

    run: Run
    users: np.ndarray  # (n,) user numbers
    ranked: np.ndarray  # (n, K) item numbers, -1 where there is no item
    held_out: UserItems
    cutoffs: tuple[int, ...]

    @classmethod
    def of(cls, run: Run | Path | str, split: str, at: int | Iterable[int]) -> Lists:
        """Those of all users of a split. Raises OptionError, RunError as ``evaluate`` does."""
        cutoffs = as_cutoffs(at)
        run, held_out = opened(run, split)
        users = evaluated_users(held_out, run.data.known)
        ranked = rank(run.scorer, users, max(cutoffs), run.data.known).items
        return cls(run, users, ranked, held_out, cutoffs)


def beyond_accuracy(
    run: Run | Path | str,
    split: str = "test",
    at: int | Iterable[int] = CUTOFFS,
    *,
    stores: FeatureSources = (),
    category: str | None = None,
) -> dict[str, float]:
    """Coverage, Gini index, novelty, popularity and diversity of the lists that are evaluated.

    The definitions are in ``mmx.recommend.beyond``; a name ends in its cut-off: "gini@20".
    ``stores`` are embedding stores and ``category`` a column of the items table, by which
    intra-list diversity is measured: "diversity:image@20", "diversity:brand@20". Raises
    OptionError for an unknown column, StoreError for a store of other items.
    """
    return beyond_of(Lists.of(run, split, at), stores, category)


def beyond_of(
    lists: Lists, stores: FeatureSources = (), category: str | None = None
) -> dict[str, float]:
    """``beyond_accuracy`` of lists that are there."""
    counts, profiles = lists.run.data.train.item_counts, lists.run.data.known.rows(lists.users)
    n_items = len(counts)
    features, _ = load_features(as_specs(stores), lists.run.data.items)
    if category in features:
        raise OptionError(f"--category {category}: --store has vectors of that name, too; choose "
                          "others of its modalities, as STORE:text")  # fmt: skip
    kinds = (
        None
        if category is None
        else categories_of(
            lists.run.items, category, "--category", lists.run.path / "items.parquet"
        )
    )
    found: dict[str, float] = {}
    for k in lists.cutoffs:
        ranked = lists.ranked[:, :k]
        values = {
            "coverage": beyond.coverage(ranked, n_items),
            "gini": beyond.gini(ranked, n_items),
            "novelty": beyond.mean_of(beyond.novelty(ranked, counts)),
            "popularity": beyond.mean_of(beyond.popularity(ranked, counts)),
            "popularity-lift": beyond.popularity_lift(ranked, counts, profiles),
        }
        for name, one in features.items():
            diverse = beyond.diversity_of_vectors(ranked, one.matrix, one.present)
            values[f"diversity:{name}"] = beyond.mean_of(diverse)
        if kinds is not None:
            diverse = beyond.diversity_of_categories(ranked, kinds)
            values[f"diversity:{category}"] = beyond.mean_of(diverse)
        found |= {f"{name}@{k}": value for name, value in values.items()}
    return found


def by_group(
    run: Run | Path | str, split: str = "test", at: int | Iterable[int] = CUTOFFS
) -> list[dict[str, Any]]:
    """The metrics of groups of users and of items, a row each; see ``mmx.recommend.groups``.

    ``by`` is "activity" (few, some, many training items of a user), "popularity" (head, torso,
    tail) or "training" (warm and cold items, and the harmonic mean of both); then come ``group``,
    ``least`` and ``most`` (training items of its users, or interactions of its items), ``users``
    and ``items`` that are measured, and each metric. Of a group of items only its held-out items
    count; all items compete. NaN where a group has nobody to measure.
    """
    return groups_of(Lists.of(run, split, at))


def groups_of(lists: Lists) -> list[dict[str, Any]]:
    """``by_group`` of lists that are there."""
    train, known = lists.run.data.train.item_counts, lists.run.data.known.counts
    rows = []
    for name, mask in users_by_activity(known[lists.users]).items():
        row = {"by": "activity", "group": name} | _bounds(known[lists.users[mask]])
        rows.append(row | _measured(lists, mask, lists.held_out))
    everyone = np.ones(len(lists.users), dtype=bool)
    for by, groups in (("popularity", items_by_popularity), ("training", items_by_training)):
        for name, mask in groups(train).items():
            row = {"by": by, "group": name} | _bounds(train[mask])
            rows.append(row | _measured(lists, everyone, only(lists.held_out, mask)))
    return [*rows, _harmonic(*rows[-2:])]


def _bounds(counts: np.ndarray) -> dict[str, int | None]:
    if not len(counts):
        return {"least": None, "most": None}
    return {"least": int(counts.min()), "most": int(counts.max())}


def _measured(lists: Lists, mask: np.ndarray, held_out: UserItems) -> dict[str, Any]:
    """The means over the masked users who have held-out items."""
    rows = np.flatnonzero(mask & (held_out.counts[lists.users] > 0))
    users = lists.users[rows]
    relevant = held_out.rows(users)
    hits = hit_matrix(lists.ranked[rows], users, held_out)
    values = all_metrics(hits, relevant.counts, lists.cutoffs)
    means = {name: beyond.mean_of(value) for name, value in values.items()}
    return {"users": len(users), "items": len(np.unique(relevant.indices)), **means}


def _harmonic(warm: dict[str, Any], cold: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"by": "training", "group": "harmonic mean", "least": None, "most": None}
    row |= {"users": None, "items": warm["items"] + cold["items"]}
    return row | {n: harmonic_mean(warm[n], cold[n]) for n in warm if "@" in n}
