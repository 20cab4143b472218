"""A run that is served: lists of its users and of visitors."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmx.errors import RunError
from mmx.recommend.inductive import newcomers
from mmx.recommend.interactions import UserItems
from mmx.recommend.run import Run, open_run
from mmx.recommend.scoring import Ranking, Scorer, rank

SPLITS = ("train", "valid", "test")


class Visit(NamedTuple):
    """Somebody of whom only some items are known."""

    scorer: Scorer
    history: UserItems


@dataclass(frozen=True)
class ServedRun:
    """A run and what requests look up in it."""

    name: str
    run: Run
    made: datetime.datetime

    @cached_property
    def users(self) -> dict[str, int]:
        """Numbers of the users."""
        return {one: number for number, one in enumerate(self.run.data.users.ids.to_pylist())}

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the items by their numbers."""
        ids: list[str] = self.run.data.items.ids.to_pylist()
        return ids

    @cached_property
    def items(self) -> dict[str, int]:
        """Numbers of the items."""
        return {one: number for number, one in enumerate(self.ids)}

    @cached_property
    def seen(self) -> UserItems:
        """What each user took; the run's data put it together each time."""
        return self.run.data.seen

    def lists(self, users: np.ndarray, k: int, allowed: np.ndarray | None) -> Ranking:
        """The best items of users by their numbers; what they took is left out."""
        return rank(self.run.scorer, users, k, self.seen, allowed)

    def taken(self, user: int) -> np.ndarray:
        """Numbers of all items that a user took."""
        return self.seen.indices[self.seen.indptr[user] : self.seen.indptr[user + 1]]

    def visitor(self, items: np.ndarray) -> Visit:
        """A visitor who took items of these numbers. Raises RunError where it cannot be scored."""
        if not self.run.can("new_users"):
            raise RunError(f"{self.run.config['model']} cannot score visitors by their items; "
                           "name another run")  # fmt: skip
        history = UserItems.from_pairs(np.zeros(len(items), np.int64), items, 1, len(self.ids))
        return Visit(newcomers(self.run.scorer, self.run.data.train, history), history)

    def list_of(self, visit: Visit, k: int, allowed: np.ndarray | None) -> Ranking:
        """The best items of a visitor; what the visitor took is left out."""
        return rank(visit.scorer, np.zeros(1, np.int64), k, visit.history, allowed)

    def history(self, user: int) -> list[tuple[str, str]]:
        """Item and split of all that a user took."""
        data = self.run.data
        parts = [(data.train, "train"), (data.valid, "valid"), (data.test, "test")]
        if data.fold_in is not None:
            parts.insert(1, (data.fold_in, "train"))
        return [
            (self.ids[item], split)
            for matrix, split in parts
            for item in matrix.indices[matrix.indptr[user] : matrix.indptr[user + 1]].tolist()
        ]

    def described(self) -> dict[str, Any]:
        """For /runs."""
        config, seconds = self.run.config, (self.run.config.get("cost") or {}).get("seconds")
        features = [f"{one.get('modality')} of {Path(str(one.get('store'))).name}"
                    for one in config.get("features") or []]  # fmt: skip
        return {
            "name": self.name,
            "model": str(config["model"]),
            "metrics": self.run.metrics.get("test", {}),
            "features": features,
            "created": self.made.isoformat(timespec="seconds"),
            "seconds": seconds if isinstance(seconds, (int, float)) else None,
        }


def load_run(path: Path, name: str) -> ServedRun:
    """Open a run, and make what requests look up. Raises RunError."""
    run = open_run(path)
    made = datetime.datetime.fromtimestamp((path / "config.json").stat().st_mtime, datetime.UTC)
    found = ServedRun(name, run, made)
    _ = found.users, found.items, found.seen
    if len(found.users):
        found.lists(np.zeros(1, np.int64), 1, None)  # what it keeps for later requests
    return found
