"""Exact inner-product search by FAISS, set up for large blocks of queries."""

from __future__ import annotations

import numpy as np

QUERIES = 1024  # of one matrix product inside FAISS; fits the cache best


def inner_products(
    queries: np.ndarray, matrix: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` largest of (m, d) queries in (n, d): values and places (m, count), best first.

    All float32.
    """
    import faiss

    faiss.cvar.distance_compute_blas_query_bs = QUERIES
    faiss.cvar.distance_compute_min_k_reservoir = 1  # always the reservoir: a third faster
    found: tuple[np.ndarray, np.ndarray] = faiss.knn(
        np.ascontiguousarray(queries), matrix, count, metric=faiss.METRIC_INNER_PRODUCT
    )
    return found
