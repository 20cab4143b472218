"""Weights: closed forms equal float64 references, epochs draw by them, what cannot refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmx.data.splits import SplitRule
from mmx.errors import MmxError, OptionError, RunError
from mmx.processes import Processes
from mmx.recommend.api import evaluate, top_k
from mmx.recommend.fit import fit
from mmx.recommend.fuse import fuse
from mmx.recommend.inductive import newcomers
from mmx.recommend.inputs import load_inputs
from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.job import TrainJob
from mmx.recommend.models import MODELS, bpr, find_model
from mmx.recommend.models.ials import Config as IalsConfig
from mmx.recommend.options import TrainOptions
from mmx.recommend.protocol import ClosedModel, Facts, World
from mmx.recommend.run import Run, open_run
from mmx.recommend.sampling import NegativeSampler
from mmx.recommend.scoring import Factors
from mmx.recommend.training import TrainSteps, score
from tests.catalogue import random_log, write_interactions, write_items
from tests.recommend.closed import normal, slow_ease, weights_of, zeros
from tests.recommend.short_training import log, run
from tests.recommend.toy import N_ITEMS, N_USERS, PAIRS, toy_features

GIVEN = np.array([(1.0, 3.0, 10.0, 0.4)[n % 4] for n in range(len(PAIRS))])
X = np.zeros((N_USERS, N_ITEMS))
X[tuple(np.array(PAIRS).T)] = GIVEN
TRAIN = UserItems.from_pairs(*np.array(PAIRS[::-1]).T, N_USERS, N_ITEMS, GIVEN[::-1])
WORLD = World(TRAIN, toy_features("image", "text"))
BOTH = {"image": 0.5, "text": 0.5}


def best(w: np.ndarray, count: int) -> np.ndarray:
    """The largest entries of each row off the diagonal, where above 0; of equal ones the first."""
    w = w * (1 - np.eye(N_ITEMS)) * (w > 0)
    for row in w:
        row[np.argsort(-row, kind="stable")[count:]] = 0
    return w


def inverse(sums: np.ndarray, power: float) -> np.ndarray:
    return np.where(sums > 0, np.where(sums > 0, sums, 1) ** -power, 0)


def itemknn(neighbours: int, shrinkage: float, a: float, b: float, *, unit: bool) -> np.ndarray:
    x = X / np.linalg.norm(X, axis=1, keepdims=True) if unit else X
    gram = x.T @ x
    sizes = np.diag(gram)
    scale = np.outer(sizes**a, sizes**b) + shrinkage
    return X @ best(np.divide(gram, scale, out=np.zeros_like(gram), where=scale > 0), neighbours)


def rp3beta(alpha: float, beta: float, neighbours: int) -> np.ndarray:
    to_user = (X.T * inverse(X.sum(0), 1)[:, None]) ** alpha  # (items, users)
    to_item = (X / X.sum(1, keepdims=True)) ** alpha
    w = best(to_user @ to_item * inverse(X.sum(0), beta), neighbours)
    return X @ (w / np.maximum(w.sum(1, keepdims=True), 1e-300))


def graph_filter(rank: int, ideal: float) -> np.ndarray:
    back, roots = inverse(X.sum(0), 0.5), np.sqrt(X.sum(0))
    r = X * inverse(X.sum(1), 0.5)[:, None] * back
    v = np.linalg.svd(r)[2][:rank].T
    return X @ (r.T @ r + ideal * back[:, None] * (v @ v.T) * roots)


def ials(**settings: Any) -> np.ndarray:
    """The users' vectors by equation 4 and the items' by equation 5, from the run's own start."""
    config = IalsConfig(**settings)
    generator = torch.Generator().manual_seed(WORLD.seed)
    start = torch.randn((N_ITEMS, config.dim), generator=generator, dtype=torch.float64).numpy()
    items = start * 0.1 / config.dim**0.5
    for _ in range(config.sweeps):
        users = least_squares(X, items, config)
        items = least_squares(X.T, users, config)
    return users @ items.T


