"""Steps under bfloat16 autocast: near those in float32, in every model trained by steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmx.recommend.models import MODELS
from tests.recommend.fake_catalogue import build, encoder_gradients
from tests.recommend.toy import toy_model, triples

STEPPED = [name for name, record in MODELS.items() if not record.closed_form]


def step(model: Any, half: bool) -> tuple[float, torch.Tensor]:
    """The loss and all gradients, side by side."""
    model.train()
    model.epoch_start(torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16, half):
        loss = model.loss(*triples())
    loss.backward()
    model.after_backward()
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return loss.item(), torch.cat([part.flatten() for part in parts])


def alike(left: torch.Tensor, right: torch.Tensor) -> bool:
    cosine = torch.nn.functional.cosine_similarity(left, right, 0)
    return bool(cosine > 0.999) and float(left.norm()) == pytest.approx(float(right.norm()), 0.02)


@pytest.mark.parametrize("name", STEPPED)
def test_a_step_is_near_the_one_in_float32(name: str) -> None:
    modalities = () if MODELS[name].features == "none" else ("image", "text")
    (loss, whole), (low, half) = (step(toy_model(name, *modalities), h) for h in (False, True))
    assert low == pytest.approx(loss, rel=0.02)
    assert alike(half, whole)


@pytest.mark.parametrize("name", ["vbpr", "mmgcn", "slmrec", "bm3", "lgmrec"])
def test_the_encoder_takes_its_gradients(name: str) -> None:
    """Frozen vectors are kept in bfloat16; these must not be."""
    found = []
    for half in (False, True):
        model, catalogue = build(name)
        for _ in range(2):  # the second step must not meet what is left of the first
            model.zero_grad()
            step(model, half)
        found.append(torch.cat([g.flatten() for g in encoder_gradients(catalogue)]))
    assert found[0].any()
    assert alike(found[1], found[0])
