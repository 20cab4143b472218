"""Item features from embedding stores, joined by item id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.cache.store import Store, open_store
from mmx.data.vocabulary import Vocabulary
from mmx.devices import CPU
from mmx.errors import OptionError, StoreError, suggestion
from mmx.files import Place, as_place
from mmx.kinds import texts
from mmx.mapped import MEMORY, Space, gather, in_blocks, release

UNIT = 0.05  # how far from 1 the norm of a vector may be that an encoder normalised
ABSURD = 1e6  # times the median norm


@dataclass(frozen=True)
class Features:
    """One modality's vectors for the whole catalogue."""

    matrix: np.ndarray  # (items, d) float32; rows of absent vectors are zero
    present: np.ndarray  # (items,) bool
    space: Space = MEMORY  # where what is made of the vectors goes
    fitted: int | None = None  # mean and axes are of the first so many items; None: of all
    device: str = CPU  # where the items' nearest ones are searched; any other is a GPU's

    @property
    def dimension(self) -> int:
        """d."""
        return self.matrix.shape[1]

    @property
    def mean(self) -> np.ndarray:
        """(d,) float32 of the present vectors; zero where there is none.

        Summed in float64, so that the mean of equal vectors is exactly that vector.
        """
        total, count = np.zeros(self.dimension), 0
        for rows in in_blocks(self.matrix[: self.fitted]):
            known = self.matrix[: self.fitted][rows][self.present[: self.fitted][rows]]
            total += known.sum(0, dtype=np.float64)
            count += len(known)
        return (total / max(count, 1)).astype(np.float32)

    def normalised(self) -> Features:
        """Every present vector minus their mean, then scaled to L2 norm 1.

        Embeddings of one encoder share a large common part, which says nothing about an
        item; without it, and at one length, modalities weigh the same and train well. A vector
        equal to the mean stays zero.
        """
        mean, scaled = self.mean, self.space.zeros(*self.matrix.shape)
        for rows in in_blocks(self.matrix):
            known = self.present[rows]
            centred = self.matrix[rows][known] - mean
            norms = np.linalg.norm(centred, axis=1, keepdims=True)
            scaled[rows][known] = centred / np.maximum(norms, np.finfo(np.float32).tiny)
            release(scaled)
        return replace(self, matrix=scaled)

    def principal(self, count: int) -> Features:
        """The vectors about their mean, along their first ``count`` principal axes.

        What is left out is the part of least variance; a projection with an offset that follows
        can undo the turn and the shift. Vectors of at most ``count`` numbers stay as they are, and
        so do all where ``count`` is 0. Columns beyond the rank of the vectors are zero, so that
        the dimension does not depend on how many items there are.
        """
        if not 0 < count < self.dimension:
            return self
        from mmx.recommend.principal import along_principal_axes, along_the_same  # imports torch

        turned = self.space.zeros(len(self.matrix), count)
        if self.present[: self.fitted].any():
            known = self.rows(np.flatnonzero(self.present[: self.fitted]))
            along = along_principal_axes(known, count)  # (known, axes)
            new = self.matrix[self.present][len(along) :] if self.fitted else known[:0]
            both = np.concatenate([along, along_the_same(known, along, new)])
            turned[self.present, : along.shape[1]] = both
        return replace(self, matrix=turned)

    def norms(self) -> np.ndarray:
        """(items,) float64 lengths; infinite where float32 cannot hold the square."""
        squares = np.empty(len(self.matrix), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for rows in in_blocks(self.matrix):
                block = self.matrix[rows]
                squares[rows] = np.einsum("ij,ij->i", block, block)
        return np.sqrt(squares, dtype=np.float64)

    def rows(self, items: np.ndarray) -> np.ndarray:
        """A copy (n, d) of the vectors of (n,) rising item numbers."""
        found = self.space.zeros(len(items), self.dimension)
        for rows in in_blocks(found):
            found[rows] = gather(self.matrix, items[rows])
        return found


@dataclass(frozen=True, init=False)
class FeatureSpec:
    """What ``--features`` names: a store, and which of its modalities (all when empty)."""

    path: Place
    modalities: tuple[str, ...]

    def __init__(self, path: Place | str, modalities: Sequence[str] = ()) -> None:
        object.__setattr__(self, "path", as_place(path))
        object.__setattr__(self, "modalities", tuple(texts("modalities", modalities)))

    @classmethod
    def of(cls, named: FeatureSpec | Place | str) -> FeatureSpec:
        """A spec as it is, a path, or what ``parse`` takes. Raises OptionError for other things."""
        if isinstance(named, FeatureSpec):
            return named
        return cls.parse(named) if isinstance(named, str) else cls(named)

    @classmethod
    def parse(cls, text: str) -> FeatureSpec:
        """``cache/clip.parquet`` or ``cache/clip.parquet:image,text``."""
        path, colon, names = text.rpartition(":")
        if not colon or "/" in names or Path(text).exists():
            return cls(as_place(text))
        return cls(as_place(path), tuple(name.strip() for name in names.split(",")))


def load_features(
    specs: Sequence[FeatureSpec], items: Vocabulary, space: Space = MEMORY
) -> tuple[dict[str, Features], list[dict[str, object]]]:
    """The vectors of all stores by modality, and a record of where each comes from.

    Raises StoreError when a store has other items, two stores bring the same modality or a
    vector is absurd: it holds NaN or infinity; it is not of norm 1 (within UNIT) although the
    encoder card says so; its squares overflow float32; or its norm is above ABSURD times the
    median norm of the others. In a sum with such a vector float32, which has seven digits, loses
    the others, whatever their unit. Raises OptionError when a store does not have a modality that
    its spec names.
    """
    features: dict[str, Features] = {}
    origin: dict[str, Place] = {}
    records = []
    for spec in specs:
        store = open_store(spec.path)
        for modality in _chosen(spec, store):
            if modality in features:
                raise StoreError(
                    f"{origin[modality]} and {spec.path} both bring {modality} vectors; choose by "
                    f"--features {spec.path}:MODALITY"
                )
            found = Features(*store.vectors(modality, items.ids, space.zeros), space)
            if not found.present.any():
                raise StoreError(_no_vectors(store, modality, items))
            refuse_absurd(store, modality, found, items.ids)
            features[modality], origin[modality] = found, spec.path
            records.append(_record(store, modality, found))
    return features, records


def _no_vectors(store: Store, modality: str, items: Vocabulary) -> str:
    """Why none of the items has a vector of the modality, and what fixes it."""
    others = [m for m in store.card.dimensions if store.vectors(m, items.ids)[1].any()]
    if others:
        return (
            f"{store.path} has no {modality} vector for any item of the dataset; use what it has: "
            f"--features {store.path}:{','.join(others)}"
        )
    ids = (batch["item_id"].cast(pa.string()) for batch in store.batches())
    if not any(pc.any(pc.is_in(some, value_set=items.ids)).as_py() for some in ids):
        return (
            f"{store.path} has no item of the dataset: it was made from other items; "
            "extract again with this --data"
        )
    return (
        f"{store.path} has no vector for any item of the dataset; `mmx info {store.path}` counts "
        "the reasons"
    )


def refuse_absurd(store: Store, modality: str, found: Features, ids: pa.Array) -> None:
    """Raise StoreError on the first vector of (n,) ids that cannot be one, as ``load_features``."""
    norms = found.norms()
    usual = found.present & np.isfinite(norms)
    absurd = found.present & ~usual
    lengths = norms[usual & (norms > 0)]
    median = float(np.median(lengths)) if len(lengths) else 0.0
    if store.card.normalised:
        absurd |= found.present & (np.abs(norms - 1) > UNIT)
    elif median:
        absurd |= found.present & (norms > ABSURD * median)
    if absurd.any():
        row = int(np.flatnonzero(absurd)[0])
        raise StoreError(
            f"{store.path}: the {modality} vector of item {ids[row]} "
            f"{_wrong(found.matrix[row], store.card.normalised, median)}"
            f"{_more(int(absurd.sum()))}; look with `mmx info --verify`, extract again with "
            "--overwrite"
        )


def _wrong(vector: np.ndarray, normalised: bool, median: float) -> str:
    if not np.isfinite(vector).all():
        return "is not finite"
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    return f"has norm {norm:.3g}, " + (
        "and the encoder card says 1" if normalised else f"the median is {median:.3g}"
    )


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


def _chosen(spec: FeatureSpec, store: Store) -> Sequence[str]:
    for name in spec.modalities:
        if name not in store.card.dimensions:
            hint = suggestion(name, store.card.dimensions)
            raise OptionError(f"{spec.path} has no modality '{name}'{hint}")
    return spec.modalities or tuple(store.card.dimensions)


def _record(store: Store, modality: str, found: Features) -> dict[str, object]:
    """What a run's config says of a modality it was trained with."""
    return {
        "modality": modality,
        "store": str(store.path),
        "encoder": store.card.name,
        "parameters_sha256": store.card.parameters_sha256,
        "dimension": found.dimension,
        "items_with_vector": int(found.present.sum()),
        "items": len(found.present),
    }
