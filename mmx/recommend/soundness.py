"""Checks of a run's files, when it is opened.

Checksums find bytes that changed; they do not find a run that another program wrote, or that was
edited with its checksums. All functions raise ValueError with the file and what is wrong in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmx.mapped import are_finite
from mmx.recommend.blocks.item_item import ItemItem, SparseRows
from mmx.recommend.ensemble import Ensemble
from mmx.recommend.listed import Listed
from mmx.recommend.scoring import Factors, Scorer

KINDS: dict[str, tuple[type, ...]] = {  # what config.json has had from the first run on
    "model": (str,),
    "settings": (dict,),
    "data": (str,),
    "split": (dict,),
    "features": (list,),
    "versions": (dict,),
    "best_epoch": (int, type(None)),
}
LATER: dict[str, tuple[type, ...]] = {  # and what older runs lack
    "can": (dict,),
    "scorer": (dict,),
    "sha256": (dict,),
    "parts": (list,),
    "code": (dict,),
    "control": (dict,),
    "lists": (dict,),
    "source": (dict,),
    "csv": (dict,),
    "images": (str,),
    "inputs": (dict,),
    "cost": (dict,),
    "training": (dict, type(None)),
    "end_to_end": (dict, type(None)),
}
ROWS_AT_ONCE = 1 << 16  # of a table of embeddings
LISTS = (pa.FixedSizeListType, pa.ListType, pa.LargeListType)


def check_config(config: dict[str, Any]) -> None:
    """Raise ValueError unless config.json has what is used of it, in its types."""
    for name, kinds in (KINDS | LATER).items():
        if name not in config and name in LATER:
            continue
        value = config.get(name, ...)
        if not isinstance(value, kinds) or isinstance(value, bool):
            found = "nothing" if value is ... else type(value).__name__
            expected = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
            raise ValueError(f"config.json has {found} for {name}, {expected} is expected")
    if not all(isinstance(value, dict) for value in config["features"]):
        raise ValueError("config.json has features that are not records")
    if not all(isinstance(value, str) for value in config.get("sha256", {}).values()):
        raise ValueError("config.json has checksums that are not text")
    inputs = config.get("inputs", {})
    parts = [*inputs.values(), *inputs.get("features", {}).values()]
    parts += [part.get("columns", {}) for part in parts if isinstance(part, dict)]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError("config.json has digests of its inputs that are not records")


def check_metrics(metrics: Any) -> dict[str, dict[str, float]]:
    """metrics.json, if it is numbers by name, of valid, test and counts."""
    sound = isinstance(metrics, dict) and {"valid", "test", "counts"} <= metrics.keys()
    if not sound or not all(_are_numbers(part) for part in metrics.values()):
        raise ValueError("metrics.json is not numbers by name of valid, test and counts")
    return metrics


def embeddings_of(file: pq.ParquetFile, name: str) -> np.ndarray:
    """(rows, k) float32 of the column ``embedding``, finite; it is read by parts of its rows."""
    kind = file.schema_arrow.field("embedding").type
    if not isinstance(kind, LISTS) or not pa.types.is_floating(kind.value_type):
        raise ValueError(f"the embeddings in {name} are {kind}, lists of numbers are expected")
    matrix, at = np.empty((file.metadata.num_rows, 0), np.float32), 0
    for batch in file.iter_batches(ROWS_AT_ONCE, columns=["embedding"]):
        lists = batch.column("embedding")
        lengths = pc.unique(pc.list_value_length(lists))
        if not at:
            matrix = np.empty((len(matrix), lengths[0].as_py() or 0), np.float32)
        if lists.null_count or lengths.to_pylist() != [matrix.shape[1]]:
            raise ValueError(f"the embeddings in {name} are not all present, or of several lengths")
        matrix[at : at + len(lists)] = _numbers(lists).reshape(matrix[at : at + len(lists)].shape)
        at += len(lists)
    if not matrix.size:
        raise ValueError(f"{name} holds no embeddings")
    _finite(matrix, f"the embeddings in {name}")
    return matrix


def _numbers(lists: pa.Array) -> np.ndarray:
    found: np.ndarray = lists.flatten().to_numpy(zero_copy_only=False)
    return found


def check_scorer(scorer: Scorer, users: int, items: int) -> None:
    """Raise ValueError unless a scorer is of as many users and items as the run."""
    if isinstance(scorer, Factors):
        _check_factors(scorer, users, items)
    elif isinstance(scorer, ItemItem):
        _check_weights(scorer.weights, items)
    elif isinstance(scorer, Listed):
        _check_lists(scorer, users, items)
    elif isinstance(scorer, Ensemble):
        _check_ensemble(scorer, users, items)


def _check_factors(scorer: Factors, users: int, items: int) -> None:
    for name, matrix, rows in (("users", scorer.users, users), ("items", scorer.items, items)):
        if matrix.ndim != 2 or len(matrix) != rows:
            raise ValueError(f"the embeddings of {name} are {_shape(matrix)}, of {rows} {name}")
        _finite(matrix, f"the embeddings of {name}")
    if scorer.users.shape[1] != scorer.items.shape[1]:
        raise ValueError(
            f"users have embeddings of {scorer.users.shape[1]} numbers, items of "
            f"{scorer.items.shape[1]}"
        )


def _check_weights(weights: np.ndarray | SparseRows, items: int) -> None:
    if isinstance(weights, np.ndarray):
        if weights.shape != (items, items):
            raise ValueError(f"the item weights are {_shape(weights)}, of {items} items")
        _finite(weights, "the item weights")
        return
    same = weights.n_columns == items and weights.indices.shape == weights.values.shape
    if not same or not _are_rows(weights.indptr, weights.indices, items):
        raise ValueError(f"the item weights are not rows of {items} items")
    _check_numbers(weights.indices, items, "the item weights")
    _finite(weights.values, "the item weights")


def _check_lists(scorer: Listed, users: int, items: int) -> None:
    if scorer.n_items != items or not _are_rows(scorer.indptr, scorer.items, users):
        raise ValueError(f"the lists are not those of {users} users and {items} items")
    _check_numbers(scorer.items, items, "the lists")


def _are_rows(indptr: np.ndarray, indices: np.ndarray, rows: int) -> bool:
    """Whether they are whole numbers that cut ``indices`` into so many rows."""
    whole = all(np.issubdtype(part.dtype, np.integer) for part in (indptr, indices))
    if not whole or indptr.shape != (rows + 1,) or indices.ndim != 1:
        return False
    return bool(indptr[0] == 0 and indptr[-1] == len(indices) and (np.diff(indptr) >= 0).all())


def _check_numbers(indices: np.ndarray, items: int, what: str) -> None:
    if len(indices) and (indices.min() < 0 or indices.max() >= items):
        raise ValueError(f"{what} name others than the {items} items")


def _check_ensemble(scorer: Ensemble, users: int, items: int) -> None:
    if not scorer.parts or len(scorer.parts) != len(scorer.weights):
        raise ValueError(f"{len(scorer.parts)} parts have {len(scorer.weights)} weights")
    if not all(_is_number(weight) and math.isfinite(weight) for weight in scorer.weights):
        raise ValueError("a weight of a part is not a number")
    for part in scorer.parts:
        check_scorer(part, users, items)


def _finite(values: np.ndarray, what: str) -> None:
    """Raise ValueError unless all are finite floating-point numbers."""
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"{what} are {values.dtype}, floating-point numbers are expected")
    if not are_finite(values):
        raise ValueError(f"{what} hold NaN or infinity")


def _shape(matrix: np.ndarray) -> str:
    return " × ".join(map(str, matrix.shape)) or "one number"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_numbers(part: Any) -> bool:
    """Whether it is a mapping of numbers; null is NaN."""
    values = part.values() if isinstance(part, Mapping) else [part]
    return isinstance(part, Mapping) and all(v is None or _is_number(v) for v in values)
