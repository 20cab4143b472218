"""Time and peak memory of an exact item-item k-NN graph over random features.

    python benchmarks/knn_graph.py --items 200000 --dim 384 --k 10
    python benchmarks/knn_graph.py --items 1000000 --dim 384 --k 10 --queries 20000

The time grows with items² · dim. With --queries the neighbours of only that many items are searched
for (among all items) and the total seconds are extrapolated; the memory is that of the whole graph.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

from mmx.recommend.features import Features


def made_up(items: int, dim: int) -> Features:
    """Random vectors, every hundredth missing."""
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
    """Seconds to build the graph if only the first ``queries`` items are searched for.

    The others get random neighbours, and the seconds of the search are scaled up to all items.
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=200_000, help="number of vectors")
    parser.add_argument("--dim", type=int, default=384, help="length of a vector")
    parser.add_argument("--k", type=int, default=10, help="neighbours of an item")
    parser.add_argument("--queries", type=int, default=0, help="items to search for; 0: all")
    options = parser.parse_args()
    features = made_up(options.items, options.dim)
    k, queries = options.k, options.queries
    seconds = part(features, k, queries) if queries else whole(features, k)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        json.dumps(
            {
                **vars(options),
                "seconds": round(seconds, 1),
                "extrapolated": bool(options.queries),
                "vectors_gb": round(features.matrix.nbytes / 2**30, 2),
                "peak_gb": round(peak, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
