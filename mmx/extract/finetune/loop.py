"""Fine-tuning: the loop, from pairs to a checkpoint that ``mmx extract --weights`` takes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from mmx.data.dataset import Items
from mmx.errors import OptionError
from mmx.extract.chunks import in_chunks
from mmx.extract.encoder import Encoder
from mmx.extract.finetune.keeper import Keeper, State
from mmx.extract.finetune.losses import co_interaction, itc
from mmx.extract.finetune.pairs import Pairs, load_pairs
from mmx.extract.finetune.partners import Partners
from mmx.extract.finetune.trainable import (
    Trainable,
    choose_parameters,
    open_trainable,
    unit,
)

OBJECTIVES = ("itc", "co-interaction", "itm", "mlm")


@dataclass(frozen=True)
class FinetuneOptions:
    """How to fine-tune."""

    objectives: tuple[str, ...] = ("itc",)  # added up; itm and mlm are VLMo's
    tune: str = "full"  # full, lora, projection, last:N
    epochs: int = 20  # at most
    batch_size: int = 128  # pairs contrasted with each other
    chunk: int = 32  # pairs encoded at once with gradients; bounds the memory
    lr: float = 1e-4  # peak, of AdamW
    weight_decay: float = 0.05
    warmup: float = 0.1  # share of all steps in which the learning rate rises
    patience: int = 5  # epochs without a lower validation loss before stopping
    valid_share: float = 0.1  # of the pairs, held out
    seed: int = 0

    def __post_init__(self) -> None:
        for objective in self.objectives:
            if objective not in OBJECTIVES:
                raise OptionError(f"--objective {objective}; known: {', '.join(OBJECTIVES)}")
        for name in ("epochs", "batch_size", "chunk", "patience"):
            if getattr(self, name) < 1:
                raise OptionError(f"--{name.replace('_', '-')} must be at least 1")
        if self.batch_size < 2:
            raise OptionError("--batch-size must be at least 2: a pair needs another as contrast")


@dataclass
class FinetuneProgress:
    """What the caller is told after each epoch."""

    epoch: int
    epochs: int
    row: dict[str, float]
    best_epoch: int


def finetune(
    items: Items,
    encoder: Encoder,
    out: Path,
    options: FinetuneOptions,
    *,
    split: pa.Table | None = None,
    pixels: Path = Path("cache/pixels"),
    progress: Callable[[FinetuneProgress], None] = lambda p: None,
) -> dict[str, Any]:
    """Fine-tune ``encoder`` on the pictures and texts of ``items``; the run's config.

    ``split`` (user_id, item_id, split) is needed by the co-interaction objective. Validation
    loss picks the epoch. A killed run goes on with the same call. Raises OptionError for
    encoders or objectives that do not go together, StoreError when ``out`` is of another job.
    """
    trainable = open_trainable(encoder)
    partners = _partners(items, split, options)
    pairs = load_pairs(items, encoder, pixels, valid_share=options.valid_share, seed=options.seed)
    torch.manual_seed(options.seed)  # adapters and stochastic depth draw from torch's own
    parameters = choose_parameters(trainable, options.tune)
    optimiser = torch.optim.AdamW(
        parameters.values(), options.lr, weight_decay=options.weight_decay
    )
    steps = max(1, len(pairs.train) // options.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _cosine(options, steps))
    generator = torch.Generator().manual_seed(options.seed)
    config = _config(encoder, items, options, pairs)
    state = State()
    keeper = Keeper(out, config, trainable, optimiser, schedule, generator)
    keeper.load(state)
    while state.epoch < options.epochs and state.epoch - state.best_epoch < options.patience:
        start, total = time.perf_counter(), 0.0
        trainable.model.train()
        order = torch.from_numpy(pairs.train)[torch.randperm(len(pairs.train), generator=generator)]
        for rows in order[: steps * options.batch_size].split(options.batch_size):
            loss = _loss(trainable, pairs, rows, options, partners, generator)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                trainable.log_scale.clamp_(max=math.log(100))  # as CLIP does, section 2.5
            total += loss.item()
        state.epoch += 1
        row = {"epoch": state.epoch, "loss": total / steps, "seconds": time.perf_counter() - start}
        row |= validate(trainable, pairs, options.chunk)
        state.history.append(row)
        keeper.save(state, better=row["valid_loss"] < state.best)
        progress(FinetuneProgress(state.epoch, options.epochs, row, state.best_epoch))
    keeper.finish(state)
    return config


@torch.no_grad()
def validate(trainable: Trainable, pairs: Pairs, chunk: int) -> dict[str, float]:
    """Contrastive loss and image-to-text Recall@1, 5 and 10 among the held-out pairs.

    A text counts as found when it is the picture's own or word for word the same.
    """
    trainable.model.eval()
    rows = torch.from_numpy(pairs.valid)
    images, texts = _embed(trainable, pairs, rows, chunk)
    alike = pairs.alike(rows)
    scale = trainable.log_scale.detach().exp()
    scores = images @ texts.T  # (m, m)
    own = torch.where(alike, scores, float("-inf")).max(1).values
    rank = ((scores > own[:, None]) & ~alike).sum(1)
    recalls = {f"valid_recall@{k}": (rank < k).float().mean().item() for k in (1, 5, 10)}
    return {"valid_loss": itc(images, texts, scale, alike).item(), **recalls}


def _embed(
    trainable: Trainable, pairs: Pairs, rows: torch.Tensor, chunk: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(n,) rows → pictures (n, d) and texts (n, d) of length 1."""
    device = trainable.hardware.device

    def texts(part: torch.Tensor) -> torch.Tensor:
        tokens = trainable.encoder.tokenize(pairs.words(part)).tokens
        return trainable.text(_moved(tokens, device))

    images = in_chunks(lambda part: trainable.images(pairs.pixels(part)), rows, chunk)
    return images, in_chunks(texts, rows, chunk)


