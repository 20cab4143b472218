"""Gradients from the ranking loss reach the encoder, exactly; ``--refresh epoch`` sends none."""

from __future__ import annotations

import pytest
import torch

from mmx.errors import OptionError
from mmx.recommend.checkpoint import Checkpoint
from mmx.recommend.end_to_end import EndToEnd, EndToEndOptions
from mmx.recommend.models import find_model
from mmx.recommend.protocol import World
from tests.recommend.fake_catalogue import FakeCatalogue, build, encoder_gradients
from tests.recommend.toy import toy_train, triples

MODELS = ["vbpr", "mmgcn", "mmgcl", "slmrec", "lattice", "bm3", "lgmrec"]


def plain_rows(catalogue: FakeCatalogue, modality: str, rows: torch.Tensor) -> torch.Tensor:
    """Vectors minus the catalogue's mean, which counts as a constant, at length 1."""
    whole = catalogue.features(8)[modality]
    mean = torch.from_numpy(whole.matrix[whole.present]).double().mean(0)
    centred = catalogue.encode(modality, rows).double() - mean
    return (centred / centred.norm(dim=1, keepdim=True)).float()


@pytest.mark.parametrize("chunk", [2, 64])  # several chunks, and one that holds the batch
@pytest.mark.parametrize("name", MODELS)
def test_gradients_equal_plain_back_propagation(name: str, chunk: int) -> None:
    cached, catalogue = build(name, chunk=chunk)
    cached.epoch_start(torch.Generator())
    loss = cached.loss(*triples())
    loss.backward()
    cached.after_backward()
    mine = encoder_gradients(catalogue)
    assert sum(g.abs().sum() for g in mine) > 0

    plain, other = build(name)
    plain.epoch_start(torch.Generator())
    rows = torch.cat(triples()[1:]).unique()
    for modality, tables in plain.tables.items():
        known = rows[torch.from_numpy(other.present[modality])[rows]]
        for table in tables:  # the batch's rows carry gradient, the others are constants
            table.matrix = table.matrix.index_put((known,), plain_rows(other, modality, known))
    expected = plain.inner.loss(*triples())
    expected.backward()
    assert abs(loss.item() - expected.item()) < 1e-6
    for a, b in zip(mine, encoder_gradients(other), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("refresh", ["batch", "epoch"])
def test_the_encoder_learns_only_with_batch_refresh(refresh: str) -> None:
    model, catalogue = build("vbpr", refresh=refresh, encoder_lr=0.1)
    before = [p.detach().clone() for p in catalogue.model.parameters()]
    optimiser = torch.optim.Adam(model.parameter_groups(0.01))
    model.epoch_start(torch.Generator())
    for _ in range(3):
        loss = model.loss(*triples())
        optimiser.zero_grad()
        loss.backward()
        model.after_backward()
        optimiser.step()
    same = [torch.equal(a, b) for a, b in zip(before, catalogue.model.parameters(), strict=True)]
    assert all(same) if refresh == "epoch" else not any(same)


def test_scores_come_from_the_encoder_as_it_is() -> None:
    model, catalogue = build("vbpr")
    with torch.no_grad():
        old = model.factors()[1].clone()
        for p in catalogue.model.parameters():
            p.add_(0.5)
        model._stale = True
        assert not torch.equal(model.factors()[1], old)


def test_a_model_without_features_is_refused() -> None:
    module = find_model("bpr").load()
    inner = module.Model(module.Config(), World(toy_train()), torch.Generator())
    with pytest.raises(OptionError, match="a model with features"):
        EndToEnd(inner, FakeCatalogue(), EndToEndOptions())  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="--refresh never"):
        EndToEndOptions(refresh="never")


def test_the_recommender_keeps_its_weight_decay() -> None:
    model, _ = build("slmrec")
    recommender, encoder = torch.optim.Adam(model.parameter_groups(0.01)).param_groups
    assert recommender["weight_decay"] == model.inner.config.reg > 0
    assert encoder["weight_decay"] == 0


def test_the_generator_of_the_recommender_is_kept_in_checkpoints() -> None:
    model, _ = build("mmgcl")
    optimiser = torch.optim.Adam(model.parameter_groups(0.01))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 1.0)
    mine = torch.Generator()
    assert Checkpoint(None, model, optimiser, schedule, mine).generators == [
        mine,
        model.inner.generator,
    ]


def test_the_hooks_of_the_recommender_are_called() -> None:
    model, _ = build("vbpr", chunk=64)
    called: list[str] = []
    model.inner.epoch_start = lambda generator: called.append("start")  # type: ignore[method-assign]
    model.inner.after_backward = lambda: called.append("backward")  # type: ignore[method-assign]
    model.epoch_start(torch.Generator())
    model.loss(*triples()).backward()
    model.after_backward()
    assert called == ["start", "backward"]
