"""mmx: multimodal recommendation in two offline stages that meet in a file anyone can query.

    stage 1   items ──encode──▶  embedding store (Parquet)  ◀──SQL──  you
    stage 2   embedding store + interactions ──train──▶ run ──score──▶ top-K

Names are imported when first used, so that ``import mmx`` loads neither torch nor faiss; what
they are, ``__init__.pyi`` says to editors and type checkers. ``docs/python.md`` is the tour.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

_HOMES = {  # as in __init__.pyi
    "Comparison": "mmx.experiments.comparison",
    "CsvFormat": "mmx.data.csvs.format",
    "DamagedError": "mmx.errors",
    "DataError": "mmx.errors",
    "Encoder": "mmx.extract.encoder",
    "EncoderCard": "mmx.cache.card",
    "EncoderError": "mmx.errors",
    "EndToEndJob": "mmx.recommend.end_to_end",
    "EndToEndOptions": "mmx.recommend.end_to_end",
    "Evaluation": "mmx.recommend.evaluation",
    "ExportReport": "mmx.recommend.exporting",
    "ExtractOptions": "mmx.extract.options",
    "ExtractReport": "mmx.extract.options",
    "FeatureSpec": "mmx.recommend.features",
    "FinetuneOptions": "mmx.extract.finetune",
    "FinetuneProgress": "mmx.extract.finetune",
    "FinetuneReport": "mmx.extract.finetune",
    "ImportOptions": "mmx.data.formats.options",
    "Imported": "mmx.data.formats.importing",
    "Items": "mmx.data.dataset",
    "MmxError": "mmx.errors",
    "OpenStore": "mmx.opened",
    "OptionError": "mmx.errors",
    "Progress": "mmx.extract.stages.progress",
    "QueryError": "mmx.errors",
    "RecommendOptions": "mmx.recommend.recommend_options",
    "Run": "mmx.recommend.run",
    "RunError": "mmx.errors",
    "Searcher": "mmx.search.searcher",
    "SplitRule": "mmx.data.splits",
    "Sql": "mmx.sql",
    "Store": "mmx.cache.store",
    "StoreError": "mmx.errors",
    "TargetError": "mmx.errors",
    "TrainJob": "mmx.recommend.job",
    "TrainOptions": "mmx.recommend.options",
    "TrainProgress": "mmx.recommend.options",
    "UnknownIdError": "mmx.errors",
    "Web": "mmx.extract.sources.web",
    "beyond_accuracy": "mmx.recommend.list_metrics",
    "by_group": "mmx.recommend.list_metrics",
    "compare": "mmx.experiments.api",
    "encode": "mmx.extract.encode",
    "evaluate": "mmx.recommend.api",
    "evaluate_lists": "mmx.recommend.rival",
    "export": "mmx.recommend.dataset_api",
    "finetune": "mmx.extract.finetune",
    "fit": "mmx.recommend.fit",
    "fuse": "mmx.recommend.fuse",
    "import_dataset": "mmx.recommend.dataset_api",
    "load_interactions": "mmx.data.dataset",
    "load_items": "mmx.data.dataset",
    "open_encoder": "mmx.extract.encoders",
    "open_run": "mmx.recommend.run",
    "open_searcher": "mmx.search.searcher",
    "open_sql": "mmx.sql",
    "open_store": "mmx.opened",
    "repeat": "mmx.recommend.repeat",
    "top_k": "mmx.recommend.api",
    "with_new_items": "mmx.recommend.new_items",
    "write_sample": "mmx.sample.catalogue",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605
__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # prints nothing unless set up


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mmx' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
