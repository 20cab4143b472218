"""The training loop. It reads from top to bottom, for every model trained by gradients."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from mmx.errors import RunError
from mmx.mapped import MEMORY, Space, are_finite
from mmx.processes import Processes
from mmx.recommend.allocation import keep_freed_memory
from mmx.recommend.checkpoint import Checkpoint
from mmx.recommend.contract import (
    check_rows,
    checked_factors,
    checked_groups,
    checked_loss,
    hook_named,
)
from mmx.recommend.device_factors import DeviceFactors
from mmx.recommend.inductive import with_held_out
from mmx.recommend.interactions import Interactions
from mmx.recommend.kept import Kept
from mmx.recommend.options import EVALUATIONS, STEPS, TrainOptions, TrainProgress
from mmx.recommend.protocol import GradientModel
from mmx.recommend.sampling import NegativeSampler
from mmx.recommend.scoring import Factors
from mmx.recommend.together import validated
from mmx.recommend.trained import Trained
from mmx.recommend.validation import VALIDATED_ON, validates

Triples = tuple[torch.Tensor, ...]  # (B,) users, positives, negatives; the same on the CPU


def train(
    model: GradientModel,
    data: Interactions,
    options: TrainOptions,
    progress: Callable[[TrainProgress], None] = lambda p: None,
    checkpoint: Path | None = None,
    log: Callable[[str], None] = lambda line: None,
    code: str | None = None,
    space: Space = MEMORY,
) -> Trained:
    """Train a GradientModel; validation Recall@20 picks the epoch and stops the run.

    Where nothing validates (``mmx.recommend.validation``) the last epoch counts. With a
    ``checkpoint`` file a killed run continues and ends, on a CPU, in the same weights to the bit.
    ``log`` gets a line on training pairs that are skipped, ``code`` is the SHA-256 of the model's
    file, where it is of the user's own: no checkpoint of another is continued. Large matrices of
    the best epoch are kept in ``space``. Raises RunError when the loss or an embedding is not
    finite or the checkpoint is of another job, DataError when every user took every item.
    """
    keep_freed_memory()
    processes = Processes(options.device)
    steps = TrainSteps(model, data, options, processes)
    if steps.sampler.skipped:
        log(steps.sampler.skipped)
    kept = Kept(space)
    best = Trained(kept.factors(score(model)), {})
    check_rows(model, len(best.scorer.users), len(best.scorer.items), data.train)
    keeper = Checkpoint(checkpoint, model, steps.optimiser, steps.schedule, steps.generator, code)
    first = keeper.load(best) + 1
    best.resumed = first > 1
    for epoch in range(first, options.epochs + 1):
        if _is_over(best, epoch - 1, data, options, steps.count):
            break
        start = time.perf_counter()
        loss = _finite(model, steps.epoch(), epoch)
        row = {"epoch": epoch, "loss": loss, "seconds": time.perf_counter() - start}
        start = time.perf_counter()
        if epoch == options.epochs or epoch % options.eval_every == 0:
            row |= _validate(model, data, best, epoch, processes, kept)
        row["evaluation_seconds"] = time.perf_counter() - start
        best.history.append(row)
        progress(_progress_of(row, options, best))
        if processes.is_main and keeper.is_due():
            kept.fetch(best)
            keeper.save(epoch, best, kept.release)
    kept.fetch(best)
    return best


class TrainSteps:
    """The gradient steps of a training."""

    def __init__(
        self, model: GradientModel, data: Interactions, options: TrainOptions, processes: Processes
    ) -> None:
        """Moves the model to its device. Raises DataError when every user took every item."""
        self.model, self.options, self.processes = model, options, processes
        model.to(processes.device)
        model.draw_on(processes.device)
        self.generator = torch.Generator(processes.device).manual_seed(options.seed)
        rate = model.facts.lr if options.lr is None else options.lr
        groups = checked_groups(model, model.parameter_groups(rate))
        self.parameters = [p for group in groups for p in group["params"]]
        self.optimiser = torch.optim.Adam(groups, lr=rate, fused=True)
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimiser, options.lr_decay)
        self.sampler = NegativeSampler(data.train, processes.device, options.negatives)

    @property
    def count(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.sampler.pairs) // self.options.batch_size)

    def epoch(self) -> float:
        """A step for each batch; the mean of the losses."""
        self.model.train()
        self.model.epoch_start(self.generator)
        losses = [self._step(batch, number) for number, batch in enumerate(self._batches())]
        self.optimiser.zero_grad(set_to_none=True)  # their memory, for the validation
        self.schedule.step()
        return torch.stack(losses).mean().item()

    def _batches(self) -> Iterator[Triples]:
        """The training pairs of an epoch in random order, with a new negative each."""
        pairs = self.sampler.positives(self.generator)
        order = torch.randperm(len(pairs), generator=self.generator, device=pairs.device)
        users = pairs[order] // self.sampler.n_items
        positives = pairs[order] % self.sampler.n_items
        negatives = self.sampler.draw(users, self.generator)
        whole = [users, positives, negatives]
        if self.model.reads_batches:  # copied now, so that no step waits for it
            whole += [x.cpu() for x in whole]
        yield from zip(*(x.split(self.options.batch_size) for x in whole), strict=True)

    def _step(self, batch: Triples, number: int) -> torch.Tensor:
        """The loss before the step, this process's share, as a constant.

        Mirror Gradient (Zhong et al., "Mirror Gradient: Towards Robust Multimodal Recommender
        Systems via Exploring Flat Local Minima", WWW 2024, arXiv 2402.11262): every β-th batch
        of an epoch is followed by a step that raises α times its loss. Both are steps of one
        Adam, as in the authors' code, and both are clipped.
        """
        loss = self._descend(batch, 1.0)
        if self.options.mirror_gradient and number % self.options.mirror_every == 0:
            self._descend(batch, -self.options.mirror_gradient)
        return loss

    def _descend(self, batch: Triples, factor: float) -> torch.Tensor:
        """A step of Adam down ``factor`` times the loss, which is returned without it."""
        mine, share = self.processes.share(*batch, whole=self.model.whole_batch)
        if not share:  # fewer rows than processes: the mean of none would be NaN
            mine = batch
        half = self.options.precision == "bfloat16"
        with torch.autocast(self.processes.device.type, torch.bfloat16, half):
            loss = checked_loss(self.model, self.model.loss(*mine)) * share
        self.optimiser.zero_grad(set_to_none=True)
        (factor * loss).backward()
        self.model.after_backward()
        self.processes.sum_gradients(self.parameters)
        if self.options.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.options.clip)
        self.optimiser.step()
        return loss.detach()


def _validate(
    model: GradientModel,
    data: Interactions,
    best: Trained,
    epoch: int,
    processes: Processes,
    kept: Kept,
) -> dict[str, float]:
    """Validation metrics of the model as it is; ``best`` becomes this epoch where it is better."""
    scorer, valid = embeddings(model), {}
    _finite_scores(model, scorer, epoch)
    if data.fold_in is not None:
        scorer = with_held_out(_on_cpu(scorer), data)
    judging = validates(data)
    if judging:
        valid = validated(scorer, data, processes)
    reached = processes.agree(valid.get(VALIDATED_ON, -math.inf))
    if reached > best.best or not judging:  # without validation the last epoch counts
        best.best, best.best_epoch = reached, epoch
        kept.scorer(best, scorer)
        kept.state(best.state, model)
    return {f"valid_{name}": value for name, value in valid.items()}


def _is_over(
    best: Trained, epoch: int, data: Interactions, options: TrainOptions, steps: int
) -> bool:
    """Whether patience had run out after ``epoch``; an epoch has so many ``steps``."""
    if not validates(data) or not best.best_epoch:
        return False
    epochs = epoch - best.best_epoch
    if options.patience is not None:
        return epochs // options.eval_every >= options.patience
    return epochs // options.eval_every >= EVALUATIONS and epochs * steps >= STEPS


def score(model: GradientModel) -> Factors:
    """The scorer of a model as it is now."""
    return _on_cpu(embeddings(model))


def _on_cpu(scorer: Factors | DeviceFactors) -> Factors:
    return scorer.on_cpu() if isinstance(scorer, DeviceFactors) else scorer


@torch.no_grad()
def embeddings(model: GradientModel) -> Factors | DeviceFactors:
    """The scorer where the model is; on a GPU, until the model's next step."""
    model.eval()
    found = checked_factors(model, model.factors())
    users, items = (x.detach().float().contiguous() for x in found)
    if users.is_cuda and items.is_cuda:
        return DeviceFactors(users, items)
    return Factors(_own(users.cpu(), model), _own(items.cpu(), model))


def _own(factors: torch.Tensor, model: GradientModel) -> np.ndarray:
    """As an array that training does not change: a copy only of what the model trains."""
    trained = {x.untyped_storage().data_ptr() for x in (*model.parameters(), *model.buffers())}
    array = factors.numpy()
    return array.copy() if factors.untyped_storage().data_ptr() in trained else array


def _finite(model: GradientModel, loss: float, epoch: int) -> float:
    if not np.isfinite(loss):
        said = f"the loss is {loss} in epoch {epoch}; lower --lr or raise --set reg=…"
        raise RunError(hook_named(model, "loss", said))
    return loss


def _finite_scores(model: GradientModel, scorer: Factors | DeviceFactors, epoch: int) -> None:
    """Raise RunError when an update gave NaN or infinity, though the loss was finite."""
    if isinstance(scorer, DeviceFactors):
        finite = scorer.are_finite()
    else:
        finite = are_finite(scorer.users) and are_finite(scorer.items)
    if not finite:
        said = f"embeddings are not finite after epoch {epoch}; lower --lr"
        raise RunError(hook_named(model, "factors", said))


def _progress_of(row: dict[str, float], options: TrainOptions, best: Trained) -> TrainProgress:
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
