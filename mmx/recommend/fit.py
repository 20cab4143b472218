"""``mmx train``: a dataset and feature stores in, a run directory out."""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from mmx.cache.schema import library_versions
from mmx.data.dataset import load_interactions, load_items
from mmx.data.splits import SplitRule, split_interactions
from mmx.errors import OptionError, RunError, suggestion
from mmx.recommend.evaluation import evaluate
from mmx.recommend.features import FeatureSpec, load_features
from mmx.recommend.interactions import Interactions
from mmx.recommend.models import ModelRecord, find_model
from mmx.recommend.run import Run, open_run, save_run
from mmx.recommend.training import TrainOptions, TrainProgress, train
from mmx.recommend.world import World


@dataclass(frozen=True)
class TrainJob:
    """What to train on what."""

    data: Path
    model: str = "vbpr"
    features: Sequence[FeatureSpec] = ()
    settings: Sequence[str] = ()  # of the model, each NAME=VALUE
    split: SplitRule = field(default_factory=SplitRule)
    unknown_items: str = "error"  # or "drop"
    training: TrainOptions = field(default_factory=TrainOptions)


def fit(
    job: TrainJob,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[TrainProgress], None] = lambda p: None,
) -> Run:
    """Train, choose the epoch on validation, evaluate on test once, and write the run.

    Raises an MmxError of the kind that fits before anything is written.
    """
    record = find_model(job.model)
    config = parse_settings(record, job.settings)
    _check_options(job, record, out, overwrite)
    items = load_items(job.data)
    log = load_interactions(job.data, items, unknown=job.unknown_items)
    rule = job.split.resolved(log)
    split = split_interactions(log, rule)
    data = Interactions.from_table(split, items.ids)
    features, origins = load_features(job.features, data.items)
    generator = torch.Generator().manual_seed(job.training.seed)
    model = record.load().Model(config, World(data.train, features), generator)
    trained = train(model, data, job.training, progress)
    evaluations = {
        name: evaluate(trained.scorer, part, data.train)
        for name, part in (("valid", data.valid), ("test", data.test))
    }
    save_run(
        out,
        config={
            "model": job.model,
            "settings": asdict(config),
            "training": asdict(job.training),
            "data": str(job.data),
            "split": asdict(rule),
            "unknown_items": job.unknown_items,
            "features": origins,
            "best_epoch": trained.best_epoch,
            "versions": library_versions(),
        },
        evaluations=evaluations,
        trained=trained,
        data=data,
        split=split,
        items=items.table,
    )
    return open_run(out)


def parse_settings(record: ModelRecord, settings: Sequence[str]) -> Any:
    """``NAME=VALUE`` strings to the model's Config. Raises OptionError on anything else."""
    kind = record.load().Config
    types = typing.get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise OptionError(f"--set {setting}: NAME=VALUE is expected")
        if name not in known:
            raise OptionError(f"--set {name}: {record.name} has no such setting"
                              f"{suggestion(name, known)}")  # fmt: skip
        values[name] = _parsed(name, text, types[name])
    return replace(kind(), **values)


def _parsed(name: str, text: str, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError) as error:
        raise OptionError(f"--set {name}={text}: {kind.__name__} is expected") from error


def _check_options(job: TrainJob, record: ModelRecord, out: Path, overwrite: bool) -> None:
    if record.features == "none" and job.features:
        raise OptionError(f"{job.model} uses no features; drop --features, or --model vbpr")
    if record.features == "required" and not job.features:
        raise OptionError(f"{job.model} needs item features: give --features, or --model bpr")
    if out.exists() and not overwrite:
        raise RunError(f"{out} exists; set --out elsewhere, or --overwrite")
