"""The training loop. It reads from top to bottom, for every model trained by gradients."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from mmx.bounds import SEED, check_options, number, whole
from mmx.errors import RunError, one_of
from mmx.processes import Processes, usable_device
from mmx.recommend.allocation import keep_freed_memory
from mmx.recommend.checkpoint import Checkpoint
from mmx.recommend.evaluation import evaluate_scorer
from mmx.recommend.interactions import Interactions
from mmx.recommend.protocol import GradientModel
from mmx.recommend.sampling import RULES, NegativeSampler
from mmx.recommend.scoring import Factors
from mmx.recommend.trained import Trained
from mmx.recommend.validation import validates

VALIDATED_ON = "recall@20"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class TrainOptions:
    """How to train, whatever the model."""

    epochs: int = 1000  # at most; early stopping ends most runs
    batch_size: int = 2048  # triples
    lr: float = 1e-3  # of Adam
    lr_decay: float = 1.0  # factor on the learning rate after every epoch
    clip: float = 0.0  # largest gradient norm; 0 does not clip
    patience: int = 20  # evaluations without a better validation Recall@20 before stopping
    eval_every: int = 1  # epochs between evaluations
    negatives: str = "uniform"  # how negative items are drawn: uniform or popularity
    precision: str = "float32"  # of the forward pass; bfloat16 through autocast
    seed: int = 0  # of initialisation, shuffling and negative sampling
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_options(
            self,
            epochs=whole(1),
            batch_size=whole(1),
            lr=number(0, above=True),
            lr_decay=number(0, 1, above=True),
            clip=number(0),
            patience=whole(1),
            eval_every=whole(1),
            seed=SEED,
        )
        one_of("--negatives", self.negatives, RULES)
        one_of("--precision", self.precision, PRECISIONS)
        usable_device(self.device)


@dataclass
class TrainProgress:
    """What the caller is told after each epoch."""

    epoch: int
    epochs: int
    loss: float
    seconds: float  # training alone
    evaluation_seconds: float
    valid: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    best: float = float("-inf")  # validation Recall@20


def train(
    model: GradientModel,
    data: Interactions,
    options: TrainOptions,
    progress: Callable[[TrainProgress], None] = lambda p: None,
    checkpoint: Path | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Trained:
    """Train a GradientModel; validation Recall@20 picks the epoch and stops the run.

    Where nothing validates (``mmx.recommend.validation``) the last epoch counts. With a
    ``checkpoint`` file a killed run goes on where it was and ends, on a CPU, in the very same
    weights. ``log`` gets a line of training pairs that are skipped. Raises RunError when the loss
    or an embedding is not finite or the checkpoint is of another job, DataError when every user
    took every item.
    """
    keep_freed_memory()
    processes = Processes(options.device)
    device = processes.device
    model.to(device)
    generator = torch.Generator(device).manual_seed(options.seed)
    groups = model.parameter_groups(options.lr)
    parameters = [p for group in groups for p in group["params"]]
    optimiser = torch.optim.Adam(groups, lr=options.lr, fused=True)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, options.lr_decay)
    sampler = NegativeSampler(data.train, device, options.negatives)
    if sampler.skipped:
        log(sampler.skipped)
    best = Trained(score(model), {})
    keeper = Checkpoint(checkpoint, model, optimiser, schedule, generator)
    first = keeper.load(best) + 1
    for epoch in range(first, options.epochs + 1):
        if _is_over(best, epoch - 1, data, options):
            break
        start = time.perf_counter()
        losses = []
        model.train()
        model.epoch_start(generator)
        for users, positives, negatives in _batches(sampler, options, generator):
            batch, share = processes.share(users, positives, negatives, whole=model.whole_batch)
            if not share:  # fewer rows than processes: the mean of none would be NaN
                batch = users, positives, negatives
            with torch.autocast(device.type, torch.bfloat16, options.precision == "bfloat16"):
                loss = model.loss(*batch) * share
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            model.after_backward()
            processes.sum_gradients(parameters)
            if options.clip:
                torch.nn.utils.clip_grad_norm_(parameters, options.clip)
            optimiser.step()
            losses.append(loss.detach())
        schedule.step()
        mean_loss = _finite(torch.stack(losses).mean().item(), epoch)
        row = {"epoch": epoch, "loss": mean_loss, "seconds": time.perf_counter() - start}
        start = time.perf_counter()
        if epoch == options.epochs or epoch % options.eval_every == 0:
            row |= _validate(model, data, best, epoch, processes)
        row["evaluation_seconds"] = time.perf_counter() - start
        best.history.append(row)
        progress(_told(row, options, best))
        if processes.is_main:
            keeper.save(epoch, best)
    return best


def _validate(
    model: GradientModel, data: Interactions, best: Trained, epoch: int, processes: Processes
) -> dict[str, float]:
    """Validation metrics of the model as it is; ``best`` takes it over when it is better."""
    scorer, valid = score(model), {}
    _finite_scores(scorer, epoch)
    judging = validates(data)
    if judging:
        valid = evaluate_scorer(scorer, data.valid, data.train, cutoffs=(20,)).means
    reached = processes.agree(valid.get(VALIDATED_ON, -math.inf))
    if reached > best.best or not judging:  # without validation the last epoch counts
        best.best, best.best_epoch, best.scorer = reached, epoch, scorer
        best.state = copy.deepcopy(model.state_dict())
    return {f"valid_{name}": value for name, value in valid.items()}


def _is_over(best: Trained, epoch: int, data: Interactions, options: TrainOptions) -> bool:
    """Whether patience had run out after ``epoch``."""
    waited = (epoch - best.best_epoch) // options.eval_every
    return validates(data) and best.best_epoch > 0 and waited >= options.patience


@torch.no_grad()
def score(model: GradientModel) -> Factors:
    """The scorer of a model as it is now."""
    model.eval()
    users, items = (x.detach().float().cpu().contiguous() for x in model.factors())
    return Factors(users.numpy().copy(), items.numpy().copy())


def _batches(
    sampler: NegativeSampler, options: TrainOptions, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """One epoch: every training pair once, in random order, with a fresh negative."""
    pairs = sampler.pairs
    order = torch.randperm(len(pairs), generator=generator, device=pairs.device)
    users = pairs[order] // sampler.n_items
    positives = pairs[order] % sampler.n_items
    negatives = sampler.draw(users, generator)
    parts = (x.split(options.batch_size) for x in (users, positives, negatives))
    yield from zip(*parts, strict=True)


def _finite(loss: float, epoch: int) -> float:
    if not np.isfinite(loss):
        raise RunError(f"the loss is {loss} in epoch {epoch}; lower --lr or raise --set reg=…")
    return loss


def _finite_scores(scorer: Factors, epoch: int) -> None:
    """Raise RunError when an update has left what a number can be, though the loss had not."""
    if not (np.isfinite(scorer.users).all() and np.isfinite(scorer.items).all()):
        raise RunError(f"embeddings are not finite after epoch {epoch}; lower --lr")


def _told(row: dict[str, float], options: TrainOptions, best: Trained) -> TrainProgress:
    valid = {k.removeprefix("valid_"): v for k, v in row.items() if k.startswith("valid_")}
    return TrainProgress(
        epoch=int(row["epoch"]),
        epochs=options.epochs,
        loss=row["loss"],
        seconds=row["seconds"],
        evaluation_seconds=row["evaluation_seconds"],
        valid=valid,
        best_epoch=best.best_epoch,
        best=best.best,
    )