def least_squares(r: np.ndarray, others: np.ndarray, config: IalsConfig) -> np.ndarray:
    """With C and p written out, as the paper has them: c = 1 + αr, p = 1 where r > 0."""
    out = []
    for row in r:
        c = np.diag(1 + config.confidence * row)
        left = others.T @ c @ others + config.reg * np.eye(config.dim)
        out.append(np.linalg.solve(left, others.T @ c @ (row > 0)))
    return np.array(out)


def l3ae(reg: float, content_reg: float, guide: float) -> np.ndarray:
    gram, c = X.T @ X, slow_ease(normal(WORLD, BOTH), content_reg)
    b = np.zeros((N_ITEMS, N_ITEMS))
    for j in range(N_ITEMS):
        o = np.delete(np.arange(N_ITEMS), j)
        left = gram[np.ix_(o, o)] + (reg + guide) * np.eye(N_ITEMS - 1)
        b[o, j] = np.linalg.solve(left, gram[o, j] + guide * c[o, j])
    return X @ b


def ease_content(reg: float, content: float, share: float, content_reg: float) -> np.ndarray:
    contents = normal(WORLD, BOTH)
    both = slow_ease(X.T @ X + content * contents, reg)
    return X @ ((1 - share) * both + share * slow_ease(contents, content_reg))


KNN = {"neighbours": 3, "shrinkage": 2.0}
REFERENCES: list[tuple[str, dict[str, Any], Callable[[], np.ndarray]]] = [
    ("popularity", {}, lambda: np.tile(X.sum(0), (N_USERS, 1))),
    ("itemknn", KNN, lambda: itemknn(3, 2.0, 0.5, 0.5, unit=False)),
    ("itemknn", {**KNN, "from_power": 1.0, "to_power": 0.3, "unit_users": True},
     lambda: itemknn(3, 2.0, 1.0, 0.3, unit=True)),
    ("itemknn-cbf", {}, lambda: X @ weights_of("itemknn-cbf", WORLD)),
    ("ease", {"reg": 5.0}, lambda: X @ slow_ease(X.T @ X, 5.0)),
    ("ease-content", {"reg": 2.0, "content": 3.0, "share": 0.4, "content_reg": 0.7},
     lambda: ease_content(2.0, 3.0, 0.4, 0.7)),
    ("l3ae", {"reg": 2.0, "content_reg": 0.7, "guide": 3.0}, lambda: l3ae(2.0, 0.7, 3.0)),
    ("rp3beta", {"alpha": 0.7, "beta": 0.4, "neighbours": 4}, lambda: rp3beta(0.7, 0.4, 4)),
    ("graph-filter", {"rank": 2, "ideal": 0.5}, lambda: graph_filter(2, 0.5)),
    ("ials", {"dim": 3, "confidence": 2.0, "reg": 0.5, "sweeps": 3},
     lambda: ials(dim=3, confidence=2.0, reg=0.5, sweeps=3)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "settings", "slow"), REFERENCES, ids=[name for name, *_ in REFERENCES]
)
def test_a_closed_form_equals_its_reference(
    name: str, settings: dict[str, Any], slow: Callable[[], np.ndarray]
) -> None:
    module = find_model(name).load()
    scorer = module.fit(module.Config(**settings), WORLD)
    found = zeros(scorer.scores(np.arange(N_USERS)))
    np.testing.assert_allclose(found, slow(), rtol=2e-4, atol=1e-5)
    ones = replace(TRAIN, weights=np.ones(len(PAIRS)))
    plain, same = (
        module.fit(module.Config(**settings), replace(WORLD, train=train)).scores(np.arange(6))
        for train in (TRAIN.unweighted(), ones)
    )
    np.testing.assert_allclose(same, plain, rtol=1e-6)


