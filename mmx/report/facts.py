"""What a report says of one run, gathered so that the run itself need not stay in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmx.errors import RunError
from mmx.recommend.groups import items_by_popularity
from mmx.recommend.interactions import Interactions
from mmx.recommend.list_metrics import Lists, beyond_of, groups_of
from mmx.recommend.run import Run, read_table
from mmx.recommend.scoring import rank
from mmx.recommend.validation import VALIDATED_ON, evaluated_users

MOST_USERS = 20_000  # whose lists are ranked; of more test users, a sample
CUTOFFS = (10, 20)
METRIC = VALIDATED_ON  # of the charts over users
BINS = 10


@dataclass(frozen=True)
class Pick:
    """An item in someone's list, and whether they took it: "test", "valid" or "" (no)."""

    item: str
    score: float
    taken: str


@dataclass(frozen=True)
class RunFacts:
    """Of one run."""

    name: str
    path: Path
    config: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    history: pa.Table
    spread: np.ndarray  # (BINS + 1,) users by METRIC: first those at 0, then ten equal bins
    ranked_users: int  # whose lists the figures below are of
    test_users: int
    beyond: dict[str, float]
    groups: list[dict[str, Any]]
    shares: dict[str, tuple[float, float, float]]  # group of items → of catalogue, training, lists
    lists: dict[str, list[Pick]]  # of the example users that it knows


def sampled_lists(run: Run, seed: int, most: int = MOST_USERS) -> Lists:
    """The lists of test users, or of a sample of them."""
    users = evaluated_users(run.data.test, run.data.known)
    if len(users) > most:
        users = np.sort(np.random.default_rng(seed).choice(users, most, replace=False))
    found = rank(run.scorer, users, max(CUTOFFS), run.data.known).items
    return Lists(run, users, found, run.data.test, CUTOFFS)


def facts_of(run: Run, name: str, lists: Lists, people: Sequence[str], k: int) -> RunFacts:
    """Gather what is shown of a run; ``people`` are the example users."""
    return RunFacts(
        name,
        run.path,
        run.config,
        run.metrics,
        read_table(run.path / "history.parquet"),
        _spread(run.path),
        len(lists.users),
        len(evaluated_users(run.data.test, run.data.known)),
        beyond_of(lists),
        groups_of(lists),
        _shares(run.data, lists.ranked[:, : CUTOFFS[-1]]),
        picks(run, people, k),
    )


def picks(run: Run, people: Sequence[str], k: int) -> dict[str, list[Pick]]:
    """The lists of some users as evaluation ranks them: what they trained on is hidden."""
    data, found = run.data, {}
    numbers = data.users.numbers(people, missing="negative")
    for user, number in zip(people, numbers, strict=True):
        if number < 0:
            continue
        one = np.array([number])
        ranked = rank(run.scorer, one, k, data.known)
        there = ranked.items[0] >= 0
        items, scores = ranked.items[0][there], ranked.scores[0][there]
        taken = taken_of(data, one, items)
        ids = data.items.externals(items).to_pylist()
        found[user] = [Pick(*row) for row in zip(ids, scores.tolist(), taken, strict=True)]
    return found


def taken_of(data: Interactions, user: np.ndarray, items: np.ndarray) -> list[str]:
    """In which part of the log a user took each of (n,) items: test, valid, or ""."""
    test, valid = (set(part.rows(user).indices.tolist()) for part in (data.test, data.valid))
    return ["test" if n in test else "valid" if n in valid else "" for n in items.tolist()]


def _spread(path: Path) -> np.ndarray:
    """How many test users have which METRIC. Raises RunError on damage."""
    try:
        with pq.ParquetFile(path / "per_user.parquet", page_checksum_verification=True) as file:
            values = file.read(columns=[METRIC])[METRIC].to_numpy()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise RunError(f"the run {path} is broken: per_user.parquet; train it again") from error
    inner = np.histogram(values[values > 0], BINS, (0, 1))[0]
    return np.concatenate([[int((values == 0).sum())], inner])


def _shares(data: Interactions, ranked: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """Head, torso, tail and cold items: their share of the catalogue, of training, of the lists."""
    counts = data.train.item_counts
    shown = np.bincount(ranked[ranked >= 0], minlength=len(counts))
    groups = {**items_by_popularity(counts), "cold": counts == 0}
    return {
        name: (
            float(mask.mean()) if len(mask) else 0.0,
            float(counts[mask].sum() / max(counts.sum(), 1)),
            float(shown[mask].sum() / max(shown.sum(), 1)),
        )
        for name, mask in groups.items()
    }


def people_of(run: Run, lists: Lists, count: int, seed: int) -> list[str]:
    """Ids of so many of the users, drawn at random."""
    some = min(count, len(lists.users))
    drawn = np.random.default_rng(seed).choice(lists.users, some, replace=False)
    ids: list[str] = run.data.users.externals(np.sort(drawn)).to_pylist()
    return ids


def histories(run: Run, people: Sequence[str], most: int) -> dict[str, tuple[list[str], int]]:
    """What each trained on: the latest items first where there are times, and how many in all."""
    log = read_table(run.path / "interactions.parquet")
    mine = log.filter(pc.is_in(log["user_id"], value_set=pa.array(people, log["user_id"].type)))
    mine = mine.filter(pc.is_in(mine["split"], value_set=pa.array(["train", "fold-in"])))
    if "timestamp" in mine.column_names:
        mine = mine.sort_by([("timestamp", "descending")])
    found: dict[str, list[str]] = {user: [] for user in people}
    for user, item in zip(mine["user_id"].to_pylist(), mine["item_id"].to_pylist(), strict=True):
        found[user].append(item)
    return {user: (items[:most], len(items)) for user, items in found.items()}
