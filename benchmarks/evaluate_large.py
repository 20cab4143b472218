"""Time and memory of a full-ranking evaluation of many users over a large catalogue.

    python benchmarks/evaluate_large.py                                   # 20,000 × 1,000,000
    python benchmarks/evaluate_large.py --users 200000 --items 1000000
    python benchmarks/evaluate_large.py --users 19445 --items 7050 --rounds 7 --train 6
    python benchmarks/evaluate_large.py --users 20000 --items 1000000 --scorer item-item
    python benchmarks/evaluate_large.py --users 20000 --items 7000 --scorer dense --rounds 3
    python benchmarks/evaluate_large.py --users 200000 --items 1000000 --device cuda --rounds 3

Embeddings, training and held-out items are drawn from a seed. Item popularity follows a power law,
as in a shop, and users have from a few to some hundred training items to mask. Every round measures
the same, and the best one counts, since other programs may be running.
"""

from __future__ import annotations

import argparse
import resource
import time

import faiss
import numpy as np

from mmx.devices import multiplying_device
from mmx.recommend.blocks.item_item import ItemItem, SparseRows
from mmx.recommend.evaluation import evaluate_scorer
from mmx.recommend.interactions import UserItems
from mmx.recommend.scoring import Factors, Scorer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=20_000, help="users to rank for")
    parser.add_argument("--items", type=int, default=1_000_000, help="items to rank")
    parser.add_argument("--dim", type=int, default=64, help="length of an embedding")
    parser.add_argument("--train", type=float, default=8.0, help="mean training items of a user")
    parser.add_argument("--held-out", type=int, default=2, help="held-out items of a user")
    parser.add_argument(
        "--scorer",
        choices=["factors", "item-item", "dense"],
        default="factors",
        help="kind of model; dense is item-item with all weights, as EASE has them",
    )
    parser.add_argument("--keep", type=int, default=50, help="neighbours of an item (item-item)")
    parser.add_argument("--rounds", type=int, default=1, help="the best one counts")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (factors)")
    parser.add_argument("--threads", type=int, default=faiss.omp_get_max_threads())
    options = parser.parse_args()
    faiss.omp_set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    train, held_out = interactions(options, rng)
    scorer = scorer_of(options, train, rng)
    print(f"{options.users:,} users × {options.items:,} items, {options.scorer}, "
          f"{options.device}, {options.threads} threads; "
          f"memory before {peak():.2f} GB")  # fmt: skip
    seconds, used = [], []
    for _ in range(options.rounds):
        start, cpu = time.perf_counter(), time.process_time()
        found = evaluate_scorer(scorer, held_out, train)
        seconds.append(time.perf_counter() - start)
        used.append(time.process_time() - cpu)
    rate, recall = options.users / min(seconds), found.means["recall@20"]
    print(
        f"{min(seconds):.2f} s, {min(used):.2f} CPU s, {rate:,.0f} users/s, "
        f"peak memory {peak():.2f} GB, recall@20 {recall:.5f}"
    )


def interactions(
    options: argparse.Namespace, rng: np.random.Generator
) -> tuple[UserItems, UserItems]:
    """Training items, and held-out items that are not among them."""
    counts = np.minimum(rng.lognormal(np.log(options.train), 0.8, options.users), 2000)
    users = np.repeat(np.arange(options.users), np.maximum(counts.astype(np.int64), 1))
    popular = (options.items * rng.random(len(users)) ** 3).astype(np.int64)
    train = UserItems.from_pairs(users, popular, options.users, options.items)
    users = np.repeat(np.arange(options.users), options.held_out)
    items = rng.integers(0, options.items, len(users))
    new = ~np.isin(users * options.items + items, train.keys)
    return train, UserItems.from_pairs(users[new], items[new], options.users, options.items)


def scorer_of(options: argparse.Namespace, train: UserItems, rng: np.random.Generator) -> Scorer:
    if options.scorer == "factors":
        return Factors(
            rng.standard_normal((options.users, options.dim), dtype=np.float32),
            rng.standard_normal((options.items, options.dim), dtype=np.float32),
            device=multiplying_device(options.device),
        )
    if options.scorer == "dense":
        shape = (options.items, options.items)
        return ItemItem(rng.standard_normal(shape, dtype=np.float32), train)
    entries = options.items * options.keep
    columns = rng.integers(0, options.items, entries, dtype=np.int32)
    weights = SparseRows(
        np.arange(0, entries + 1, options.keep),
        np.sort(columns.reshape(options.items, options.keep), axis=1).ravel(),
        rng.random(entries, dtype=np.float32),
        options.items,
    )
    return ItemItem(weights, train)


def peak() -> float:
    """Peak memory of this process, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
