"""A dataset whose right answers are known, for the conformance kit of recommenders.

It is five clubs of users who take their own club's items only, so the right items
are known by construction. One user has a single item, each club has an item nobody took,
one item has no image, one no text, one neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmx.cache.card import EncoderCard
from mmx.cache.schema import metadata, store_schema
from mmx.own.code import Codes
from mmx.recommend.features import FeatureSpec
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.models import find_model
from mmx.recommend.options import TrainOptions
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.recommendation import recommend
from mmx.recommend.run import Run

CLUBS, MEMBERS, WARM = 5, 12, 18  # clubs, users of each, items of each that somebody takes
TAKEN = 14  # items a user takes, the last two of them held out
DIMENSIONS = {"image": 12, "text": 7}
COLD = tuple(f"c{club}-cold" for club in range(CLUBS))
NO_IMAGE, NO_TEXT, NEITHER = "c0-i3", "c1-i4", "c2-i5"
LONE_USER = "lone"  # of club 0


@dataclass(frozen=True)
class Place:
    """A dataset directory and the store next to it."""

    data: Path
    store: Path


def item_ids() -> list[str]:
    """Every item, club by club; more of them than users."""
    return [i for c in range(CLUBS) for i in (*(f"c{c}-i{n}" for n in range(WARM)), COLD[c])]


def club_of(identity: str) -> str:
    """The club of an item or a user."""
    return "c0" if identity == LONE_USER else identity.partition("-")[0]


def write_place(directory: Path) -> Place:
    """Write the dataset and its store; the same bytes of content each time."""
    items = item_ids()
    pq.write_table(pa.table({"item_id": items}), directory / "items.parquet")
    pq.write_table(_interactions(), directory / "interactions.parquet")
    store = directory / "toy.parquet"
    pq.write_table(_store(items), store)
    return Place(directory, store)


def trained(
    place: Place,
    model: str | type,
    out: Path,
    *,
    seed: int = 0,
    epochs: int = 40,
    settings: Sequence[str],
    code: Codes = (),
) -> Run:
    """A run of the model on the kit's dataset, with the store where the model takes features."""
    features = [] if find_model(model, code).features == "none" else [FeatureSpec(place.store)]
    options = TrainOptions(epochs=epochs, batch_size=128, lr=0.02, patience=epochs, seed=seed)
    job = TrainJob(place.data, model, features, settings, training=options, code=code)
    return fit(job, out)


def all_scores(run: Run) -> np.ndarray:
    """(users, items)."""
    return run.scorer.scores(np.arange(len(run.data.users)))


def top(run: Run, users: Sequence[str] | None = None, k: int = 5) -> dict[str, list[str]]:
    """user id → best item ids, training items hidden."""
    users = run.data.users.ids.to_pylist() if users is None else users
    table = recommend(run, users, RecommendOptions(k=k, seen="train"))
    lists: dict[str, list[str]] = {user: [] for user in users}
    for user, item in zip(*(table[n].to_pylist() for n in ("user_id", "item_id")), strict=True):
        lists[user].append(item)
    return lists


def right_share(run: Run) -> float:
    """Share of each user's best three items that are of the user's club; by chance a tenth."""
    lists = top(run, k=3)
    right = [club_of(item) == club_of(user) for user, items in lists.items() for item in items]
    return float(np.mean(right))


def _interactions() -> pa.Table:
    """Each member takes most of the club's items, one each held out to validate and test."""
    rows = []
    for club in range(CLUBS):
        for member in range(MEMBERS):
            taken = [(member + n) % WARM for n in range(TAKEN)]
            splits = ["train"] * (TAKEN - 2) + ["valid", "test"]
            rows += [
                (f"c{club}-u{member}", f"c{club}-i{item}", split)
                for item, split in zip(taken, splits, strict=True)
            ]
    rows += [(LONE_USER, "c0-i1", "train"), (LONE_USER, "c0-i2", "test")]
    users, items, split = zip(*rows, strict=True)
    return pa.table({"user_id": users, "item_id": items, "split": split})


def _store(items: list[str]) -> pa.Table:
    """Vectors that point to the item's club, with noise; null where an item has none."""
    card = EncoderCard("toy", "toy", "toy", "toy", dict(DIMENSIONS), False, "float32")
    rng = np.random.default_rng(3)
    columns: dict[str, list[object]] = {"item_id": list(items)}
    absent = {"image": (NO_IMAGE, NEITHER), "text": (NO_TEXT, NEITHER)}
    for modality, d in DIMENSIONS.items():
        middles = {f"c{club}": rng.normal(size=d) for club in range(CLUBS)}
        columns[modality] = [
            None if i in absent[modality] else middles[club_of(i)] + 0.3 * rng.normal(size=d)
            for i in items
        ]
        columns[f"{modality}_status"] = [
            "missing" if v is None else "ok" for v in columns[modality]
        ]
    schema = store_schema(card, "float32")
    for name in schema.names:
        columns.setdefault(name, [None] * len(items))
    table = pa.table([pa.array(columns[f.name], f.type) for f in schema], schema=schema)
    return table.replace_schema_metadata(metadata(card, "float32", "toy"))