def test_slim_is_at_its_minimum() -> None:
    scorer = MODELS["slim"].load()
    scorer = scorer.fit(scorer.Config(l1=0.7, l2=3.0), WORLD)
    w = weights_of("slim", WORLD, l1=0.7, l2=3.0).astype(np.float64)
    gram = X.T @ X
    slope = gram @ w + 3.0 * w - gram + 0.7  # of equation 3, off the diagonal
    off = ~np.eye(N_ITEMS, dtype=bool)
    assert (w > 0).sum() > 4
    np.testing.assert_allclose(slope[w > 0], 0, atol=1e-4)
    assert (slope[off & (w == 0)] > -1e-4).all()
    np.testing.assert_allclose(zeros(scorer.scores(np.arange(N_USERS))), X @ w, rtol=1e-4)


def test_every_closed_form_has_a_reference_here() -> None:
    """A new one that says ``weights`` needs one; until it says so it refuses them."""
    told = {name for name, record in MODELS.items() if record.weights}
    assert told == {name for name, _, _ in REFERENCES} | {"slim"}
    assert all(record.honours_weights for record in MODELS.values())
    assert not any(record.weights for record in MODELS.values() if not record.closed_form)


def test_a_user_of_ials_with_weights_is_solved_alone_as_among_all() -> None:
    config = IalsConfig(dim=3, confidence=2.0, reg=0.5, sweeps=1)
    scorer = MODELS["ials"].load().fit(config, WORLD)
    assert isinstance(scorer, Factors)
    alone = newcomers(scorer, TRAIN, TRAIN)
    expected = least_squares(np.where(X > 0, 1.0, 0.0), scorer.items.astype(float), config)
    with_weights = least_squares(X, scorer.items.astype(float), config)
    assert isinstance(alone, Factors)
    np.testing.assert_allclose(alone.users, with_weights, rtol=1e-5, atol=1e-6)
    plain = newcomers(scorer, TRAIN, TRAIN.unweighted())
    assert isinstance(plain, Factors)
    np.testing.assert_allclose(plain.users, expected, rtol=1e-5, atol=1e-6)


def test_the_map_to_new_users_does_not_depend_on_weights() -> None:
    rng = np.random.default_rng(0)
    scorer = Factors(*(rng.normal(size=(n, 3)).astype(np.float32) for n in (N_USERS, N_ITEMS)))
    found = [newcomers(scorer, t, TRAIN.rows(np.arange(2))) for t in (TRAIN, TRAIN.unweighted())]
    np.testing.assert_array_equal(*(one.users for one in found))  # type: ignore[attr-defined]


def test_the_matrix_carries_its_weights() -> None:
    def dense(m: UserItems) -> np.ndarray:
        out = np.zeros((m.n_users, m.n_items))
        out[m.users, m.indices] = m.values()
        return out

    np.testing.assert_array_equal(dense(TRAIN), X)
    np.testing.assert_array_equal(dense(TRAIN.transposed()), X.T)
    np.testing.assert_array_equal(dense(TRAIN.rows(np.array([4, 0, 4]))), X[[4, 0, 4]])
    np.testing.assert_array_equal(dense(TRAIN.widened(11))[:, :9], X)
    np.testing.assert_array_equal(dense(TRAIN | TRAIN.unweighted()), X + (X > 0))
    np.testing.assert_allclose(TRAIN.user_sums(), X.sum(1))
    np.testing.assert_allclose(TRAIN.user_sums(2), (X**2).sum(1))
    np.testing.assert_allclose(TRAIN.item_sums(), X.sum(0))
    assert TRAIN.unweighted().weights is None
    twice = UserItems.from_pairs(np.array([0, 0]), np.array([1, 1]), 2, 3, np.array([2.0, 0.5]))
    assert dense(twice).tolist() == [[0, 2.5, 0], [0, 0, 0]]


def table(weight: list[Any]) -> pa.Table:
    n = len(weight)
    ids = {"user_id": ["u"] * n, "item_id": [f"i{k}" for k in range(n)]}
    return pa.table({**ids, "split": ["train"] * n, "weight": weight})


