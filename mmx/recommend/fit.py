"""``mmx train``: a dataset and feature stores in, a run directory out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mmx.atomic import Claim, all_unfinished, forget_unfinished, unfinished
from mmx.cache.schema import library_versions
from mmx.data.csvs.format import PLAIN
from mmx.data.id_order import reordered
from mmx.devices import described, usable_device
from mmx.errors import first_few
from mmx.files import Place, as_path, as_place
from mmx.kinds import must_be
from mmx.logs import log_line
from mmx.mapped import Space
from mmx.processes import Processes
from mmx.recommend.contract import checked, checked_scorer
from mmx.recommend.cost import Meter, metering
from mmx.recommend.curves import check_curves, curves, folder_of
from mmx.recommend.evaluation import Evaluation
from mmx.recommend.inductive import with_held_out
from mmx.recommend.inputs import Inputs, load_inputs
from mmx.recommend.job import TrainJob
from mmx.recommend.job_checks import check_options
from mmx.recommend.list_tables import with_lists
from mmx.recommend.memory import COPIES, SHARE_OF_BEST, allocating, memory_there, must_fit
from mmx.recommend.options import TrainProgress
from mmx.recommend.protocol import ClosedForm, GradientForm, GradientModel, ModelConfig, World
from mmx.recommend.records import ModelRecord
from mmx.recommend.run import Run, open_run, save_run
from mmx.recommend.run_folder import claimed_run, refuse_inputs
from mmx.recommend.scoring import Scorer
from mmx.recommend.serialize import numbers_in
from mmx.recommend.settings import parse_settings
from mmx.recommend.together import evaluate_together, ranked_together, same_scorer
from mmx.recommend.training import train
from mmx.recommend.validation import lines_of_empty_splits, validates


@dataclass(frozen=True)
class Task:
    """A job that was checked and whose inputs were read."""

    job: TrainJob
    record: ModelRecord
    config: Any  # of the model
    inputs: Inputs
    progress: Callable[[TrainProgress], None]
    log: Callable[[str], None]

    @property
    def world(self) -> World:
        """What the model may learn from."""
        device, found = self.job.training.device, self.inputs.features
        if torch.device(device).type == "cuda":
            found = {name: replace(one, device=device) for name, one in found.items()}
        return World(self.inputs.data.train, found, self.job.training.seed)


@dataclass(frozen=True)
class Fitted:
    """A model after training, by whatever means."""

    scorer: Scorer
    history: list[dict[str, float]]  # one row per epoch, or one in all
    best_epoch: int | None = None  # None where there are no epochs
    parameters: dict[str, torch.Tensor] | None = None  # of a model trained by gradients
    size: int | None = None  # how many numbers were trained
    resumed: bool = False  # after a kill
    more: Callable[[Path], None] = lambda folder: None  # writes what else the run keeps


def fit(
    job: TrainJob,
    out: Path | str | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[TrainProgress], None] = lambda p: None,
    log: Callable[[str], None] = log_line,
    tensorboard: Path | str | bool = False,
) -> Run:
    """Train, choose the epoch on validation, evaluate on test once, and write the run.

    ``out`` is by default the first of ``runs/NAME``, ``runs/NAME-2`` … that is free, and belongs
    to this process until it is done. A killed run continues when called again with the same job
    and ``out``; with ``overwrite`` an existing run is replaced at the end. ``progress`` is called
    after each epoch, ``log`` with lines on what is left out and which items have vectors.
    ``tensorboard`` is a folder for TensorBoard's files, or True for one beside the run. Under
    torchrun every process trains and evaluates, and the first one writes. Raises an MmxError of
    the kind that fits before anything is written.
    """
    must_be("job", job, TrainJob)
    must_be("overwrite", overwrite, bool)
    must_be("progress", progress, Callable)
    out = None if out is None else as_path(out)
    record = job.record
    with record.blamed():
        config = _config(job, record)
    check_options(job, record)
    check_curves(record, tensorboard)
    if out is not None:
        _refuse_input(job, out)
    device = str(usable_device(job.training.device))  # the same in every process
    job = replace(job, training=replace(job.training.of(record), device=device))
    processes = Processes(device)
    with (
        processes.claim(claimed_run(out, job.name, overwrite)) as claim,
        metering(str(processes.device)) as meter,
    ):
        inputs = load_inputs(job, record, str(processes.device), log, claim.path.parent)
        if job.expected is not None:
            job.expected.compare(inputs.contents, inputs.origins, log)
        task = Task(job, record, config, inputs, progress, log)
        folder = folder_of(claim.path, tensorboard) if processes.is_main else None
        with record.blamed(), curves(folder, _description(task), progress) as drawn:
            fitted = _fitted(replace(task, progress=drawn), claim.path)
        start = time.perf_counter()
        fitted = replace(fitted, scorer=same_scorer(fitted.scorer, processes))
        evaluations = evaluate_together(fitted.scorer, inputs.data, processes)
        evaluating = time.perf_counter() - start
        k = job.training.keep_lists
        lists = ranked_together(fitted.scorer, inputs.data, k, processes)
        if processes.is_main:
            fitted = replace(fitted, more=with_lists(fitted.more, lists, inputs.data, k))
            _write(task, fitted, evaluations, claim, _cost(fitted, meter, evaluating))
        deque(lists, 0)  # the first has taken them all, the others are to make their share
        processes.wait()
        del task, inputs, fitted, lists  # their memory, for the run
        return open_run(claim.path)


def _config(job: TrainJob, record: ModelRecord) -> Any:
    """The settings of the model. Raises OptionError, RunError for what is not a ModelConfig."""
    config = parse_settings(record, job.settings)
    if not record.closed_form:
        config = checked(config, ModelConfig)
    if job.end_to_end is not None and record.end_to_end:
        config = config.end_to_end()
    return config


def _fitted(task: Task, out: Path) -> Fitted:
    """The model after training. Raises RunError where memory is too small."""
    epochs = None if task.record.closed_form else task.job.training.epochs
    for line in lines_of_empty_splits(task.inputs.data, epochs):
        task.log(line)
    if task.inputs.rule.rule == "cold-items" and not task.record.cold_items:
        task.log(f"{task.record.name} cannot score items that nobody took, and --split cold-items "
                 "tests only those: their order is random")  # fmt: skip
    module = task.record.load()
    smaller = "" if task.record.closed_form else "lower --set dim or --batch-size, or "
    with allocating(task.record.name, f"{smaller}choose another --model"):
        if isinstance(module, ClosedForm):
            return _solved(task, module)
        return _trained(task, module, out)


def _solved(task: Task, module: ClosedForm) -> Fitted:
    start = time.perf_counter()
    scorer = checked_scorer(module.fit(task.config, task.world), task.world)
    scorer = with_held_out(scorer, task.inputs.data)
    return Fitted(scorer, [{"seconds": time.perf_counter() - start}])


def _trained(task: Task, module: GradientForm, out: Path) -> Fitted:
    """By gradients: the recommender, or the recommender and the encoder together."""
    code = task.record.code or {}
    told = {**_description(task), **({"code": code["name"]} if code else {})}  # its SHA-256 is
    checkpoint = _checkpoint(out, task.inputs.digest(told), task.log)  # in the checkpoint
    model = _model(task, module)
    data, options = task.inputs.data, task.job.training
    task.log(f"{task.record.name} on {described(options.device)}")
    space = Space(out.parent, memory_there() // SHARE_OF_BEST)
    trained = train(
        model, data, options, task.progress, checkpoint, task.log, code.get("sha256"), space
    )
    size = sum(p.numel() for p in model.parameters() if p.requires_grad)
    fitted = Fitted(
        trained.scorer, trained.history, trained.best_epoch, trained.state, size, trained.resumed
    )
    return fitted if task.job.end_to_end is None else _with_encoder(task, fitted)


def _model(task: Task, module: GradientForm) -> GradientModel:
    """The model as it is initialised; it holds the encoder where that is trained, too."""
    rows = task.world.n_users + task.world.n_items
    needed = 4 * COPIES * rows * int(task.config.dim)
    must_fit(f"--set dim={task.config.dim} of {rows:,} users and items", needed, "lower it")
    generator = torch.Generator().manual_seed(task.job.training.seed)
    model = checked(module.Model(task.config, task.world, generator), GradientModel)
    if task.job.end_to_end is None:
        return model
    from mmx.recommend.end_to_end import EndToEnd

    assert task.inputs.catalogue is not None
    return EndToEnd(model, task.inputs.catalogue, task.job.end_to_end.options)


def _with_encoder(task: Task, fitted: Fitted) -> Fitted:
    """The recommender with its own parameters; the encoder goes into the run's folder."""
    joint, catalogue, state = task.job.end_to_end, task.inputs.catalogue, fitted.parameters
    assert joint is not None
    assert catalogue is not None
    assert state is not None
    encoder = _below("encoder.", state)
    return replace(
        fitted,
        parameters=_below("inner.", state),
        more=lambda folder: joint.write(folder, catalogue, encoder),
    )


