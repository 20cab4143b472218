"""The training loop. It reads from top to bottom, for every model trained by gradients."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mmx.errors import OptionError, RunError
from mmx.recommend.evaluation import evaluate
from mmx.recommend.interactions import Interactions
from mmx.recommend.sampling import NegativeSampler
from mmx.recommend.scoring import Factors

VALIDATED_ON = "recall@20"


@dataclass(frozen=True)
class TrainOptions:
    """How to train, whatever the model."""

    epochs: int = 1000  # at most; early stopping ends most runs
    batch_size: int = 2048  # triples
    lr: float = 1e-3  # of Adam
    patience: int = 20  # evaluations without a better validation Recall@20 before stopping
    eval_every: int = 1  # epochs between evaluations
    seed: int = 0  # of initialisation, shuffling and negative sampling
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "eval_every"):
            if getattr(self, name) < 1:
                raise OptionError(f"--{name.replace('_', '-')} must be at least 1")
        if not self.lr > 0:
            raise OptionError(f"--lr {self.lr:g} must be positive")
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise OptionError(f"--device {self.device}: no CUDA device here; use --device cpu")


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


@dataclass(frozen=True)
class Trained:
    """The model at its best epoch, and how it got there."""

    scorer: Factors
    state: dict[str, torch.Tensor]  # of the best epoch
    history: list[dict[str, float]]  # one row per epoch
    best_epoch: int


def train(
    model: Any,
    data: Interactions,
    options: TrainOptions,
    progress: Callable[[TrainProgress], None] = lambda p: None,
) -> Trained:
    """Train a GradientModel; validation Recall@20 picks the epoch and stops the run.

    Without validation interactions the last epoch counts. Raises RunError when the loss is
    not finite.
    """
    device = torch.device(options.device)
    model.to(device)
    generator = torch.Generator(device).manual_seed(options.seed)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=options.lr, fused=True)
    sampler = NegativeSampler(data.train, device)
    validates = len(data.valid.indices) > 0
    history: list[dict[str, float]] = []
    best, best_epoch, best_state, scorer = -np.inf, 0, {}, None
    for epoch in range(1, options.epochs + 1):
        start = time.perf_counter()
        losses = []
        model.train()
        for users, positives, negatives in _batches(data, sampler, options, generator):
            loss = model.loss(users, positives, negatives)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        mean_loss = _finite(torch.stack(losses).mean().item(), epoch)
        trained = time.perf_counter()
        row = {"epoch": epoch, "loss": mean_loss, "seconds": trained - start}
        last = epoch == options.epochs
        if last or epoch % options.eval_every == 0:
            now = score(model)
            valid = evaluate(now, data.valid, data.train, cutoffs=(20,)).means if validates else {}
            reached = valid.get(VALIDATED_ON, float(epoch))
            if reached > best:
                best, best_epoch, scorer = reached, epoch, now
                best_state = copy.deepcopy(model.state_dict())
            row |= {f"valid_{name}": value for name, value in valid.items()}
        row["evaluation_seconds"] = time.perf_counter() - trained
        history.append(row)
        progress(_told(row, options, best_epoch, best))
        if validates and (epoch - best_epoch) // options.eval_every >= options.patience:
            break
    assert scorer is not None  # the last epoch always evaluates
    return Trained(scorer, best_state, history, best_epoch)


@torch.no_grad()
def score(model: Any) -> Factors:
    """The scorer of a model as it is now."""
    model.eval()
    users, items = model.factors()
    users, items = (x.detach().float().cpu().contiguous().numpy() for x in (users, items))
    return Factors(users.copy(), items.copy())


def _batches(
    data: Interactions,
    sampler: NegativeSampler,
    options: TrainOptions,
    generator: torch.Generator,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """One epoch: every training pair once, in random order, with a fresh negative."""
    device = sampler.keys.device
    order = torch.randperm(len(sampler.keys), generator=generator, device=device)
    users = sampler.keys[order] // sampler.n_items
    positives = sampler.keys[order] % sampler.n_items
    negatives = sampler.draw(users, generator)
    yield from zip(
        users.split(options.batch_size),
        positives.split(options.batch_size),
        negatives.split(options.batch_size),
        strict=True,
    )


def _finite(loss: float, epoch: int) -> float:
    if not np.isfinite(loss):
        raise RunError(f"the loss is {loss} in epoch {epoch}; lower --lr or raise --set reg=…")
    return loss


def _told(
    row: dict[str, float], options: TrainOptions, best_epoch: int, best: float
) -> TrainProgress:
    valid = {k.removeprefix("valid_"): v for k, v in row.items() if k.startswith("valid_")}
    return TrainProgress(
        epoch=int(row["epoch"]),
        epochs=options.epochs,
        loss=row["loss"],
        seconds=row["seconds"],
        evaluation_seconds=row["evaluation_seconds"],
        valid=valid,
        best_epoch=best_epoch,
        best=best,
    )
