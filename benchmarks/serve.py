"""All users' top 20 beside the recommend of ``implicit`` and FAISS, on the same factors.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/serve.py
    ... python benchmarks/serve.py --users 4000 --items 200000 --factors trained
    ... python benchmarks/serve.py --users 100000 --items 1000000 --alone
    python benchmarks/serve.py --users 200000 --items 1000000 --device cuda
    python benchmarks/serve.py --server --items 100000 --users 5000 --dim 512 --seconds 60

Factors are drawn from a normal distribution, or those of implicit's ALS after six rounds on a
drawn log (``trained``: the lengths of the items differ, as they do in use). Set the number of
threads by the environment. The programs take turns; the fewest CPU seconds of --rounds count.
``product`` is the matrix product alone. On a GPU wall-clock seconds count, FAISS searches there
if faiss-gpu is installed, and the lists of a few users are compared with the CPU's.

``--server`` measures ``mmx serve`` instead: --clients of this process ask it for lists of users and
for similar items. Its store has --items vectors of --dim numbers (float16).
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import scipy.sparse as sp

from mmx.recommend.interactions import UserItems
from mmx.recommend.scoring import Factors, rank

K = 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=19_445)
    parser.add_argument("--items", type=int, default=7_050)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--factors", choices=["drawn", "trained"], default="drawn")
    parser.add_argument("--trained-on", type=int, help="users of the log; default: --users")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="only ours, with its peak memory")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--server", action="store_true", help="load test of mmx serve")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--pause", type=float, default=0.0, help="s between requests of a client")
    parser.add_argument("--folder", type=Path, help="keeps what is served, to serve it again")
    given = parser.parse_args()
    if given.server:
        from serve_load import load_test

        load_test(given)
        return
    factors, taken = factors_of(given)
    users = np.arange(given.users)
    if given.device != "cpu":
        on_device(given, factors, taken)
        return
    works: dict[str, Callable[[], Any]] = {"mmx": lambda: rank(factors, users, K, taken)}
    if not given.alone:
        works["implicit"] = by_implicit(factors, taken)
        works["faiss"] = lambda: faiss.knn(
            factors.users, factors.items, K, metric=faiss.METRIC_INNER_PRODUCT
        )
        works["product"] = lambda: product(factors)
    best: dict[str, float] = {}
    for _ in range(given.rounds):
        for name, work in works.items():
            start = time.process_time()
            work()
            best[name] = min(best.get(name, np.inf), time.process_time() - start)
    for name, used in best.items():
        ratio = "" if given.alone else f", {best['implicit'] / used:.2f} times implicit"
        print(f"{name}: {used:.3f} CPU s{ratio}")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def on_device(given: argparse.Namespace, factors: Factors, taken: UserItems) -> None:
    """The same on a GPU."""
    import torch

    there = replace(factors, device=given.device)
    users, few = np.arange(given.users), np.arange(0, given.users, -(-given.users // 256))
    left, right = (torch.from_numpy(x).to(given.device) for x in (factors.users, factors.items))
    works: dict[str, Callable[[], Any]] = {
        "mmx": lambda: rank(there, users, K, taken),
        "product": lambda: product_on(left, right, keep=0),
        "product and torch.topk": lambda: product_on(left, right, keep=K),
    }
    if hasattr(faiss, "StandardGpuResources"):
        gpu = faiss.StandardGpuResources()
        works["faiss"] = lambda: faiss.knn_gpu(
            gpu, factors.users, factors.items, K, metric=faiss.METRIC_INNER_PRODUCT
        )
    for name, work in works.items():
        taken_s = []
        for _ in range(given.rounds):
            torch.cuda.synchronize()
            start = time.perf_counter()
            work()
            torch.cuda.synchronize()
            taken_s.append(time.perf_counter() - start)
        print(f"{name}: {min(taken_s):.3f} s, the first time {taken_s[0]:.3f} s", flush=True)
    start = time.perf_counter()
    here = rank(factors, few, K, taken)
    taken_here = time.perf_counter() - start
    found = rank(there, users, K, taken)
    same = np.mean(found.items[few] == here.items)
    print(f"{len(few)} users on the CPU: {taken_here:.3f} s; {same:.5f} of the items are the same")
    print(f"peak memory of {given.device}: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")


def product_on(left: Any, right: Any, keep: int) -> None:
    """All products in blocks of 1024 users; the best of each row come to the CPU."""
    for block in left.split(1024):
        products = block @ right.T
        if keep:
            [best.cpu() for best in products.topk(keep)]


def log_of(given: argparse.Namespace, users: int) -> UserItems:
    """A log in which few items are popular and users of a club take its items."""
    rng = np.random.default_rng(3)
    club = rng.integers(0, 40, users)
    counts = np.clip(rng.lognormal(np.log(8), 0.8, users), 3, 2000).astype(np.int64)
    who = np.repeat(np.arange(users), counts)
    items = (given.items * rng.random(len(who)) ** 3).astype(np.int64)
    own = rng.random(len(who)) < 0.7
    items[own] = np.minimum(items[own] // 40 * 40 + club[who[own]], given.items - 1)
    return UserItems.from_pairs(who, items, users, given.items)


def factors_of(given: argparse.Namespace) -> tuple[Factors, UserItems]:
    """Factors, and the items that are not recommended."""
    rng = np.random.default_rng(0)
    users = given.trained_on or given.users
    taken = log_of(given, users)
    shown = taken.rows(np.arange(given.users))
    if given.factors == "drawn":
        shapes = (given.users, given.dim), (given.items, given.dim)
        drawn = [rng.standard_normal(s, dtype=np.float32) for s in shapes]
        return Factors(drawn[0], drawn[1]), shown
    model = als(given.dim)
    model.fit(matrix(taken), show_progress=False)
    left, right = np.asarray(model.user_factors), np.asarray(model.item_factors)
    return Factors(left[: given.users], right), shown


def als(dim: int) -> Any:
    """The model of implicit, with as many threads as FAISS."""
    from implicit.als import AlternatingLeastSquares

    return AlternatingLeastSquares(
        factors=dim, iterations=6, num_threads=faiss.omp_get_max_threads(), use_gpu=False
    )


def matrix(taken: UserItems) -> sp.csr_matrix:
    """As implicit reads it."""
    parts = (
        np.ones(len(taken.indices), np.float32),
        taken.indices.astype(np.int32),
        taken.indptr.astype(np.int32),
    )
    return sp.csr_matrix(parts, shape=(taken.n_users, taken.n_items))


def by_implicit(factors: Factors, taken: UserItems) -> Callable[[], Any]:
    """The recommend of implicit on these factors."""
    model, known = als(factors.users.shape[1]), matrix(taken)
    model.user_factors, model.item_factors = factors.users, factors.items
    users = np.arange(len(factors.users))
    return lambda: model.recommend(users, known, N=K, filter_already_liked_items=True)


def product(factors: Factors) -> None:
    """All products in blocks, thrown away."""
    into = np.empty((1024, 256), np.float32)
    for user in range(0, len(factors.users), 256):
        across = factors.users[user : user + 256].T
        for item in range(0, factors.n_items, 1024):
            rows = factors.items[item : item + 1024]
            np.matmul(rows, across, out=into[: len(rows), : across.shape[1]])


if __name__ == "__main__":
    main()
