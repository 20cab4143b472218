"""Item-item graphs: each item's nearest items by the cosine of their feature vectors.

The search is exact and goes block by block, so that no (items, items) matrix is ever held:
besides the vectors and one scaled copy of them it needs (items, k) numbers. An item without a
vector has no neighbours and is nobody's neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mmx.devices import CPU
from mmx.mapped import in_blocks
from mmx.recommend.features import Features
from mmx.recommend.ties import CLOSE
from mmx.search.on_device import DeviceRows, float32_products, tried

QUERIES_AT_ONCE = 16_384  # rows searched at once, on CPU
BLOCK_BYTES = 256 << 20  # of similarities at once, on an accelerator


@dataclass(frozen=True)
class Edges:
    """Directed edges from an item to its nearest ones, sorted by item, best first."""

    rows: torch.Tensor  # (edges,) int64 the item
    columns: torch.Tensor  # (edges,) int64 one of its nearest
    similarity: torch.Tensor  # (edges,) float32 cosine


def knn_edges(features: Features, k: int) -> Edges:
    """The k most similar items of every item that has a vector.

    An item counts as its own neighbour (the first, as cosine 1), as in LATTICE. Fewer than k
    items with a vector make fewer edges. Items beyond ``features.fitted`` are their own neighbours
    and nobody else's: the edges of the others do not depend on them.
    """
    norms = features.norms().astype(np.float32)  # (items,)
    items = np.flatnonzero(features.present & (norms > 0))
    vectors = features.rows(items)  # the one copy, scaled in place
    for rows in in_blocks(vectors):
        vectors[rows] /= norms[items[rows], None]
    old = len(items) if features.fitted is None else int((items < features.fitted).sum())
    found = _mined(vectors[:old], items[:old], k, features.device)
    return found if old == len(items) else _with_new(found, vectors, items, old, k)


def _mined(vectors: np.ndarray, items: np.ndarray, k: int, device: str) -> Edges:
    """The edges among (n,) items, searched on a device; on the CPU where they do not fit there."""
    wanted, found = min(k, len(vectors)), None
    if device != CPU and wanted:
        found = tried(device, lambda: _search_there(vectors, wanted, device))
    if found is None:
        return edges_between(torch.from_numpy(vectors), torch.from_numpy(items), k)
    similarity, places = found
    rows = torch.from_numpy(np.repeat(items, wanted))
    columns = torch.from_numpy(items[places.ravel()])
    return Edges(rows, columns, torch.from_numpy(similarity.ravel()))


def _search_there(vectors: np.ndarray, k: int, device: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, k) similarities and row numbers by a device, and by the CPU where rounding decides.

    Else the graph that ``mmx recommend --new-items`` makes on a CPU would have other edges.
    """
    count = min(k + 1, len(vectors))
    similarity, places = DeviceRows(vectors, device).best(vectors, count)
    if count > k:
        near = 2 * CLOSE * vectors.shape[1] ** 0.5
        unsure = np.flatnonzero(similarity[:, k - 1] - similarity[:, k] <= near)
        for start in range(0, len(unsure), QUERIES_AT_ONCE):
            rows = unsure[start : start + QUERIES_AT_ONCE]
            again = _search_faiss(vectors[rows], vectors, k)
            similarity[rows, :k], places[rows, :k] = (one.numpy() for one in again)
    return similarity[:, :k], places[:, :k]


def _with_new(edges: Edges, vectors: np.ndarray, items: np.ndarray, old: int, k: int) -> Edges:
    """With those of the items from place ``old`` on: themselves, and the nearest k - 1 old ones."""
    new = torch.from_numpy(items[old:])
    near = min(k - 1, old)
    similarity, places = _search_faiss(vectors[old:], vectors[:old], near)  # (new, near) each
    columns = torch.cat([new[:, None], torch.from_numpy(items)[places]], 1)
    cosines = torch.cat([torch.ones(len(new), 1), similarity], 1)
    return Edges(
        torch.cat([edges.rows, new.repeat_interleave(near + 1)]),
        torch.cat([edges.columns, columns.flatten()]),
        torch.cat([edges.similarity, cosines.flatten()]),
    )


def edges_between(vectors: torch.Tensor, items: torch.Tensor, k: int) -> Edges:
    """The edges among (n,) items from their (n, d) vectors of norm 1. Nothing is learned here."""
    count = len(vectors)
    wanted = min(k, count)
    if not count or not wanted:
        none = items.new_zeros(0)
        return Edges(none, none, vectors.new_zeros(0))
    similarity, places = search(vectors.detach(), wanted)  # (n, wanted) each
    rows = torch.arange(count, device=items.device)[:, None].expand_as(places)
    return Edges(items[rows.flatten()], items[places.flatten()], similarity.flatten())


def search(vectors: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Exact search of (n, d) vectors among themselves by inner product.

    Returns (n, k) similarities, best first, and (n, k) row numbers. FAISS on CPU; matrix
    products in blocks of bounded size on an accelerator.
    """
    if vectors.device.type == "cpu":
        return _search_faiss(vectors.numpy(), vectors.numpy(), k)
    rows = max(1, BLOCK_BYTES // (4 * len(vectors)))
    return search_in_blocks(vectors, k, rows)


def search_in_blocks(vectors: torch.Tensor, k: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``search`` by dense products of ``rows`` queries at a time, under autocast in float32 too."""
    with float32_products(vectors.device):
        parts = [(block @ vectors.T).topk(k, dim=1) for block in vectors.split(rows)]
    return torch.cat([p.values for p in parts]), torch.cat([p.indices for p in parts])


def _search_faiss(
    queries: np.ndarray, vectors: np.ndarray, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, k) similarities, best first, and row numbers of (m, d) vectors, for (n, d) queries."""
    import faiss

    queries, vectors = (np.ascontiguousarray(x, dtype=np.float32) for x in (queries, vectors))
    similarity = np.empty((len(queries), k), dtype=np.float32)
    places = np.empty((len(queries), k), dtype=np.int64)
    for start in range(0, len(queries) if k else 0, QUERIES_AT_ONCE):
        block = slice(start, start + QUERIES_AT_ONCE)
        similarity[block], places[block] = faiss.knn(
            queries[block], vectors, k, metric=faiss.METRIC_INNER_PRODUCT
        )
    return torch.from_numpy(similarity), torch.from_numpy(places)


def normalised(
    rows: torch.Tensor, columns: torch.Tensor, values: torch.Tensor, n: int
) -> torch.Tensor:
    """D^-½ A D^-½ of (edges,) values ≥ 0, D the sums of the rows; an empty row stays empty.

    A need not be symmetric: D is of the rows on both sides (LATTICE, equation 3).
    Differentiable in ``values``.
    """
    degrees = values.new_zeros(n).index_add(0, rows, values)
    full = degrees > 0
    scale = torch.where(full, torch.where(full, degrees, 1).rsqrt(), 0)
    return scale.index_select(0, rows) * values * scale.index_select(0, columns)
