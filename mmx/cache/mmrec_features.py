"""The features of an MMRec data set as a store, next to the tables that were imported.

Row n of image_feat.npy and text_feat.npy belongs to itemID n; what reads them is ``adopt``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmx.cache.adopt import Adoption, adopt
from mmx.cache.export import MISSED, MMREC
from mmx.cache.matrices import open_npy
from mmx.cache.tools import Target
from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.errors import DataError, StoreError, first_few, first_line

STORE = "features.parquet"
MAP = "i_id_mapping.csv"


def store_of(
    source: Path, encoder: str | None = None, csv: CsvFormat = PLAIN
) -> Callable[[Path], dict[str, Any]]:
    """A function that writes the features of ``source`` as a store into a dataset directory.

    ``encoder`` is what made them, by default the name of the set. The function returns the rows
    of the store and how many each modality lacks, or nothing where there are no features. It
    raises StoreError where they cannot be read and DataError where an item has no row.
    """

    def write(folder: Path) -> dict[str, Any]:
        tensors = {m: source / Path(n).with_suffix(".pt") for m, n in MMREC.items()}
        tensors = {m: p for m, p in tensors.items() if p.is_file()}
        if not tensors and not any((source / name).is_file() for name in MMREC.values()):
            return {}
        how = Adoption("mmrec", _encoder(source, encoder), csv=csv)
        with tempfile.TemporaryDirectory() as scratch:
            place = _completed(source, Path(scratch), tensors)
            rows, missing = adopt(place, how, Target(folder / STORE))
        _check(folder, source)
        return {"store": STORE, "rows": rows, "missing": missing}

    return write


def _encoder(source: Path, given: str | None) -> str | None:
    """The name for the card; none where the folder has a card of its own."""
    if given is None and (source / "card.json").is_file():
        return None
    return given or f"MMRec {source.resolve().name}"


def _completed(source: Path, scratch: Path, tensors: dict[str, Path]) -> Path:
    """The folder itself, or where it lacks a map or has tensors one that is complete."""
    if (source / MAP).is_file() and not tensors:
        return source
    for name in (*MMREC.values(), *MISSED.values(), MAP, "ids.parquet", "card.json"):
        if (source / name).is_file():
            (scratch / name).symlink_to((source / name).resolve())
    for modality, path in tensors.items():
        if not (scratch / MMREC[modality]).exists():
            np.save(scratch / MMREC[modality], _tensor(path))
    if not (scratch / MAP).exists():
        rows = next(open_npy(p).rows for n in MMREC.values() if (p := scratch / n).exists())
        lines = [f"{n}\t{n}\n" for n in range(rows)]
        (scratch / MAP).write_text("".join(["asin\titemID\n", *lines]), encoding="utf-8")
    return scratch


def _tensor(path: Path) -> np.ndarray:
    """The matrix in a file of torch, of which nothing is run. Raises StoreError."""
    import torch

    from mmx.torch_files import load_checked

    try:
        found = load_checked(path)
    except Exception as error:
        raise StoreError(
            f"{path} is not a tensor that can be read without running code ({first_line(error)}); "
            "save it as .npy"
        ) from error
    if not isinstance(found, torch.Tensor) or found.dim() != 2:
        raise StoreError(f"{path} holds {type(found).__name__}; a matrix is expected")
    return found.float().numpy()


def _check(folder: Path, source: Path) -> None:
    """Raise DataError where an item of the dataset has no row in the store."""
    items = pq.read_table(folder / "items.parquet", columns=["item_id"])["item_id"]
    rows = pq.read_table(folder / STORE, columns=["item_id"])["item_id"]
    lost = items.filter(pc.invert(pc.is_in(items, value_set=rows.combine_chunks())))
    if len(lost):
        raise DataError(
            f"{source}: the features have no row for item {first_few(lost.to_pylist())}; they are "
            "of other items"
        )