def _loss(
    trainable: Trainable,
    pairs: Pairs,
    rows: torch.Tensor,
    options: FinetuneOptions,
    partners: Partners | None,
    generator: torch.Generator,
) -> torch.Tensor:
    """The sum of the objectives over one batch of (B,) item rows."""
    images, texts = _embed(trainable, pairs, rows, options.chunk)
    scale, total = trainable.log_scale.exp(), images.new_zeros(())
    if "itc" in options.objectives:
        total = total + itc(images, texts, scale, pairs.alike(rows))
    if partners is not None:
        others = partners.draw(rows, generator)
        known = torch.from_numpy(pairs.known[others.numpy()])
        others = torch.where(known, others, rows)  # a partner without a pair: the item itself
        more = unit(torch.stack(_embed(trainable, pairs, others, options.chunk)).sum(0))
        alike = pairs.alike(rows, others) | pairs.alike(others)
        total = total + co_interaction(unit(images + texts), more, scale, alike)
    if {"itm", "mlm"} & set(options.objectives):
        from mmx.extract.finetune.vlmo import fused_losses

        near = images @ texts.T
        total = total + fused_losses(trainable, pairs, rows, near, options, generator)
    return total


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


def _moved(tokens: Any, device: torch.device) -> Any:
    if isinstance(tokens, torch.Tensor):
        return tokens.to(device)
    return {name: value.to(device) for name, value in tokens.items()}


def _config(
    encoder: Encoder, items: Items, options: FinetuneOptions, pairs: Pairs
) -> dict[str, Any]:
    """All that is needed to repeat the run, and to open its weights."""
    return {
        "finetune": encoder.card.name,
        "card": json.loads(encoder.card.to_json()),
        "options": {**asdict(options), "objectives": list(options.objectives)},
        "items_fingerprint": items.fingerprint(),
        "train_pairs": len(pairs.train),
        "valid_pairs": len(pairs.valid),
        "truncated_share": pairs.truncated,
    }
