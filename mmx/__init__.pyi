"""The public names, typed: beside ``__init__.py``, which imports them when first used."""

from mmx.cache.card import EncoderCard as EncoderCard
from mmx.cache.store import Store as Store
from mmx.data.csvs.format import CsvFormat as CsvFormat
from mmx.data.dataset import Items as Items
from mmx.data.dataset import load_interactions as load_interactions
from mmx.data.dataset import load_items as load_items
from mmx.data.formats.importing import Imported as Imported
from mmx.data.formats.options import ImportOptions as ImportOptions
from mmx.data.splits import SplitRule as SplitRule
from mmx.errors import DamagedError as DamagedError
from mmx.errors import DataError as DataError
from mmx.errors import EncoderError as EncoderError
from mmx.errors import MmxError as MmxError
from mmx.errors import OptionError as OptionError
from mmx.errors import QueryError as QueryError
from mmx.errors import RunError as RunError
from mmx.errors import StoreError as StoreError
from mmx.errors import TargetError as TargetError
from mmx.errors import UnknownIdError as UnknownIdError
from mmx.experiments.api import compare as compare
from mmx.experiments.comparison import Comparison as Comparison
from mmx.extract.encode import encode as encode
from mmx.extract.encoder import Encoder as Encoder
from mmx.extract.encoders import open_encoder as open_encoder
from mmx.extract.finetune import FinetuneOptions as FinetuneOptions
from mmx.extract.finetune import FinetuneProgress as FinetuneProgress
from mmx.extract.finetune import FinetuneReport as FinetuneReport
from mmx.extract.finetune import finetune as finetune
from mmx.extract.options import ExtractOptions as ExtractOptions
from mmx.extract.options import ExtractReport as ExtractReport
from mmx.extract.sources.web import Web as Web
from mmx.extract.stages.progress import Progress as Progress
from mmx.opened import OpenStore as OpenStore
from mmx.opened import open_store as open_store
from mmx.recommend.api import evaluate as evaluate
from mmx.recommend.api import top_k as top_k
from mmx.recommend.dataset_api import export as export
from mmx.recommend.dataset_api import import_dataset as import_dataset
from mmx.recommend.end_to_end import EndToEndJob as EndToEndJob
from mmx.recommend.end_to_end import EndToEndOptions as EndToEndOptions
from mmx.recommend.evaluation import Evaluation as Evaluation
from mmx.recommend.exporting import ExportReport as ExportReport
from mmx.recommend.features import FeatureSpec as FeatureSpec
from mmx.recommend.fit import fit as fit
from mmx.recommend.fuse import fuse as fuse
from mmx.recommend.job import TrainJob as TrainJob
from mmx.recommend.list_metrics import beyond_accuracy as beyond_accuracy
from mmx.recommend.list_metrics import by_group as by_group
from mmx.recommend.new_items import with_new_items as with_new_items
from mmx.recommend.options import TrainOptions as TrainOptions
from mmx.recommend.options import TrainProgress as TrainProgress
from mmx.recommend.recommend_options import RecommendOptions as RecommendOptions
from mmx.recommend.repeat import repeat as repeat
from mmx.recommend.rival import evaluate_lists as evaluate_lists
from mmx.recommend.run import Run as Run
from mmx.recommend.run import open_run as open_run
from mmx.sample.catalogue import write_sample as write_sample
from mmx.search.searcher import Searcher as Searcher
from mmx.search.searcher import open_searcher as open_searcher
from mmx.sql import Sql as Sql
from mmx.sql import open_sql as open_sql

__all__ = [
    "Comparison",
    "CsvFormat",
    "DamagedError",
    "DataError",
    "Encoder",
    "EncoderCard",
    "EncoderError",
    "EndToEndJob",
    "EndToEndOptions",
    "Evaluation",
    "ExportReport",
    "ExtractOptions",
    "ExtractReport",
    "FeatureSpec",
    "FinetuneOptions",
    "FinetuneProgress",
    "FinetuneReport",
    "ImportOptions",
    "Imported",
    "Items",
    "MmxError",
    "OpenStore",
    "OptionError",
    "Progress",
    "QueryError",
    "RecommendOptions",
    "Run",
    "RunError",
    "Searcher",
    "SplitRule",
    "Sql",
    "Store",
    "StoreError",
    "TargetError",
    "TrainJob",
    "TrainOptions",
    "TrainProgress",
    "UnknownIdError",
    "Web",
    "beyond_accuracy",
    "by_group",
    "compare",
    "encode",
    "evaluate",
    "evaluate_lists",
    "export",
    "finetune",
    "fit",
    "fuse",
    "import_dataset",
    "load_interactions",
    "load_items",
    "open_encoder",
    "open_run",
    "open_searcher",
    "open_sql",
    "open_store",
    "repeat",
    "top_k",
    "with_new_items",
    "write_sample",
]
__version__: str
