"""Steps under bfloat16 autocast: near those in float32, in every model trained by steps."""

from __future__ import annotations

import pytest
import torch

from mmx.recommend.models import MODELS
from mmx.testing.steps import alike, step
from tests.recommend.fake_catalogue import build, encoder_gradients
from tests.recommend.toy import toy_model, triples

STEPPED = [name for name, record in MODELS.items() if not record.closed_form]


@pytest.mark.parametrize("name", STEPPED)
def test_a_step_is_near_the_one_in_float32(name: str) -> None:
    modalities = () if MODELS[name].features == "none" else ("image", "text")
    whole, half = (step(toy_model(name, *modalities), triples(), h) for h in (False, True))
    alike(whole, half)


@pytest.mark.parametrize("name", ["vbpr", "mmgcn", "slmrec", "bm3", "lgmrec"])
def test_the_encoder_takes_its_gradients(name: str) -> None:
    """Frozen vectors are kept in bfloat16; these must not be."""
    found = []
    for half in (False, True):
        model, catalogue = build(name)
        for _ in range(2):  # the second step must not meet what is left of the first
            model.zero_grad()
            step(model, triples(), half)
        found.append(torch.cat([g.flatten() for g in encoder_gradients(catalogue)]))
    assert found[0].any()
    alike((1.0, found[0]), (1.0, found[1]))
