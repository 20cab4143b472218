"""Frozen graphs of the items that look or read alike, ready to multiply with.

The weighted graph: an edge from each item to its k nearest ones (itself among them) weighs as
much as their cosine, D^-½ S D^-½ with D the sums of the rows (Zhang et al., "Mining Latent
Structures for Multimedia Recommendation", MM 2021, equations 1 to 3). A negative cosine counts
as 0, so that no row sums to 0 or less, where the square root would be of no use.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mmx.recommend.blocks.graph import Sparse
from mmx.recommend.blocks.knn import knn_edges, normalised
from mmx.recommend.features import Features


def cosine_graph(features: Features, k: int) -> Sparse:
    """The weighted graph of all items (items, items), at most k entries a row.

    An item without a vector, or with one of zeros, is its own only neighbour, with weight 1.
    """
    count = len(features.matrix)
    edges = knn_edges(features, k)
    weights = edges.similarity.clamp(min=0)
    values = normalised(edges.rows, edges.columns, weights, count)
    alone = torch.from_numpy(np.setdiff1d(np.arange(count), edges.rows.numpy()))
    rows, columns = torch.cat([edges.rows, alone]), torch.cat([edges.columns, alone])
    return Sparse(rows, columns, torch.cat([values, values.new_ones(len(alone))]), (count, count))


def largest_of(graphs: Sequence[Sparse]) -> Sparse:
    """The union of item graphs: of each edge the largest weight that one of them has.

    Ong and Khong, "Spectrum-based Modality Representation Fusion Graph Convolutional Network for
    Multimodal Recommendation", WSDM 2025 (arXiv 2412.14978): max-pooling of the modalities' graphs.
    """
    keys, place = edge_keys(graphs).unique(return_inverse=True)  # (edges,), (entries,)
    entries = torch.cat([graph.values for graph in graphs])  # none is negative
    values = entries.new_zeros(len(keys)).scatter_reduce(0, place, entries, "amax")
    count = graphs[0].shape[1]
    return Sparse(keys // count, keys % count, values, graphs[0].shape)


def common_edges(graphs: Sequence[Sparse]) -> tuple[torch.Tensor, torch.Tensor]:
    """The edges between different items that all graphs have → (edges,) rows and columns."""
    keys, counts = edge_keys(graphs).unique(return_counts=True)
    keys, items = keys[counts == len(graphs)], graphs[0].shape[1]
    rows, columns = keys // items, keys % items
    apart = rows != columns
    return rows[apart], columns[apart]


def edge_keys(graphs: Sequence[Sparse]) -> torch.Tensor:
    """row * items + column of every edge of one graph, of the next, and so on → (entries,)."""
    return torch.cat([graph.rows * graph.shape[1] + graph.columns for graph in graphs])
