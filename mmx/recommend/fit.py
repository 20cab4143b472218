"""``mmx train``: a dataset and feature stores in, a run directory out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmx.atomic import Claim, all_unfinished, forget_unfinished, unfinished
from mmx.cache.schema import library_versions
from mmx.data.csvs.format import PLAIN
from mmx.data.id_order import reordered
from mmx.errors import OptionError, first_few
from mmx.files import as_path, as_place
from mmx.kinds import must_be
from mmx.logs import log_line
from mmx.processes import Processes
from mmx.recommend.contract import checked
from mmx.recommend.evaluation import Evaluation, evaluate_splits
from mmx.recommend.inputs import Inputs, load_inputs
from mmx.recommend.job import TrainJob
from mmx.recommend.memory import COPIES, allocating, must_fit
from mmx.recommend.models import ModelRecord, find_model, trained_along
from mmx.recommend.protocol import GradientModel, ModelConfig, World
from mmx.recommend.run import Run, claimed_run, open_run, save_run
from mmx.recommend.scoring import Scorer
from mmx.recommend.settings import parse_settings
from mmx.recommend.training import TrainProgress, train
from mmx.recommend.validation import unjudged, validates

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Fitted:
    """A model after training, by whatever means."""

    scorer: Scorer
    history: list[dict[str, float]]  # one row per epoch, or one in all
    best_epoch: int | None = None  # None where there are no epochs
    parameters: dict[str, torch.Tensor] | None = None  # of a model trained by gradients
    more: Callable[[Path], None] = lambda folder: None  # writes what else the run keeps


def fit(
    job: TrainJob,
    out: Path | str | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[TrainProgress], None] = lambda p: None,
    log: Callable[[str], None] = log_line,
) -> Run:
    """Train, choose the epoch on validation, evaluate on test once, and write the run.

    ``out`` is by default the first of ``runs/NAME``, ``runs/NAME-2`` … that is free, and belongs
    to this process until it is done. A killed run goes on where it was when called again with
    the same job and ``out``; with ``overwrite`` the run that stands there is replaced at the end.
    ``progress`` is told of each epoch, ``log`` in lines what is left out and what items have.
    Under torchrun every process trains and the first one writes. Raises an MmxError of the kind
    that fits before anything is written.
    """
    must_be("job", job, TrainJob)
    must_be("overwrite", overwrite, bool)
    must_be("progress", progress, Callable)
    out = None if out is None else as_path(out)
    record = find_model(job.model)
    config = parse_settings(record, job.settings)
    if not record.closed_form:
        config = checked(config, ModelConfig)
    _check_options(job, record)
    if job.end_to_end is not None:
        config = config.end_to_end()
    if out is not None:
        _refuse_input(job, out)
    processes = Processes(job.training.device)
    with processes.claim(claimed_run(out, job.name, overwrite)) as claim:
        return _fit(job, record, config, claim, processes, progress, log)


def _fit(
    job: TrainJob,
    record: ModelRecord,
    config: Any,
    claim: Claim,
    processes: Processes,
    progress: Callable[[TrainProgress], None],
    log: Callable[[str], None],
) -> Run:
    inputs = load_inputs(job, str(processes.device), log)
    data = inputs.data
    for line in unjudged(data, None if record.closed_form else job.training.epochs):
        log(line)
    description = _description(job, record, config, inputs)
    smaller = "" if record.closed_form else "lower --set dim or --batch-size, or "
    with allocating(job.model, f"{smaller}choose another --model"):
        if record.closed_form:
            fitted = _solved(record.load(), config, inputs)
        else:
            checkpoint = _checkpoint(claim.path, inputs.digest(description), log)
            fitted = _trained(job, record, config, inputs, progress, checkpoint, log)
    if processes.is_main:
        evaluations = evaluate_splits(fitted.scorer, data)
        if record.closed_form and validates(data):
            fitted.history[0].update(_validation(evaluations["valid"]))
        save_run(
            claim,
            config={**description, **inputs.lost(), "best_epoch": fitted.best_epoch},
            evaluations=evaluations,
            scorer=fitted.scorer,
            history=fitted.history,
            parameters=fitted.parameters,
            data=data,
            split=inputs.split,
            items=reordered(inputs.items.table, inputs.order),
            more=fitted.more,
        )
        forget_unfinished(claim.path, "checkpoint")
    processes.wait()
    return open_run(claim.path)


def _description(job: TrainJob, record: ModelRecord, config: Any, inputs: Inputs) -> dict[str, Any]:
    """What config.json says of a job, before it is known what became of it."""
    encoder = None
    if job.end_to_end is not None:
        assert inputs.catalogue is not None
        encoder = job.end_to_end.description(inputs.catalogue)
    return {
        "model": job.model,
        "settings": asdict(config),
        "can": {"cold_items": record.cold_items, "new_users": record.new_users},
        "training": None if record.closed_form else asdict(job.training),
        "data": str(job.data),
        **({} if job.images is None else {"images": str(job.images)}),
        "split": asdict(inputs.rule),
        "unknown_items": job.unknown_items,
        **({} if job.csv == PLAIN else {"csv": asdict(job.csv)}),
        "features": inputs.origins,
        "end_to_end": encoder,
        "versions": library_versions(),
    }


def _solved(module: Any, config: Any, inputs: Inputs) -> Fitted:
    start = time.perf_counter()
    scorer = module.fit(config, World(inputs.data.train, inputs.features))
    return Fitted(scorer, [{"seconds": time.perf_counter() - start}])


def _trained(
    job: TrainJob,
    record: ModelRecord,
    config: Any,
    inputs: Inputs,
    progress: Callable[[TrainProgress], None],
    checkpoint: Path,
    log: Callable[[str], None],
) -> Fitted:
    """By gradients: the recommender, or the recommender and the encoder together."""
    world = World(inputs.data.train, inputs.features)
    rows = world.n_users + world.n_items
    needed = 4 * COPIES * rows * int(config.dim)
    must_fit(f"--set dim={config.dim} of {rows:,} users and items", needed, "lower it")
    generator = torch.Generator().manual_seed(job.training.seed)
    model = checked(record.load().Model(config, world, generator), GradientModel)
    if job.end_to_end is not None:
        return _trained_along(model, job, inputs, progress, checkpoint, log)
    trained = train(model, inputs.data, job.training, progress, checkpoint, log)
    return Fitted(trained.scorer, trained.history, trained.best_epoch, trained.state)


def _trained_along(
    inner: GradientModel,
    job: TrainJob,
    inputs: Inputs,
    progress: Callable[[TrainProgress], None],
    checkpoint: Path,
    log: Callable[[str], None],
) -> Fitted:
    """The recommender and the encoder together; the run also keeps what the encoder became."""
    from mmx.recommend.end_to_end import EndToEnd

    joint, catalogue = job.end_to_end, inputs.catalogue
    assert joint is not None
    assert catalogue is not None
    model = EndToEnd(inner, catalogue, joint.options)
    trained = train(model, inputs.data, job.training, progress, checkpoint, log)
    return Fitted(
        trained.scorer,
        trained.history,
        trained.best_epoch,
        _below("inner.", trained.state),
        lambda folder: joint.write(folder, catalogue, _below("encoder.", trained.state)),
    )


def _below(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What of a state dict is of one part, under that part's own names."""
    return {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}


