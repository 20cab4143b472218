"""Fine-tuning: the loop, from pairs to a checkpoint that ``mmx extract --weights`` takes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from mmx.atomic import Claim, claimed
from mmx.data.dataset import Items
from mmx.errors import OptionError, RunError
from mmx.extract.encoder import Encoder
from mmx.extract.finetune.ahead import Ahead, process_count
from mmx.extract.finetune.keeper import TUNED, Keeper, State
from mmx.extract.finetune.losses import found_at
from mmx.extract.finetune.objective import Objective
from mmx.extract.finetune.options import FinetuneOptions, FinetuneProgress
from mmx.extract.finetune.pairs import DrawnBatch, Pairs, load_pairs
from mmx.extract.finetune.partners import Partners
from mmx.extract.finetune.trainable import choose_parameters, open_trainable
from mmx.extract.sources.web import Web
from mmx.files import as_path
from mmx.logs import log_line
from mmx.processes import Processes


def tune_encoder(
    items: Items,
    encoder: Encoder,
    out: Path | str,
    options: FinetuneOptions,
    *,
    overwrite: bool = False,
    split: pa.Table | None = None,
    pixels: Path | str = Path("cache/pixels"),
    web: Web | None = None,
    decode_processes: int | None = None,
    progress: Callable[[FinetuneProgress], None] = lambda p: None,
    log: Callable[[str], None] = log_line,
) -> dict[str, Any]:
    """Fine-tune ``encoder`` on the pictures and texts of ``items``; the run's config.

    ``split`` (user_id, item_id, split) is needed by the co-interaction objective;
    ``web`` says how pictures are fetched. ``decode_processes`` augment pictures beside the training
    (0: none; None: automatic, see ``process_count``) and change no number. ``log`` is called with
    lines on what went wrong there. Validation loss picks the epoch. A killed run continues with the
    same call; an existing run at ``out`` is replaced, with ``overwrite``, when the new
    one is done. Raises OptionError for encoders or objectives that do not go together,
    TargetError when ``out`` must not be touched, DataError when there are too few pairs that
    differ in picture and text, and RunError when a loss is not finite or what a killed run kept
    is damaged.
    """
    out, pixels = as_path(out), as_path(pixels)
    trainable = open_trainable(encoder)
    processes = Processes(str(trainable.hardware.device))
    count = process_count(decode_processes, processes.device, augment=options.augment)
    with processes.claim(claimed(out, TUNED, overwrite=overwrite)) as target:
        partners = _partners(items, split, options)
        torch.manual_seed(options.seed)  # adapters and stochastic depth draw from torch's own
        parameters = list(choose_parameters(trainable, options.tune).values())
        pairs = load_pairs(
            items, encoder, pixels, valid_share=options.valid_share, seed=options.seed, web=web
        )
        if min(options.batch_size, len(pairs.train)) < processes.size:
            raise OptionError(
                f"{processes.size} processes of torchrun share batches of "
                f"{min(options.batch_size, len(pairs.train))} pairs; start fewer, "
                "or raise --batch-size where there are more pairs"
            )
        if options.checkpointing:
            trainable.checkpoint_blocks()
        generator = torch.Generator().manual_seed(options.seed)
        objective = Objective(trainable, pairs, options, partners, generator, processes)
        config = _config(encoder, items, options, pairs, partners)
        with Ahead(count, trainable.hardware, log) as ahead:
            _run(objective, parameters, ahead, config, target, progress)
    return config


def _run(
    objective: Objective,
    parameters: list[torch.nn.Parameter],
    ahead: Ahead,
    config: dict[str, Any],
    target: Claim,
    progress: Callable[[FinetuneProgress], None],
) -> None:
    """All epochs, then the run directory."""
    options, processes = objective.options, objective.processes
    steps, state = TuneSteps(objective, parameters, ahead), State()
    keeper = Keeper(target.path, config, objective.trainable, steps.optimiser, steps.schedule,
                    objective.generator)  # fmt: skip
    keeper.load(state)
    while state.epoch < options.epochs and state.epoch - state.best_epoch < options.patience:
        start = time.perf_counter()
        mean = steps.epoch()
        state.epoch += 1
        loss = _finite("loss", processes.agree(mean), state.epoch)
        row = {"epoch": state.epoch, "loss": loss}
        row |= {"seconds": time.perf_counter() - start, **validate(objective)}
        row["valid_loss"] = processes.agree(row["valid_loss"])
        _finite("validation loss", row["valid_loss"], state.epoch)
        state.history.append(row)
        state.judge()
        if processes.is_main:
            keeper.save(state)
            progress(FinetuneProgress(state.epoch, options.epochs, row, state.best_epoch))
    if processes.is_main:
        keeper.finish(target, state)
    processes.wait()


class TuneSteps:
    """The gradient steps of a fine-tuning."""

    def __init__(
        self, objective: Objective, parameters: list[torch.nn.Parameter], ahead: Ahead
    ) -> None:
        options, pairs = objective.options, len(objective.pairs.train)
        self.objective, self.parameters, self.ahead = objective, parameters, ahead
        self.batches = max(1, pairs // options.batch_size)  # of an epoch; a short one is left out
        steps = -(-self.batches // options.accumulate)
        self.optimiser = torch.optim.AdamW(
            parameters, options.lr, weight_decay=options.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, _cosine(options, steps))

    def epoch(self) -> float:
        """All batches once, in random order; the mean of their losses."""
        objective, size = self.objective, self.objective.options.batch_size
        objective.trainable.model.train()
        train = objective.pairs.train
        order = torch.from_numpy(train)[torch.randperm(len(train), generator=objective.generator)]
        parts = order[: self.batches * size].split(size)
        drawn = [objective.draw(rows) for rows in parts]  # all at once: none waits for a step
        together: int = objective.options.accumulate
        losses: list[torch.Tensor] = []
        with closing(self.ahead.each(drawn)) as batches:
            for first in range(0, len(drawn), together):
                count = min(together, len(drawn) - first)
                losses += self._step(islice(batches, count), count)
        return float(sum(torch.stack(losses).tolist())) / self.batches  # a GPU is waited for here

    def _step(self, group: Iterable[DrawnBatch], count: int) -> list[torch.Tensor]:
        """One step by the mean gradient of ``count`` batches; their losses."""
        objective, losses = self.objective, []
        self.optimiser.zero_grad(set_to_none=True)
        for drawn in group:
            loss = objective.loss(drawn)
            (loss / count).backward()
            losses.append(loss.detach())
        objective.sum_gradients(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.schedule.step()
        with torch.no_grad():
            objective.trainable.log_scale.clamp_(max=math.log(100))  # as CLIP does, section 2.5
        return losses


def _finite(what: str, loss: float, epoch: int) -> float:
    """Raise RunError on NaN or infinity: nothing of that epoch is kept."""
    if not math.isfinite(loss):
        raise RunError(f"the {what} is {loss} in epoch {epoch}; lower --lr")
    return loss


@torch.no_grad()
def validate(objective: Objective) -> dict[str, float]:
    """The contrastive losses and image-to-text Recall@1, 5 and 10 among the held-out pairs.

    A text counts as found when it is the picture's own or word for word the same.
    """
    objective.trainable.model.eval()
    rows = torch.from_numpy(objective.pairs.valid)
    images, texts, loss = objective.held_out(rows)
    rank = found_at(images, texts, objective.alike_among(rows))
    recalls = {f"valid_recall@{k}": (rank < k).float().mean().item() for k in (1, 5, 10)}
    return {"valid_loss": loss.item(), **recalls}


def _partners(items: Items, split: pa.Table | None, options: FinetuneOptions) -> Partners | None:
    if "co-interaction" not in options.objectives:
        return None
    if split is None:
        raise OptionError("--objective co-interaction needs the dataset's interactions")
    return Partners(items, split)


def _cosine(options: FinetuneOptions, steps: int) -> Callable[[int], float]:
    """Linear warm-up, then half a cosine down to zero, over all epochs."""
    total = steps * options.epochs
    rising = max(1, round(options.warmup * total))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, total - rising))))

    return factor


def _config(
    encoder: Encoder,
    items: Items,
    options: FinetuneOptions,
    pairs: Pairs,
    partners: Partners | None,
) -> dict[str, Any]:
    """All that is needed to repeat the run, and to open its weights."""
    return {
        "finetune": encoder.card.name,
        "card": json.loads(encoder.card.to_json()),
        "options": {**asdict(options), "objectives": list(options.objectives)},
        "items_fingerprint": items.fingerprint(),
        "pairs_sha256": pairs.sha256,
        **({} if partners is None else {"partners_sha256": partners.sha256}),
        "train_pairs": len(pairs.train),
        "valid_pairs": len(pairs.valid),
        "truncated_share": pairs.truncated,
    }
