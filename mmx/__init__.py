"""mmx: multimodal recommendation in two offline stages that meet in a file anyone can query.

    stage 1   items ──encode──▶  embedding store (Parquet)  ◀──SQL──  you
    stage 2   embedding store + interactions ──train──▶ run ──score──▶ top-K

Names are imported when first used, so that ``import mmx`` loads neither torch nor faiss.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "EncoderCard": "mmx.cache.card",
    "ExtractOptions": "mmx.extract.options",
    "FeatureSpec": "mmx.recommend.features",
    "MmxError": "mmx.errors",
    "RecommendOptions": "mmx.recommend.recommendation",
    "SplitRule": "mmx.data.splits",
    "TrainJob": "mmx.recommend.job",
    "TrainOptions": "mmx.recommend.training",
    "evaluate": "mmx.recommend.evaluation",
    "fit": "mmx.recommend.fit",
    "load_interactions": "mmx.data.dataset",
    "load_items": "mmx.data.dataset",
    "open_encoder": "mmx.extract.encoders",
    "open_run": "mmx.recommend.run",
    "open_store": "mmx.cache.store",
    "write_sample": "mmx.sample.catalogue",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mmx' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
