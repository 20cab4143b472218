"""Vectors of a run's items, for diversity and for reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmx.errors import OptionError
from mmx.recommend.diversity import units
from mmx.recommend.features import load_features
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.run import Run
from mmx.recommend.scoring import Factors
from mmx.recommend.trained_with import stores_of


@dataclass(frozen=True)
class ItemVectors:
    """(items, d) vectors by modality, a row of zeros where an item has none."""

    matrices: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, run: Run, options: RecommendOptions) -> ItemVectors:
        """Those of ``options.stores``; else of the stores that the run was trained with.

        For diversity alone, a run without features has its own item vectors, where its scores are
        products of vectors. Raises StoreError for a store that is not there or of other items,
        OptionError where there are no vectors.
        """
        ids = run.data.items
        if options.specs:
            features, _ = load_features(options.specs, ids)
        elif run.vectors is not None:
            features = dict(run.vectors)
        else:
            stores = stores_of(run, (), "--store")
            found = {name: store.vectors(name, ids.ids)[0] for name, store in stores.items()}
            return cls(found or _own(run, options))
        return cls({name: one.matrix for name, one in features.items()})

    def rows(self, items: np.ndarray) -> dict[str, np.ndarray]:
        """(n, d) vectors of some items, by modality."""
        return {name: matrix[items] for name, matrix in self.matrices.items()}

    def together(self, items: np.ndarray) -> np.ndarray:
        """(n, d) vectors of some items: those of all modalities at norm 1, one after the other."""
        return np.concatenate([units(rows) for rows in self.rows(items).values()], axis=1)


def _own(run: Run, options: RecommendOptions) -> dict[str, np.ndarray]:
    """The run's item vectors. Raises OptionError where it has none, or they explain nothing."""
    if options.explain or not isinstance(run.scorer, Factors):
        option = "--explain" if options.explain else "--diversity"
        raise OptionError(f"{option} needs vectors of the items, and {run.path} was trained "
                          "without features; name an embedding store: --store STORE")  # fmt: skip
    return {"run": run.scorer.items}