@pytest.mark.parametrize("bad", [[1.0, None], [1.0, float("nan")], [0.0, 1.0], [1.0, -2.0]])
def test_a_damaged_weight_is_refused(bad: list[Any]) -> None:
    with pytest.raises(ValueError, match="weight"):
        Interactions.from_table(table(bad), pa.array(["i0", "i1"]))


def test_weights_that_are_all_1_are_none() -> None:
    assert Interactions.from_table(table([1, 1]), pa.array(["i0", "i1"])).train.weights is None
    found = Interactions.from_table(table([2, 1]), pa.array(["i0", "i1"])).train.weights
    assert found is not None
    assert found.tolist() == [2.0, 1.0]


def test_each_part_of_a_split_has_its_own() -> None:
    rows = table([1.0, 2.0, 3.0, 4.0])
    rows = rows.set_column(2, "split", pa.array(["train", "test", "fold-in", "train"]))
    data = Interactions.from_table(rows, pa.array([f"i{n}" for n in range(4)]))
    assert [part.values().tolist() for part in data.parts] == [[1, 4], [], [2], [3]]
    assert data.known.values().tolist() == [1, 3, 4]


def weighted_log(weights: np.ndarray | None = None) -> Interactions:
    data = log(users=20, items=40, each=9)
    n = len(data.train.indices)
    given = np.tile([1.0, 3.0, 10.0], n)[:n] if weights is None else weights
    return replace(data, train=replace(data.train, weights=given))


def counts_of(sampler: NegativeSampler, generator: torch.Generator) -> np.ndarray:
    found = sampler.positives(generator).numpy()
    return np.bincount(np.searchsorted(sampler.keys.numpy(), found), minlength=len(sampler.keys))


def test_an_epoch_has_each_pair_in_proportion_to_its_weight() -> None:
    train = weighted_log().train
    assert train.weights is not None
    sampler, generator = NegativeSampler(train), torch.Generator().manual_seed(0)
    expected = len(train.indices) * train.weights / train.weights.sum()
    found = np.array([counts_of(sampler, generator) for _ in range(400)])
    assert (found.sum(1) == len(train.indices)).all()
    assert (found >= np.floor(expected)).all()
    assert (found <= np.ceil(expected)).all()
    assert np.abs(found.mean(0) - expected).max() < 5 * 0.5 / 20  # 5 errors of the mean


def test_equal_weights_are_every_pair_once() -> None:
    n = len(log(users=20, items=40, each=9).train.indices)
    sampler = NegativeSampler(weighted_log(np.full(n, 0.7)).train)
    assert (counts_of(sampler, torch.Generator().manual_seed(3)) == 1).all()


def test_a_pair_of_twice_the_mean_weight_is_there_twice() -> None:
    n = len(log(users=20, items=40, each=9).train.indices)
    assert n % 3 == 0
    weights = np.where(np.arange(n) % 3 == 0, 4.0, 1.0)  # of mean 2
    found = counts_of(NegativeSampler(weighted_log(weights).train), torch.Generator())
    assert (found[weights == 4] == 2).all()
    assert (found[weights == 1] <= 1).all()


def test_the_mean_gradient_is_that_of_weighted_terms() -> None:
    """Of BPR without its regularisation: over many epochs, against Σ w/mean(w) · term / n."""
    data = weighted_log()
    weights = data.train.weights
    assert weights is not None
    users, items = torch.from_numpy(data.train.users), torch.from_numpy(data.train.indices)
    others = torch.full_like(items, 39)
    config = bpr.Config(dim=4, reg=0.0)
    model = bpr.Model(config, World(data.train), torch.Generator().manual_seed(0))

    def gradient(rows: torch.Tensor) -> torch.Tensor:
        model.zero_grad()
        model.loss(users[rows], items[rows], others[rows]).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    each = torch.stack([gradient(torch.tensor([row])) for row in range(len(users))])
    expected = (torch.from_numpy(weights / weights.mean()).float()[:, None] * each).mean(0)
    sampler, generator = NegativeSampler(data.train), torch.Generator().manual_seed(0)
    keys = torch.from_numpy(data.train.keys)
    drawn = [torch.searchsorted(keys, sampler.positives(generator)) for _ in range(100)]
    found = torch.stack([gradient(rows) for rows in drawn]).mean(0)
    plain = each.mean(0)
    assert (found - expected).norm() < 0.03 * expected.norm()
    assert (plain - expected).norm() > 0.1 * expected.norm()


