"""How a run keeps its scorer: numbers in arrays, everything else in a record for JSON.

{"kind": "factors"}                                  users, items
{"kind": "factors", "least_squares": {"confidence": 40, "reg": 100}}    those of iALS
{"kind": "item-item", "columns": 7050}               weights, or indptr, indices, values
{"kind": "lists", "columns": 7050}                   indptr, items
{"kind": "fused", "weights": […], "parts": [{…}, …]} those of part 0 as 0.users …, and so on
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from mmx.errors import RunError
from mmx.recommend.blocks.item_item import ItemItem, SparseRows
from mmx.recommend.ensemble import Ensemble
from mmx.recommend.interactions import UserItems
from mmx.recommend.least_squares import LeastSquares
from mmx.recommend.listed import Listed
from mmx.recommend.scoring import Factors, Scorer


def pack(scorer: Scorer) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The record and the arrays of a scorer."""
    if isinstance(scorer, Factors):
        solve = {} if scorer.solve is None else {"least_squares": asdict(scorer.solve)}
        return {"kind": "factors"} | solve, {"users": scorer.users, "items": scorer.items}
    if isinstance(scorer, ItemItem):
        record: dict[str, Any] = {"kind": "item-item", "columns": scorer.n_items}
        if isinstance(scorer.weights, np.ndarray):
            return record, {"weights": scorer.weights}
        w = scorer.weights
        return record, {"indptr": w.indptr, "indices": w.indices, "values": w.values}
    if isinstance(scorer, Listed):
        record = {"kind": "lists", "columns": scorer.n_items}
        return record, {"indptr": scorer.indptr, "items": scorer.items}
    if isinstance(scorer, Ensemble):
        packed = [pack(part) for part in scorer.parts]
        record = {"kind": "fused", "weights": list(scorer.weights)}
        record["parts"] = [part for part, _ in packed]
        named = {f"{n}.{k}": v for n, (_, own) in enumerate(packed) for k, v in own.items()}
        return record, named
    raise RunError(f"a {type(scorer).__name__} cannot be saved")


def numbers_in(scorer: Scorer) -> int:
    """How many fractions a scorer is made of, such as the weights that a closed form found."""
    return sum(a.size for a in pack(scorer)[1].values() if np.issubdtype(a.dtype, np.floating))


def factors(record: Mapping[str, Any], users: np.ndarray, items: np.ndarray) -> Factors:
    """Those of a record. Raises ValueError or TypeError for least squares that are none."""
    found = record.get("least_squares")
    return Factors(users, items, None if found is None else LeastSquares(**found))


def unpack(record: Mapping[str, Any], arrays: Mapping[str, np.ndarray], train: UserItems) -> Scorer:
    """The scorer that was packed. Raises KeyError when an array is missing."""
    if record["kind"] == "factors":
        return factors(record, arrays["users"], arrays["items"])
    if record["kind"] == "item-item":
        if "weights" in arrays:
            return ItemItem(arrays["weights"], train)
        indptr, indices, values = (arrays[name] for name in ("indptr", "indices", "values"))
        return ItemItem(SparseRows(indptr, indices, values, record["columns"]), train)
    if record["kind"] == "lists":
        return Listed(arrays["indptr"], arrays["items"], record["columns"])
    parts: list[Scorer] = []
    for number, part in enumerate(record["parts"]):
        mine = {k.partition(".")[2]: v for k, v in arrays.items() if k.startswith(f"{number}.")}
        parts.append(unpack(part, mine, train))
    return Ensemble(tuple(parts), tuple(record["weights"]), train)
