"""Search in a store: how long until it can be searched, and exact search beside plain FAISS.

    python benchmarks/search.py --items 1000000 --folder /some/disk
    python benchmarks/search.py --items 200000 --queries 256 --k 20

Makes a store of random unit vectors of --dim float16 (it stays in --folder and is used again), and
the same numbers as a .npy file. Prints two ratios, each the median of --repeats interleaved pairs
after one that does not count (it brings files into the page cache, and imports FAISS):

    load      from the store to a matrix that can be searched, checksums verified, against
              numpy.load of the same bytes and their conversion to float32
    search    the exact --k nearest of --queries vectors, against faiss.IndexFlatIP over the same
              matrix; and whether both found the same items
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmx.atomic import claimed
from mmx.cache.card import EncoderCard
from mmx.cache.kind import STORE
from mmx.cache.merge import write_store
from mmx.cache.schema import metadata, store_schema
from mmx.cache.store import Store, open_store
from mmx.search.nearest import Nearest
from mmx.search.vectors import Vectors, load_vectors

BLOCK = 4096  # rows of a row group


def made(folder: Path, items: int, dim: int) -> tuple[Store, Path]:
    """The store and the .npy file; made unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"search-{items}-{dim}.parquet"
    numbers = path.with_suffix(".npy")
    if not path.exists():
        card = EncoderCard("random", "mmx", "random", "none", {"image": dim}, True, "float32")
        schema = store_schema(card, "float16").with_metadata(metadata(card, "float16", ""))
        with claimed(path, STORE) as claim:
            tables = blocks(items, dim, schema)
            write_store(claim, tables, items, schema, block=BLOCK, max_file_rows=None)
    store = open_store(path)
    if not numbers.exists():
        np.save(numbers, load_vectors(store, "image").matrix.astype(np.float16))
    return store, numbers


def blocks(items: int, dim: int, schema: pa.Schema) -> Iterator[pa.Table]:
    """Random unit vectors, some rows at a time."""
    rng = np.random.default_rng(0)
    for start in range(0, items, BLOCK):
        count = min(BLOCK, items - start)
        vectors = rng.standard_normal((count, dim), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        flat = pa.array(vectors.astype(np.float16).ravel())
        columns = {
            "item_id": [f"item-{n}" for n in range(start, start + count)],
            "image": pa.FixedSizeListArray.from_arrays(flat, dim),
            "image_status": ["ok"] * count,
            "content_hash": [""] * count,
        }
        yield pa.table(columns, schema=schema)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long it takes, and what it gives."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def paired(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Medians of the seconds, and of the ratio of each pair."""
    pairs = [(seconds(ours)[0], seconds(theirs)[0]) for _ in range(repeats + 1)][1:]
    return {
        "ours": statistics.median(a for a, _ in pairs),
        "theirs": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
    }


def searching(vectors: Vectors, queries: int, k: int, repeats: int) -> dict[str, Any]:
    """Both searches over the matrix."""
    import faiss

    settings = ("distance_compute_blas_query_bs", "distance_compute_min_k_reservoir")
    usual = [getattr(faiss.cvar, name) for name in settings]
    nearest = Nearest(vectors)
    plain = faiss.IndexFlatIP(vectors.dimension)
    plain.add(vectors.matrix)
    rows = np.random.default_rng(1).permutation(len(vectors))[:queries]
    asked = vectors.matrix[rows]
    ours, theirs = nearest.search(asked, k).places, plain.search(asked, k)[1]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(ours, theirs, strict=True)]

    def as_it_comes() -> None:
        faiss.cvar.distance_compute_blas_query_bs = usual[0]  # ours sets both for the process
        faiss.cvar.distance_compute_min_k_reservoir = usual[1]
        plain.search(asked, k)

    times = paired(lambda: nearest.search(asked, k), as_it_comes, repeats)
    return {**times, "shared": sum(shared) / theirs.size}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("cache/benchmark"))
    given = parser.parse_args()
    store, numbers = made(given.folder, given.items, given.dim)
    load = paired(
        lambda: load_vectors(store, "image"),
        lambda: np.load(numbers).astype(np.float32),
        given.repeats,
    )
    print(json.dumps({"load": load}), flush=True)
    search = searching(load_vectors(store, "image"), given.queries, given.k, given.repeats)
    print(json.dumps({"search": search}))


if __name__ == "__main__":
    main()