def _validation(evaluation: Evaluation) -> dict[str, float]:
    """The columns that an epoch's row of history.parquet has of it."""
    return {f"valid_{name}": v for name, v in evaluation.means.items() if name.endswith("@20")}


def _checkpoint(out: Path, digest: str, log: Callable[[str], None]) -> Path:
    """Beside ``out``, named after the job, so that no other job goes on from it."""
    path = unfinished(out, digest, "checkpoint")
    others = [kept for kept in all_unfinished(out, "checkpoint") if kept != path]
    if others and not path.exists():
        log(f"{first_few(others, 1)} is of other inputs or options; training starts over")
    return path


def _refuse_input(job: TrainJob, out: Path) -> None:
    """Raise OptionError when the run would replace what it is made from."""
    inputs = [as_place(job.data), *(spec.path for spec in job.specs)]
    inputs += [] if job.images is None else [as_place(job.images)]
    for place in inputs:
        if isinstance(place, Path) and place.resolve().is_relative_to(out.resolve()):
            raise OptionError(
                f"--out {out} contains {place}, which this job reads; set it elsewhere"
            )


def _check_options(job: TrainJob, record: ModelRecord) -> None:
    if job.images is not None and job.end_to_end is None:
        raise OptionError("--images needs --end-to-end: ready features hold the pictures already")
    if record.features == "none" and job.features:
        raise OptionError(f"{job.model} uses no features; drop --features, or --model vbpr")
    if job.end_to_end is not None:
        _check_end_to_end(job, record)
    elif record.features == "required" and not job.features:
        raise OptionError(f"{job.model} needs item features: give --features, or --model bpr")


def _check_end_to_end(job: TrainJob, record: ModelRecord) -> None:
    if job.features:
        raise OptionError("--end-to-end makes its own features; drop --features")
    if not record.end_to_end:
        raise OptionError(f"{job.model} cannot train an encoder along; --end-to-end takes "
                          f"{trained_along()}")  # fmt: skip