def _below(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The part of a state dict under ``prefix``, without it in the names."""
    return {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}


def _cost(fitted: Fitted, meter: Meter, evaluating: float) -> dict[str, Any]:
    """What the job cost; the evaluation took so many seconds."""
    size = numbers_in(fitted.scorer) if fitted.size is None else fitted.size
    return meter.record(fitted.history, evaluating, size, fitted.resumed)


def _write(
    task: Task, fitted: Fitted, found: dict[str, Evaluation], claim: Claim, cost: dict[str, Any]
) -> None:
    inputs = task.inputs
    if task.record.closed_form and validates(inputs.data):
        means = found["valid"].means.items()
        fitted.history[0].update({f"valid_{name}": v for name, v in means if name.endswith("@20")})
    save_run(
        claim,
        config={
            **_description(task),
            **inputs.lost(),
            "best_epoch": fitted.best_epoch,
            "cost": cost,
        },
        evaluations=found,
        scorer=fitted.scorer,
        history=fitted.history,
        parameters=fitted.parameters,
        data=inputs.data,
        split=inputs.split,
        items=reordered(inputs.items.table, inputs.order),
        more=fitted.more,
    )
    forget_unfinished(claim.path, "checkpoint")


def _description(task: Task) -> dict[str, Any]:
    """What config.json says of a job before it has run."""
    job, record, inputs, encoder = task.job, task.record, task.inputs, None
    if job.end_to_end is not None:
        assert inputs.catalogue is not None
        encoder = job.end_to_end.description(inputs.catalogue)
    return {
        "model": record.name,
        **({} if record.code is None else {"code": record.code}),
        "settings": asdict(task.config),
        "can": {"cold_items": record.cold_items, "new_users": record.new_users},
        "training": job.training.described_for(record),
        "data": str(job.data),
        **({} if job.images is None else {"images": str(job.images)}),
        "split": inputs.rule.described(),
        "unknown_items": job.unknown_items,
        **inputs.weighted(job.ignore_weights),
        **({} if job.csv == PLAIN else {"csv": asdict(job.csv)}),
        "features": inputs.origins,
        **({} if job.arm is None else {"control": job.arm.described(job.training.seed)}),
        "end_to_end": encoder,
        "inputs": inputs.contents,
        "versions": library_versions(),
    }


def _checkpoint(out: Path, digest: str, log: Callable[[str], None]) -> Path:
    """Next to ``out``, named after the job, so that no other job continues from it."""
    path = unfinished(out, digest, "checkpoint")
    others = [kept for kept in all_unfinished(out, "checkpoint") if kept != path]
    if others and not path.exists():
        log(f"{first_few(others, 1)} is of other inputs or options; training starts over")
    return path


def _refuse_input(job: TrainJob, out: Path) -> None:
    """Raise OptionError when the run would replace what it is made from."""
    inputs: list[Place] = [as_place(job.data), *(spec.path for spec in job.specs)]
    inputs += [] if job.images is None else [as_place(job.images)]
    refuse_inputs(out, inputs)
