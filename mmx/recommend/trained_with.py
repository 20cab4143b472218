"""The stores that a run was trained with, where they are now."""

from __future__ import annotations

from collections.abc import Sequence

from mmx.cache.store import Store, open_store
from mmx.errors import StoreError, first_line
from mmx.files import as_place
from mmx.recommend.features import FeatureSpec
from mmx.recommend.run import Run


def stores_of(
    run: Run, moved: Sequence[FeatureSpec], option: str = "--features"
) -> dict[str, Store]:
    """The store of each modality, as the run's record names it or by ``moved``.

    A run without features has none. Raises StoreError where one is not in its place; ``option``
    says where it is.
    """
    if run.config.get("end_to_end"):
        own = open_store(run.path / "features.parquet")
        return dict.fromkeys(own.card.dimensions, own)
    elsewhere = {
        name: open_store(spec.path)
        for spec in moved
        for name in spec.modalities or open_store(spec.path).card.dimensions
    }
    found = {}
    for record in run.config["features"]:
        name, place = (str(record.get(key)) for key in ("modality", "store"))
        try:
            found[name] = elsewhere.get(name) or open_store(as_place(place))
        except StoreError as error:
            raise StoreError(f"the vectors that {run.path} was trained with are needed: "
                             f"{first_line(error)}; say where they are now with {option} STORE"
                             ) from error  # fmt: skip
    return found
