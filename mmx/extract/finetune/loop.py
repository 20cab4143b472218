"""Fine-tuning: the loop, from pairs to a checkpoint that ``mmx extract --weights`` takes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from mmx.atomic import Claim, claimed
from mmx.data.dataset import Items
from mmx.errors import OptionError, RunError
from mmx.extract.encoder import Encoder
from mmx.extract.finetune.keeper import TUNED, Keeper, State
from mmx.extract.finetune.objective import Objective
from mmx.extract.finetune.options import FinetuneOptions, FinetuneProgress
from mmx.extract.finetune.pairs import Pairs, load_pairs
from mmx.extract.finetune.partners import Partners
from mmx.extract.finetune.trainable import Trainable, choose_parameters, open_trainable
from mmx.extract.sources.web import Web
from mmx.files import as_path
from mmx.processes import Processes


def finetune(
    items: Items,
    encoder: Encoder,
    out: Path | str,
    options: FinetuneOptions,
    *,
    overwrite: bool = False,
    split: pa.Table | None = None,
    pixels: Path | str = Path("cache/pixels"),
    web: Web | None = None,
    progress: Callable[[FinetuneProgress], None] = lambda p: None,
) -> dict[str, Any]:
    """Fine-tune ``encoder`` on the pictures and texts of ``items``; the run's config.

    ``split`` (user_id, item_id, split) is needed by the co-interaction objective;
    ``web`` says how pictures are fetched. Validation loss picks the epoch. A killed run resumes
    with the same call; with ``overwrite`` what is at ``out`` is replaced when the new run is done.
    Raises OptionError for encoders or objectives that do not go together, TargetError when
    ``out`` must not be touched, DataError when there are too few pairs that differ in picture and
    text, and RunError when a loss is not finite or what a killed run kept is damaged.
    """
    out, pixels = as_path(out), as_path(pixels)
    trainable = open_trainable(encoder)
    processes = Processes(str(trainable.hardware.device))
    with processes.claim(claimed(out, TUNED, overwrite=overwrite)) as target:
        return _finetune(
            items, trainable, processes, target, options, split, pixels, web, progress
        )  # fmt: skip


def _finetune(
    items: Items,
    trainable: Trainable,
    processes: Processes,
    target: Claim,
    options: FinetuneOptions,
    split: pa.Table | None,
    pixels: Path,
    web: Web | None,
    progress: Callable[[FinetuneProgress], None],
) -> dict[str, Any]:
    encoder = trainable.encoder
    partners = _partners(items, split, options)
    torch.manual_seed(options.seed)  # adapters and stochastic depth draw from torch's own
    parameters = choose_parameters(trainable, options.tune)
    pairs = load_pairs(
        items, encoder, pixels, valid_share=options.valid_share, seed=options.seed, web=web
    )
    if options.checkpointing:
        trainable.checkpoint_blocks()
    optimiser = torch.optim.AdamW(
        parameters.values(), options.lr, weight_decay=options.weight_decay
    )
    batches = max(1, len(pairs.train) // options.batch_size)
    steps = -(-batches // options.accumulate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _cosine(options, steps))
    generator = torch.Generator().manual_seed(options.seed)
    objective = Objective(trainable, pairs, options, partners, generator, processes)
    config = _config(encoder, items, options, pairs, partners)
    state = State()
    keeper = Keeper(target.path, config, trainable, optimiser, schedule, generator)
    keeper.load(state)
    while state.epoch < options.epochs and state.epoch - state.best_epoch < options.patience:
        start, total = time.perf_counter(), 0.0
        trainable.model.train()
        order = torch.from_numpy(pairs.train)[torch.randperm(len(pairs.train), generator=generator)]
        parts = order[: batches * options.batch_size].split(options.batch_size)
        for first in range(0, len(parts), options.accumulate):
            group = parts[first : first + options.accumulate]
            optimiser.zero_grad(set_to_none=True)
            for rows in group:
                loss = objective.loss(rows)
                (loss / len(group)).backward()
                total += loss.item()
            objective.sum_gradients(list(parameters.values()))
            torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                trainable.log_scale.clamp_(max=math.log(100))  # as CLIP does, section 2.5
        state.epoch += 1
        mean_loss = _finite("loss", processes.agree(total / batches), state.epoch)
        row = {"epoch": state.epoch, "loss": mean_loss}
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
    return config


def _finite(what: str, loss: float, epoch: int) -> float:
    """Raise RunError for a loss that is not finite: nothing of the epoch is kept."""
    if not math.isfinite(loss):
        raise RunError(f"the {what} is {loss} in epoch {epoch}; lower --lr")
    return loss


@torch.no_grad()
def validate(objective: Objective) -> dict[str, float]:
    """The contrastive losses and image-to-text Recall@1, 5 and 10 among the held-out pairs.

    A text counts as found when it is the picture's own or word for word the same.
    """
    trainable, pairs = objective.trainable, objective.pairs
    trainable.model.eval()
    rows = torch.from_numpy(pairs.valid)
    images, texts, loss = objective.held_out(rows)
    alike = pairs.alike(rows)
    scores = images @ texts.T  # (m, m)
    own = torch.where(alike, scores, float("-inf")).max(1).values
    rank = ((scores > own[:, None]) & ~alike).sum(1)
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
