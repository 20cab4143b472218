"""What a run was made from, as digests: to tell later whether it is still there.

    {"items": {"rows": 400, "sha256": …},                of the ids
     "interactions": {"rows": 5120, "sha256": …,         of the pairs, before filters and split
                      "columns": {"timestamp": …}},      of what else the split reads
     "features": {"image": {"rows": 398, "sha256": …}},  of the vectors of items that have one
     "catalogue": {"rows": 400, "sha256": …}}            end to end: encoder, pictures, texts

All are of the contents: another order of rows, and another place, change none of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mmx.data.id_order import hashes, pair_hashes
from mmx.data.vocabulary import Vocabulary
from mmx.mapped import in_blocks
from mmx.recommend.features import Features

if TYPE_CHECKING:
    from mmx.recommend.end_to_end.catalogue import Catalogue

IDS = ("user_id", "item_id")
Content = dict[str, Any]  # rows, sha256


def of_log(log: pa.Table, items: Vocabulary) -> Content:
    """Of items and interactions, as read: ``log`` is not filtered yet."""
    return {"items": _items(items), "interactions": _interactions(log)}


def of_features(features: Mapping[str, Features]) -> Content:
    """Of vectors, which are under no control yet."""
    vectors = {name: _vectors(one) for name, one in features.items()}
    return {"features": vectors} if vectors else {}


def of_catalogue(catalogue: Catalogue) -> Content:
    """Of what an encoder is trained on, end to end."""
    return {"catalogue": _catalogue(catalogue)}


def _items(items: Vocabulary) -> Content:
    ids = json.dumps(items.ids.to_pylist()).encode()  # their order is that of a hash of each
    return {"rows": len(items), "sha256": hashlib.sha256(ids).hexdigest()}


def _interactions(log: pa.Table) -> Content:
    pairs = pair_hashes(*(_hashed(log[name]) for name in IDS))
    others = [name for name in sorted(log.column_names) if name not in IDS]
    columns = {name: _digest(pair_hashes(pairs, _hashed(log[name]))) for name in others}
    return {"rows": log.num_rows, "sha256": _digest(pairs), "columns": columns}


def _hashed(column: pa.ChunkedArray) -> np.ndarray:
    """(n,) uint64 of n values: texts by their hash, numbers by their bits."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        encoded = column.combine_chunks().dictionary_encode()
        return hashes(encoded.dictionary)[encoded.indices.to_numpy(zero_copy_only=False)]
    values = column.to_numpy()
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64).view(np.uint64)


def _digest(numbers: np.ndarray) -> str:
    return hashlib.sha256(np.sort(numbers).tobytes()).hexdigest()


def _vectors(found: Features) -> Content:
    digest = hashlib.sha256(f"{found.matrix.shape}".encode())
    for rows in in_blocks(found.matrix):
        digest.update(np.ascontiguousarray(found.matrix[rows]).data)
    digest.update(np.ascontiguousarray(found.present).data)
    return {"rows": int(found.present.sum()), "sha256": digest.hexdigest()}


def _catalogue(catalogue: Catalogue) -> Content:
    digest = hashlib.sha256()
    for content in catalogue.contents():
        digest.update(content)
    return {"rows": len(catalogue.items), "sha256": digest.hexdigest()}
