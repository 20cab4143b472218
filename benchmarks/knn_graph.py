"""Time and peak memory of an exact item-item k-NN graph over random features.

    python benchmarks/knn_graph.py --items 200000 --dim 384 --k 10
    python benchmarks/knn_graph.py --items 1000000 --dim 384 --k 10 --queries 20000

The work grows with items² · dim. With --queries only that many items are searched for (among
all), and the seconds of the whole are extrapolated; memory is that of the real thing.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

from mmx.recommend.features import Features


def made_up(items: int, dim: int) -> Features:
    """Random vectors, every hundredth absent."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((items, dim), dtype=np.float32)
    present = np.arange(items) % 100 != 99
    matrix[~present] = 0
    return Features(matrix, present)


def whole(features: Features, k: int) -> float:
    """Seconds to build the normalised graph, in the steps of LATTICE."""
    from mmx.recommend.blocks.graph import Sparse
    from mmx.recommend.blocks.knn import knn_edges, normalised

    start = time.perf_counter()
    edges, n = knn_edges(features, k), len(features.matrix)
    values = normalised(edges.rows, edges.columns, edges.similarity.clamp(min=0), n)
    Sparse(edges.rows, edges.columns, values, (n, n))
    return time.perf_counter() - start


def part(features: Features, k: int, queries: int) -> float:
    """Seconds to build the graph where only the first ``queries`` items are searched for.

    The others get neighbours by chance, and the search's seconds are scaled up to all items.
    """
    import faiss
    import torch

    from mmx.recommend.blocks import knn

    searching = 0.0

    def search(vectors: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal searching
        start = time.perf_counter()
        known = vectors.numpy()
        found = faiss.knn(known[:queries], known, k, metric=faiss.METRIC_INNER_PRODUCT)
        searching = time.perf_counter() - start
        rng = np.random.default_rng(1)
        similarity = rng.random((len(known), k), dtype=np.float32)
        places = rng.integers(0, len(known), (len(known), k))
        similarity[:queries], places[:queries] = found
        return torch.from_numpy(similarity), torch.from_numpy(places)

    knn.search = search
    return whole(features, k) + searching * (len(features.matrix) / queries - 1)


def main() -> None:
    """Measure once and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=0, help="0 searches for all items")
    asked = parser.parse_args()
    features = made_up(asked.items, asked.dim)
    k, queries = asked.k, asked.queries
    seconds = part(features, k, queries) if queries else whole(features, k)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        json.dumps(
            {
                **vars(asked),
                "seconds": round(seconds, 1),
                "extrapolated": bool(asked.queries),
                "vectors_gb": round(features.matrix.nbytes / 2**30, 2),
                "peak_gb": round(peak, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
