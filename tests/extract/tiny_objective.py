"""Short fine-tuning of a tiny encoder, and its objective."""

from __future__ import annotations

import torch

from mmx.data.dataset import Items
from mmx.extract.encoders import open_encoder
from mmx.extract.finetune import FinetuneOptions
from mmx.extract.finetune.objective import Objective
from mmx.extract.finetune.pairs import load_pairs
from mmx.extract.finetune.trainable import choose_parameters, open_trainable
from mmx.processes import Processes

QUICK = {"epochs": 2, "batch_size": 16, "chunk": 8, "lr": 1e-3}


def objective(items: Items, **options: object) -> Objective:
    chosen = FinetuneOptions(**{**QUICK, **options})  # type: ignore[arg-type]
    encoder = open_encoder("clip:mini")
    trainable = open_trainable(encoder)
    choose_parameters(trainable, "full")
    if chosen.checkpointing:
        trainable.checkpoint_blocks()
    pairs = load_pairs(items, encoder, items.directory / "pixels", valid_share=0.1, seed=0)
    generator = torch.Generator().manual_seed(0)
    return Objective(trainable, pairs, chosen, None, generator, Processes("cpu"))
