"""Single steps and short trainings of a model, to compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from mmx.recommend import checkpoint
from mmx.recommend.interactions import Interactions
from mmx.recommend.options import TrainOptions, TrainProgress
from mmx.recommend.protocol import GradientForm, GradientModel, World
from mmx.recommend.trained import Trained
from mmx.recommend.training import Triples, train
from mmx.testing.expect import expect, expect_close

Step = tuple[float, torch.Tensor]  # a loss and all gradients side by side


class KilledError(Exception):
    """Instead of a kill in epoch 3, whose checkpoint is not written."""


def resumed(
    module: GradientForm, config: Any, data: Interactions, world: World, path: Path
) -> None:
    """Compare a training that was killed and resumed, by the checkpoint ``path``, with a whole one.

    Raises AssertionError where losses or embeddings differ.
    """

    def trained(path: Path | None, kill: bool = False) -> Trained:
        def progress(state: TrainProgress) -> None:
            if kill and state.epoch == 3:
                raise KilledError

        model = module.Model(config, world, torch.Generator().manual_seed(0))
        return train(model, data, TrainOptions(epochs=4, batch_size=64, lr=0.01), progress, path)

    whole = trained(None)
    with patch.object(checkpoint, "EVERY", 0.0):
        try:
            trained(path, kill=True)
        except KilledError:
            again = trained(path)
        else:
            raise AssertionError("it was over before it was killed")
    losses = [[row["loss"] for row in one.history] for one in (again, whole)]
    expect(losses[0] == losses[1], f"the losses are {losses[0]} and, undisturbed, {losses[1]}")
    expect_close(again.scorer.users, whole.scorer.users, "users")
    expect_close(again.scorer.items, whole.scorer.items, "items")


def step(model: GradientModel, triples: Triples, half: bool) -> Step:
    """The first step of an epoch; under bfloat16 autocast if ``half``."""
    model.train()
    model.epoch_start(torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16, half):
        loss = model.loss(*triples, *(triples if model.reads_batches else ()))
    loss.backward()
    model.after_backward()
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return loss.item(), torch.cat([part.flatten() for part in parts])


def alike(whole: Step, half: Step) -> None:
    """Raise AssertionError unless a step in bfloat16 is near the ``whole`` one in float32."""
    expect(abs(half[0] - whole[0]) <= 0.02 * abs(whole[0]), f"the losses are {whole[0]}, {half[0]}")
    cosine = float(torch.nn.functional.cosine_similarity(whole[1], half[1], 0))
    expect(cosine > 0.999, f"the gradients' cosine is {cosine:.5f}, 0.999 is expected")
    norms = float(whole[1].norm()), float(half[1].norm())
    expect(abs(norms[1] - norms[0]) <= 0.02 * norms[0], f"the gradients' norms are {norms}")