def test_users_who_took_all_keep_the_others_weights() -> None:
    data = weighted_log()
    n = data.train.n_items
    whole = UserItems.from_pairs(np.zeros(n, int), np.arange(n), data.train.n_users, n)
    sampler = NegativeSampler(data.train | whole)
    left = (data.train | whole).weights
    assert left is not None
    left = left[n:]  # of all but the first user
    expected = len(left) * left / left.sum()
    found = counts_of(sampler, torch.Generator().manual_seed(0))
    assert not found[:n].any()
    assert found.sum() == len(left) == len(sampler.pairs)
    assert (found[n:] >= np.floor(expected)).all()
    assert (found[n:] <= np.ceil(expected)).all()


def test_batches_are_of_the_drawn_pairs() -> None:
    data = weighted_log()
    model = bpr.Model(bpr.Config(dim=4), World(data.train), torch.Generator())
    steps = TrainSteps(model, data, TrainOptions(batch_size=50), Processes("cpu"))
    triples = list(steps._batches())
    users, items = (torch.cat([batch[n] for batch in triples]).numpy() for n in (0, 1))
    assert len(users) == len(data.train.keys)
    found = np.bincount(np.searchsorted(data.train.keys, users * 40 + items))
    assert found.max() >= 2
    assert (found[data.train.values()[: len(found)] == 10] >= 2).all()


@pytest.mark.slow
def test_the_graphs_of_a_model_trained_in_epochs_are_of_the_pairs_alone() -> None:
    for record in MODELS.values():
        if not record.closed_form:
            module = record.load()
            found = []
            for train in (TRAIN, TRAIN.unweighted()):
                generator = torch.Generator().manual_seed(0)
                model = module.Model(module.Config(), replace(WORLD, train=train), generator)
                model.epoch_start(torch.Generator().manual_seed(0))
                found.append(score(model))
            np.testing.assert_array_equal(found[0].users, found[1].users, record.name)
            np.testing.assert_array_equal(found[0].items, found[1].items, record.name)


def test_a_killed_training_resumes_with_weights(tmp_path: Path) -> None:
    data, path = weighted_log(), tmp_path / "checkpoint"
    whole = run(data, epochs=4)
    run(data, path, epochs=2)
    again = run(data, path, epochs=4)
    np.testing.assert_array_equal(again.scorer.items, whole.scorer.items)
    other = run(replace(data, train=data.train.unweighted()), epochs=4)
    assert not np.array_equal(other.scorer.items, whole.scorer.items)


# Runs


def folder_with(place: Path, weight: list[float] | None, users: int = 24) -> Path:
    pairs = random_log(users, 16, 6)
    write_items(place, [{"item_id": f"i{n}", "text": "a"} for n in range(16)])
    times = list(range(len(pairs)))
    more = {} if weight is None else {"weight": (weight * len(pairs))[: len(pairs)]}
    write_interactions(place, pairs, timestamp=times, **more)
    return place


def fitted(data: Path, out: Path, model: Any = "ease", **job: Any) -> Run:
    options = TrainOptions(epochs=2) if model == "bpr" else TrainOptions()
    return fit(TrainJob(data, model, training=options, **job), out, log=lambda line: None)


