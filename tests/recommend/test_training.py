"""The loop: it stops, resumes exactly, and is a function of its seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mmx.errors import OptionError, RunError
from mmx.recommend import checkpoint, training
from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.models import bpr
from mmx.recommend.options import TrainOptions, TrainProgress
from mmx.recommend.protocol import World
from mmx.recommend.trained import Trained
from mmx.recommend.training import train
from mmx.recommend.validation import lines_of_empty_splits, validates
from tests.recommend.short_training import log, run, with_one_who_took_all


def same(left: Trained, right: Trained) -> bool:
    return all(torch.equal(left.state[name], right.state[name]) for name in left.state)


def test_the_seed_decides_everything() -> None:
    data = log()
    assert same(run(data), run(data))
    assert not same(run(data), run(data, seed=1))


def test_the_loss_falls() -> None:
    losses = [row["loss"] for row in run(log(), epochs=30).history]
    assert losses[-1] < 0.9 * losses[0]


class KilledError(Exception):
    """Stands for a kill between two epochs."""


@pytest.mark.parametrize("after", [1, 4])
@pytest.mark.parametrize("options", [{}, {"lr_decay": 0.9, "clip": 0.1}])
def test_a_killed_run_ends_in_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, options: dict
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    data, path = log(), tmp_path / "checkpoint"
    whole = run(data, **options)

    def kill(state: TrainProgress) -> None:
        if state.epoch == after + 1:  # this epoch's checkpoint is not written any more
            raise KilledError

    chosen = TrainOptions(epochs=6, batch_size=128, lr=0.01, **options)
    model = bpr.Model(bpr.Config(dim=8), World(data.train), torch.Generator().manual_seed(0))
    with pytest.raises(KilledError):
        train(model, data, chosen, kill, path)
    resumed = run(data, path, **options)
    assert same(whole, resumed)
    assert resumed.best_epoch == whole.best_epoch
    assert [r["loss"] for r in resumed.history] == [r["loss"] for r in whole.history]
    np.testing.assert_array_equal(resumed.scorer.users, whole.scorer.users)


def test_a_checkpoint_of_another_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    run(log(), tmp_path / "checkpoint")
    with pytest.raises(RunError, match=r"(?s)cannot be continued .*; delete it"):
        run(log(users=61), tmp_path / "checkpoint")


def test_patience_stops_and_the_best_epoch_is_kept() -> None:
    data = log()
    trained = run(data, epochs=400, patience=3, lr=0.1)
    assert len(trained.history) == trained.best_epoch + 3
    recalls = [row["valid_recall@20"] for row in trained.history]
    assert trained.best == max(recalls) == recalls[trained.best_epoch - 1]


@pytest.mark.parametrize("batch", [20, 2048])
def test_without_a_number_few_steps_an_epoch_make_patience_longer(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "EVALUATIONS", 3)
    monkeypatch.setattr(training, "STEPS", 12)
    data = log()
    trained = run(data, epochs=400, lr=0.1, batch_size=batch)
    steps = -(-len(data.train.indices) // batch)
    assert (steps >= 4) == (batch == 20)
    assert len(trained.history) == trained.best_epoch + max(3, -(-12 // steps))


@pytest.mark.parametrize("bias", [False, True])
def test_a_scorer_is_not_changed_by_further_training(bias: bool) -> None:
    """Without the bias the factors are the parameters themselves."""
    world = World(log().train)
    model = bpr.Model(bpr.Config(dim=8, item_bias=bias), world, torch.Generator().manual_seed(0))
    scorer = training.score(model)
    users, items = scorer.users.copy(), scorer.items.copy()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    np.testing.assert_array_equal(scorer.users, users)
    np.testing.assert_array_equal(scorer.items, items)


def test_nor_is_one_whose_factors_are_a_buffer() -> None:
    """As a mean of the weights over the steps would be."""

    class Averaged(bpr.Model):
        def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
            return self.mean, self.item

    model = Averaged(bpr.Config(dim=8), World(log().train), torch.Generator().manual_seed(0))
    model.register_buffer("mean", model.user.detach().clone())
    scorer = training.score(model)
    model.mean += 1  # type: ignore[operator]
    np.testing.assert_array_equal(scorer.users, model.user.detach().numpy())


def test_without_validation_the_last_epoch_counts() -> None:
    data = log()
    nobody = data.valid.from_pairs(np.zeros(0, int), np.zeros(0, int), 60, 90)
    assert run(replace(data, valid=nobody), epochs=4, patience=2).best_epoch == 4


def strangers() -> Interactions:
    """The last ten of 60 users validate, and have no training items."""
    data = log()
    known, strange = data.train.users < 50, data.valid.users >= 50
    train = data.train.from_pairs(data.train.users[known], data.train.indices[known], 60, 90)
    valid = data.valid.from_pairs(data.valid.users[strange], data.valid.indices[strange], 60, 90)
    return replace(data, train=train, valid=valid)


def test_strangers_validate_nothing() -> None:
    """The last epoch counts, whatever the patience."""
    data = strangers()
    assert not validates(data)
    trained, same_run = run(data, epochs=4, patience=2), run(data, epochs=4)
    assert trained.best_epoch == 4
    assert len(trained.history) == 4
    assert same(trained, same_run)
    assert not any(name.startswith("valid_") for name in trained.history[-1])
    first = bpr.Model(bpr.Config(dim=8), World(data.train), torch.Generator().manual_seed(0))
    assert not torch.equal(trained.state["user"], first.state_dict()["user"])
    (line,) = lines_of_empty_splits(data, 4)
    assert line == (
        "none of the 10 validation users has training interactions: early stopping is off, all 4 "
        "epochs run and the last one counts"
    )


@pytest.mark.parametrize("negatives", ["uniform", "popularity"])
def test_one_who_took_everything_stops_nobody_and_is_said_once(negatives: str) -> None:
    data, said = with_one_who_took_all(log()), list[str]()
    model = bpr.Model(bpr.Config(dim=8), World(data.train), torch.Generator().manual_seed(0))
    options = TrainOptions(epochs=2, batch_size=128, lr=0.01, negatives=negatives)
    trained = train(model, data, options, log=said.append)
    assert [line for line in said if "took every item" in line] == said
    assert len(said) == 1
    assert "90 of 621 training pairs are skipped" in said[0]
    assert np.isfinite(trained.scorer.scores(np.arange(60))).all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_products_of_the_forward_pass_are_of_the_precision(precision: str) -> None:
    kinds = set()

    class Noted(bpr.Model):
        def loss(self, *batch: torch.Tensor) -> torch.Tensor:
            kinds.add((self.user @ self.item.T).dtype)
            return super().loss(*batch)

    data = log()
    model = Noted(bpr.Config(dim=8), World(data.train), torch.Generator().manual_seed(0))
    train(model, data, TrainOptions(epochs=1, precision=precision))
    assert kinds == {getattr(torch, precision)}


def test_bfloat16_trains_too() -> None:
    trained = run(log(), epochs=20, precision="bfloat16")
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
    assert trained.scorer.users.dtype == np.float32


def test_a_model_s_weight_decay_is_the_gradient_of_half_its_square() -> None:
    data, decay, drawn = log(), 0.3, torch.Generator

    class Decayed(bpr.Model):
        weight_decay = decay

    class Squared(bpr.Model):
        def loss(self, *batch: torch.Tensor) -> torch.Tensor:
            return (
                super().loss(*batch) + decay * sum(p.square().sum() for p in self.parameters()) / 2
            )

    ends = []
    for kind in (Decayed, Squared, bpr.Model):
        model = kind(bpr.Config(dim=8), World(data.train), drawn().manual_seed(0))
        ends.append(train(model, data, TrainOptions(epochs=2, batch_size=128)).state["user"])
    torch.testing.assert_close(ends[0], ends[1])
    assert not torch.allclose(ends[0], ends[2], rtol=1e-3)


def test_clipping_bounds_the_step() -> None:
    data = log()
    assert not same(run(data, epochs=1, clip=1e-4), run(data, epochs=1))


def test_a_diverging_run_says_so() -> None:
    with pytest.raises(RunError, match="lower --lr"):
        run(log(), epochs=50, lr=1e20)


def test_options_are_checked() -> None:
    for bad in ({"epochs": 0}, {"lr": 0.0}, {"lr_decay": 1.5}, {"precision": "int8"}):
        with pytest.raises(OptionError):
            TrainOptions(**bad)  # type: ignore[arg-type]


def test_a_model_trains_in_the_one_mode_and_is_scored_in_the_other() -> None:
    """By which dropout knows what it has to do."""
    modes: dict[str, list[bool]] = {"trained": [], "scored": []}

    class Noted(bpr.Model):
        def loss(self, *batch: torch.Tensor) -> torch.Tensor:
            modes["trained"].append(self.training)
            return super().loss(*batch)

        def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
            if not torch.is_grad_enabled():
                modes["scored"].append(self.training)
            return super().factors()

    data = log()
    model = Noted(bpr.Config(dim=8), World(data.train), torch.Generator().manual_seed(0))
    train(model, data, TrainOptions(epochs=2, batch_size=1000))
    assert modes == {"trained": [True] * 2, "scored": [False] * 3}  # and before the first epoch


def without_validation() -> Interactions:
    """The last epoch is the one that counts."""
    nobody = UserItems.from_pairs(np.zeros(0, int), np.zeros(0, int), 60, 90)
    return replace(log(), valid=nobody)


def test_the_learning_rate_decays_from_epoch_to_epoch() -> None:
    data = without_validation()
    one, three = run(data, epochs=1), run(data, epochs=3, lr_decay=1e-12)
    torch.testing.assert_close(three.state["user"], one.state["user"], rtol=0, atol=1e-8)
    assert not same(one, run(data, epochs=3))


def test_negatives_are_drawn_by_the_rule_and_the_seed_of_the_options() -> None:
    data, ends = without_validation(), []
    for changed in ({}, {}, {"negatives": "popularity"}, {"seed": 1}):
        model = bpr.Model(bpr.Config(dim=8), World(data.train), torch.Generator().manual_seed(0))
        ends.append(train(model, data, TrainOptions(epochs=1, lr=0.01, **changed)))  # type: ignore[arg-type]
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])
    assert not same(ends[0], ends[3])


def test_what_a_kill_left_of_a_checkpoint_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    (tmp_path / ".checkpoint.999999999.tmp").touch()
    run(log(), tmp_path / "checkpoint", epochs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
