"""A tiny shop with hostile names, two runs of it, and the store they know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from tests.cache.stores import make_store
from tests.catalogue import plain_catalogue, random_log, write_interactions, write_items

BAD = "<script>alert(1)</script>\"'&]]><img src=x onerror=alert(2)>\x1b[31m"
ITEMS, USERS = 30, 25


def names() -> list[str]:
    """Item ids, every fifth of them hostile."""
    return [f"i{n}{BAD}" if n % 5 == 0 else f"i{n}" for n in range(ITEMS)]


def hostile_world(folder: Path) -> Path:
    """data, store.parquet, runs/knn and runs/popular<b>; pictures of most items."""
    plain_catalogue(folder / "data", items=ITEMS)
    ids = names()
    rows = [
        {
            "item_id": name,
            "image": None if n == 3 else "../../secret.png" if n == 4 else f"images/{n}.png",
            "text": f"{BAD} {n}",
        }
        for n, name in enumerate(ids)
    ]
    kinds = [f"kind {n % 3} {BAD}" for n in range(ITEMS)]
    titles = [None if n % 2 else f"</title>{BAD} {n}" for n in range(ITEMS)]
    columns = {"title": pa.array(titles, pa.string()), BAD: kinds, "price": np.arange(ITEMS) / 3}
    write_items(folder / "data", rows, **columns)
    log = random_log(USERS, ITEMS, 10)
    pairs = [(f"{u}{BAD}" if u == "u3" else u, ids[int(i[1:])]) for u, i in log]
    write_interactions(folder / "data", pairs, timestamp=list(range(len(pairs))))
    statuses = ["ok" if n % 7 != 1 else f"gone {BAD}" for n in range(ITEMS)]
    make_store(folder / "store.parquet", ids, image_status=statuses)
    fit(TrainJob(folder / "data", "itemknn"), folder / "runs/knn")
    fit(TrainJob(folder / "data", "popularity"), folder / "runs/popular<b>")
    return folder