@pytest.mark.parametrize("model", ["ease", "bpr"])
def test_a_run_keeps_its_weights(tmp_path: Path, model: str) -> None:
    data = folder_with(tmp_path / "data", [1.0, 3.0, 10.0])
    made = fitted(data, tmp_path / "run", model)
    again = open_run(made.path)
    assert again.config["weights"] == "honoured"
    assert again.data.train.weights is not None
    assert set(again.data.train.weights) == {1.0, 3.0, 10.0}
    assert evaluate(again).means == again.metrics["test"]
    ignoring = fitted(data, tmp_path / "ignoring", model, ignore_weights=True)
    without = fitted(folder_with(tmp_path / "bare", None), tmp_path / "without", model)
    assert ignoring.config["weights"] == "ignored"
    assert "weights" not in without.config
    ones = fitted(folder_with(tmp_path / "ones", [1.0]), tmp_path / "of-ones", model)
    files = [(r.path / "model.safetensors").read_bytes() for r in (ignoring, without, ones)]
    assert files[0] == files[1] == files[2] != (made.path / "model.safetensors").read_bytes()
    assert "weight" not in pq.read_table(ignoring.path / "interactions.parquet").column_names
    assert len(top_k(again, items_from=["i1", "i2"], k=3)) == 3
    with pytest.raises(RunError, match="ignore-weights"):
        fuse([again, ignoring], tmp_path / "fused")


def test_a_fusion_keeps_them_and_held_out_users_have_theirs(tmp_path: Path) -> None:
    data = folder_with(tmp_path / "data", [1.0, 3.0, 10.0])
    runs = [
        fitted(data, tmp_path / model, model, split=SplitRule("users"))
        for model in ("ease", "ials", "bpr")
    ]
    for one in runs:
        again = open_run(one.path)
        assert again.data.fold_in is not None
        assert again.data.fold_in.weights is not None
        assert evaluate(again).means == again.metrics["test"]
        known = np.arange(len(again.data.users))
        np.testing.assert_array_equal(again.scorer.scores(known), one.scorer.scores(known))
    fused = open_run(fuse(runs, tmp_path / "fused").path)
    assert evaluate(fused).means == fused.metrics["test"]


def test_another_weight_is_another_job(tmp_path: Path) -> None:
    found = set()
    for number, weight in enumerate(([1.0, 3.0], [1.0, 4.0], None)):
        job = TrainJob(folder_with(tmp_path / str(number), weight), "bpr")
        inputs = load_inputs(job, job.record, "cpu", lambda line: None, tmp_path)
        found.add(inputs.digest({}))
    assert len(found) == 3


@dataclass(frozen=True)
class Config:
    """None."""


class Blind(ClosedModel):
    """Every item alike."""

    def fit(self, config: Any, world: World) -> Factors:
        ones = (np.ones((n, 1), np.float32) for n in (world.n_users, world.n_items))
        return Factors(*ones)


class Seeing(Blind):
    """The same."""

    facts = Facts(weights=True)


def test_what_cannot_honour_them_refuses_and_names_the_way(tmp_path: Path) -> None:
    data = folder_with(tmp_path / "data", [1.0, 3.0])
    with pytest.raises(OptionError, match=r"does not read the weights .* --ignore-weights"):
        fitted(data, tmp_path / "run", Blind)
    assert not (tmp_path / "run").exists()
    fitted(data, tmp_path / "run", Blind, ignore_weights=True)
    fitted(data, tmp_path / "seeing", Seeing)
    with pytest.raises(OptionError, match="no column weight; drop --ignore-weights"):
        fitted(folder_with(tmp_path / "bare", None), tmp_path / "no", ignore_weights=True)


def test_a_run_with_a_damaged_weight_is_broken(tmp_path: Path) -> None:
    made = fitted(folder_with(tmp_path / "data", [1.0, 3.0]), tmp_path / "run", "popularity")
    path = made.path / "interactions.parquet"
    found = pq.read_table(path)
    place = found.column_names.index("weight")
    pq.write_table(found.set_column(place, "weight", pa.array([-1.0] * len(found))), path)
    with pytest.raises(MmxError, match=r"broken.*weight"):
        open_run(made.path)
    assert json.loads((made.path / "config.json").read_text())["weights"] == "honoured"
