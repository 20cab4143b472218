"""Run directories that are written by the program's own writer, with test metrics set by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmx.recommend.evaluation import Evaluation
from mmx.recommend.interactions import Interactions
from mmx.recommend.run import save_run
from mmx.recommend.run_folder import claimed_run
from mmx.recommend.scoring import Factors

USERS, ITEMS = 6, 10
METRICS = ("recall@10", "ndcg@10", "recall@20", "ndcg@20")
CLIP = [{"modality": "image", "store": "cache/clip.parquet", "items_with_vector": 9}]


def split_table(seed: int, users: int = USERS) -> pa.Table:
    """Every user takes all items; the seed turns which of them are held out."""
    names = ["valid", "test", *["train"] * (ITEMS - 2)]
    rows = [
        (f"u{u}", f"i{i}", names[(i + u + 3 * seed) % ITEMS])
        for u in range(users)
        for i in range(ITEMS)
    ]
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(("user_id", "item_id", "split"), map(list, columns), strict=True)))


def made_run(
    path: Path,
    values: Sequence[float],
    *,
    split: int = 0,
    seed: int | None = 0,
    valid: float = 0.5,
    table: pa.Table | None = None,
    rule: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """A run with ``values`` (users,) of every test metric and one validation Recall@20."""
    table = split_table(split) if table is None else table
    items, users = ([f"{kind}{n}" for n in range(count)] for kind, count in
                    (("i", ITEMS), ("u", len(values))))  # fmt: skip
    data = Interactions.from_table(table, pa.array(items), pa.array(users))
    n = np.arange(len(values))
    draw = np.random.default_rng([split, seed or 0])
    scorer = Factors(*(draw.normal(size=(k, 2)).astype(np.float32) for k in (len(n), ITEMS)))
    test = {name: np.asarray(values, dtype=float) for name in METRICS}
    known = {name: np.full(len(n), valid) for name in METRICS}
    settings = {"model": "bpr", "settings": {"reg": 0.01}, "features": [], "best_epoch": 1}
    settings |= {"training": None if seed is None else {"epochs": 2, "seed": seed, "device": "cpu"}}
    settings |= {"split": {"rule": "random", "min_rating": None, "k_core": 0, "seed": split}}
    settings["split"] |= rule or {}
    ones = np.ones(len(n), dtype=np.int64)
    with claimed_run(path, "run", False) as claim:
        save_run(
            claim,
            config={**settings, "data": "data", "versions": {}, **config},
            evaluations={
                "valid": Evaluation(n, ones, known, ITEMS, 0),
                "test": Evaluation(n, ones, test, ITEMS, 0),
            },
            scorer=scorer,
            history=[{"loss": 1.0}],
            data=data,
            split=table,
            items=pa.table({"item_id": items}),
        )
    return path


def planted(path: Path, value: float) -> None:
    """Absurd test metrics in metrics.json, which no checksum gives away."""
    config = json.loads((path / "config.json").read_text())
    config.pop("sha256")
    (path / "config.json").write_text(json.dumps(config))
    metrics = json.loads((path / "metrics.json").read_text())
    metrics["test"] = dict.fromkeys(metrics["test"], value)
    (path / "metrics.json").write_text(json.dumps(metrics))
