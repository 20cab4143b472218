"""The frozen item graph: each item's nearest items by its contents, all with the same weight.

Zhou and Shen, "A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal
Recommendation", MM 2023 (arXiv 2211.06924), section 3.1; DRAGON, MENTOR, PGL, COHESION and LIRDRec
have the same. It is made once, from the vectors as they are read, and nothing in it is learned.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from mmx.recommend.blocks.graph import Sparse
from mmx.recommend.blocks.knn import knn_edges
from mmx.recommend.blocks.modalities import modality_weights
from mmx.recommend.features import Features

IMAGE = 0.1  # share of images beside other modalities, the papers' α_v


def graph_shares(text: str, features: Mapping[str, Features]) -> dict[str, float]:
    """α_m of each modality: as ``modality_weights`` reads ``text``, or the papers' for empty text.

    Theirs are 0.1 for images and 0.9 for texts; here what is not an image shares the 0.9. Without
    images, or with images alone, all modalities weigh the same. Raises OptionError as there.
    """
    others = len(features) - 1
    if text or "image" not in features or not others:
        return modality_weights(text, features)
    return {name: IMAGE if name == "image" else (1 - IMAGE) / others for name in features}


def frozen_graph(features: Mapping[str, Features], k: int, shares: Mapping[str, float]) -> Sparse:
    """S = Σ_m α_m S_m → (items, items); S_m has 1/k at the k nearest items of each item.

    Nearest is by cosine, the item itself among them; fewer than k items with a vector share the
    weight. The papers' D^-½ S_m D^-½ is the same: every row of S_m has k ones. Beyond the papers,
    an item that lacks a modality leaves its α to those it has, so that its row sums to 1 too; an
    item without any vector has an empty row.
    """
    count = len(next(iter(features.values())).matrix)
    rows, columns, values = [], [], []
    for name, share in sorted(shares.items()):
        edges = knn_edges(features[name], k)
        neighbours = torch.bincount(edges.rows, minlength=count)  # (items,)
        rows.append(edges.rows)
        columns.append(edges.columns)
        values.append(share / neighbours[edges.rows].double())
    row, value = torch.cat(rows), torch.cat(values)  # (entries,)
    total = value.new_zeros(count).index_add(0, row, value)  # Σ α_m of the modalities it has
    return Sparse(row, torch.cat(columns), (value / total[row]).float(), (count, count))
