"""What a comparison needs to know of a run directory, but for its test metrics."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmx.data.id_order import hashes, pair_hashes
from mmx.data.splits import SplitRule
from mmx.data.splits.parts import NAMES
from mmx.errors import RunError, first_line
from mmx.recommend.run import BROKEN, read_metrics, read_table
from mmx.recommend.run_config import config_of
from mmx.recommend.validation import VALIDATED_ON

REPEATED = ("seed", "fold")  # of a split rule: another one is another repetition
NOT_OF_AN_ARM = {  # keys of config.json that say what came of a run, or on what data it was made
    "format", "scorer", "sha256", "best_epoch", "versions", "dropped", "left_out", "can", "data",
    "images", "csv", "split", "unknown_items", "source", "inputs", "cost",
}  # fmt: skip
NOWHERE = {"seed", "device", "items_with_vector", "keep_lists"}  # nor these, at any depth


@dataclass(frozen=True)
class OneRun:
    """A run as one repetition of an arm."""

    path: Path
    identity: dict[str, Any]  # of its arm
    rule: dict[str, Any]  # of the split, without what is repeated
    drawn: str  # what is repeated, in words: "seed 3"
    seed: int | None
    items: str  # digests of the catalogue, of the pairs in the log, and of their split
    log: str
    split: str
    features: bool
    valid: float  # validation Recall@20


def read_one(path: Path, digests: dict[str, tuple[str, str]]) -> OneRun:
    """Read a run. ``digests`` keeps those of splits that were read. Raises RunError."""
    if not (path / "config.json").is_file():
        raise RunError(f"no run at {path}; make one with `mmx train`")
    try:
        return _read_one(path, config_of(path), digests)
    except BROKEN as error:
        raise RunError(f"the run {path} is broken: {first_line(error)}; train it again") from error


def _read_one(path: Path, config: dict[str, Any], digests: dict[str, tuple[str, str]]) -> OneRun:
    metrics = read_metrics(path)
    rule = {**asdict(SplitRule()), **config["split"]}
    several = REPEATED if rule["folds"] else REPEATED[:1]
    drawn = ", ".join(f"{name} {rule[name]}" for name in several if rule.get(name) is not None)
    written = config.get("sha256", {}).get("interactions.parquet", str(path))
    if written not in digests:  # most runs share their split, byte for byte
        digests[written] = _digests(path)
    log, split = digests[written]
    if VALIDATED_ON not in metrics["valid"]:
        raise RunError(f"the run {path} has no validation {VALIDATED_ON}; train it again")
    return OneRun(
        path,
        _identity(config),
        {name: value for name, value in rule.items() if name not in REPEATED},
        drawn,
        _seed(config),
        _digest(hashes(_texts(read_table(path / "items.parquet", "embedding")["item_id"]), 0)),
        log,
        split,
        bool(config["features"] or config.get("end_to_end")),
        metrics["valid"][VALIDATED_ON],
    )


def _identity(config: dict[str, Any]) -> dict[str, Any]:
    """What of config.json makes an arm. A key that this version does not know is part of it."""
    found = {name: value for name, value in config.items() if name not in NOT_OF_AN_ARM}
    if "parts" in found:  # of a fusion, whose weights were learned
        found["parts"] = [_identity(part["config"]) for part in found["parts"]]
    found = {name: _without(value) for name, value in found.items()}
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def _without(value: Any) -> Any:
    """A value without what another repetition changes."""
    if isinstance(value, dict):
        return {key: _without(inner) for key, inner in value.items() if key not in NOWHERE}
    return [_without(inner) for inner in value] if isinstance(value, list) else value


def _seed(config: dict[str, Any]) -> int | None:
    """Of training; of a fusion those of its parts in one number."""
    if "parts" in config:
        seeds = [_seed(part["config"]) for part in config["parts"]]
        return int(hashlib.sha256(str(seeds).encode()).hexdigest()[:8], 16)
    seed: int | None = (config.get("training") or {}).get("seed")
    return seed


def _digests(path: Path) -> tuple[str, str]:
    """Of the pairs of user and item in the log, and of these with their split; in any order."""
    table = read_table(path / "interactions.parquet", "timestamp")
    pairs = pair_hashes(*(_row_hashes(table[name]) for name in ("user_id", "item_id")))
    split = table["split"].to_numpy().astype(str)
    return _digest(pairs), "".join(_digest(pairs[split == name])[:16] for name in NAMES)


def _row_hashes(column: pa.ChunkedArray) -> np.ndarray:
    encoded = _texts(column).dictionary_encode()
    return hashes(encoded.dictionary, 0)[encoded.indices.to_numpy(zero_copy_only=False)]


def _texts(column: pa.ChunkedArray) -> pa.Array:
    return column.cast(pa.string()).combine_chunks()


def _digest(numbers: np.ndarray) -> str:
    return hashlib.sha256(np.sort(numbers).tobytes()).hexdigest()
