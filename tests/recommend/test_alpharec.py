"""AlphaRec against loops in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from mmx.recommend.blocks.sampled_softmax import sampled_softmax
from mmx.recommend.features import Features
from mmx.recommend.inductive import newcomers
from mmx.recommend.interactions import UserItems
from mmx.recommend.models import alpharec
from mmx.recommend.protocol import World
from tests.recommend import kit
from tests.recommend.loops import cosine, linear
from tests.recommend.slow import feature, propagated
from tests.recommend.toy import (
    N_ITEMS,
    N_USERS,
    PAIRS,
    TAKEN,
    TRIPLES,
    same_scores,
    same_step,
    toy_features,
    toy_model,
    toy_world,
    triples,
)

Parameters = Mapping[str, torch.Tensor]
TAU, NEGATIVES = 0.4, 4
SETTINGS = {"dim": 3, "negatives": NEGATIVES, "temperature": TAU}
DRAWN = torch.tensor([[8, 5, 5], [3, 4, 6], [8, 1, 2], [0, 1, 8],
                      [0, 1, 2], [0, 0, 1], [7, 8, 0], [5, 6, 2]])  # fmt: skip


def start(p: Parameters, names: tuple[str, ...], hidden: int, normalise: bool) -> list:
    """e^(0) of every node: z, its mean, and the network, one after the other."""
    vectors = [
        {m: feature(p[f"content.{m}.default"], m, i, normalise) for m in names}
        for i in range(N_ITEMS)
    ]
    users = [
        {m: sum(vectors[i][m] for i in TAKEN[u]) / len(TAKEN[u]) for m in names}
        for u in range(N_USERS)
    ]
    nodes = []
    for z in users + vectors:
        x = sum(p[f"project.{m}"] @ z[m] for m in names)
        if hidden:
            x = x + p["offset"]
            x = linear(p, "read", torch.where(x > 0, x, 0.01 * x))
        nodes.append(x)
    return nodes


def final(p: Parameters, layers: int, *given: object) -> list[torch.Tensor]:
    return propagated({"nodes": torch.stack(start(p, *given))}, layers)  # type: ignore[arg-type]


def loss(p: Parameters, batch: list, *given: object) -> torch.Tensor:
    e = final(p, *given)  # type: ignore[arg-type]
    total = torch.zeros((), dtype=torch.float64)
    for (u, i, j), others in zip(batch, DRAWN.tolist(), strict=True):
        each = [torch.exp(cosine(e[u], e[N_USERS + n]) / TAU) for n in (i, j, *others)]
        total = total - torch.log(each[0] / sum(each)) / len(batch)
    return total


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(("layers", "hidden"), [(2, 5), (1, 0), (0, 5)])
@pytest.mark.parametrize("names", [("text",), ("audio", "image", "text")])
def test_it_equals_the_reference(
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    layers: int,
    hidden: int,
    normalise: bool,
) -> None:
    given = (layers, names, hidden, normalise)
    model = toy_model(
        "alpharec", *names, layers=layers, hidden=hidden, normalise=normalise, **SETTINGS
    )
    monkeypatch.setattr(model, "draw", lambda users: DRAWN)
    same_step(model, lambda p, b: loss(p, b, *given))

    def scores(p: Parameters) -> torch.Tensor:
        e = final(p, *given)
        return torch.stack(
            [torch.stack([cosine(e[u], i) for i in e[N_USERS:]]) for u in range(N_USERS)]
        )

    same_scores(model, scores)


def test_negatives_are_drawn_for_each_pair_and_none_was_taken() -> None:
    model = toy_model("alpharec", "text", dim=3, negatives=200)
    users = triples()[0]
    first, second = model.draw(users), model.draw(users)
    assert first.shape == (len(TRIPLES), 199)
    assert not torch.equal(first, second)
    for user, row in zip(users.tolist(), first.tolist(), strict=True):
        assert set(row) == set(range(N_ITEMS)) - set(TAKEN[user])


def test_scoring_draws_nothing() -> None:
    model = toy_model("alpharec", "text", **SETTINGS)
    with torch.no_grad():
        assert torch.equal(model.factors()[1], model.factors()[1])
        assert model.loss(*triples()) != model.loss(*triples())


def test_blocks_of_rows_make_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(n, 3, generator=generator, requires_grad=True) for n in (5, 7))
    columns = torch.randint(7, (5, 4), generator=generator)
    logits = (left[:, None] * right[columns]).sum(2) / TAU
    wanted = F.cross_entropy(logits, torch.zeros(5, dtype=torch.int64))
    expected = torch.autograd.grad(3 * wanted, (left, right))
    for size in (1, 3 * 4 * 2, 1 << 20):  # a row, two rows, all rows
        monkeypatch.setattr("mmx.recommend.blocks.sampled_softmax.NUMBERS_AT_ONCE", size)
        found = sampled_softmax(left, right, columns, TAU)
        torch.testing.assert_close(found, wanted)
        for got, want in zip(torch.autograd.grad(3 * found, (left, right)), expected, strict=True):
            torch.testing.assert_close(got, want)


def test_no_parameter_is_of_a_user_or_an_item() -> None:
    """So that the same ones score another catalogue, and an item that comes later."""
    model = toy_model("alpharec", "image", "text", normalise=False, **SETTINGS)
    users, items = np.array(PAIRS).T
    new = {
        name: Features(np.concatenate([f.matrix, f.matrix[:1] + 1]), np.append(f.present, True))
        for name, f in toy_features("image", "text").items()
    }
    train = UserItems.from_pairs(users, items, N_USERS, N_ITEMS + 1)
    other = alpharec.Model(model.config, World(train, new), torch.Generator())
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        before, after = model.factors(), other.factors()
        torch.testing.assert_close(after[0], before[0])
        torch.testing.assert_close(after[1][:N_ITEMS], before[1])
        x = sum(
            model.project[name] @ torch.from_numpy(f.matrix[N_ITEMS]) for name, f in new.items()
        )
        alone = F.normalize(model.read(F.leaky_relu(x + model.offset)), dim=0)
        torch.testing.assert_close(after[1][N_ITEMS], alone)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> kit.Run:
    place = tmp_path_factory.mktemp("clubs")
    settings = ["dim=16", "negatives=32"]
    return kit.trained(
        kit.write_place(place), "alpharec", place / "run", epochs=10, settings=settings
    )


def test_an_item_nobody_took_is_ranked_by_its_contents(run: kit.Run) -> None:
    """Planted: the cold item of one's own club comes before those of the others."""
    scores = kit.all_scores(run)[:, run.data.items.numbers(list(kit.COLD))]  # (users, clubs)
    own = [int(kit.club_of(user)[1:]) for user in run.data.users.ids.to_pylist()]
    assert np.mean(scores.argmax(1) == np.array(own)) > 0.9


def test_a_user_known_by_a_list_of_items_gets_the_items_of_their_club(run: kit.Run) -> None:
    """The cold item of the club, too."""
    taken = [f"c{club}-i{n}" for club in range(kit.CLUBS) for n in (3, 9, 15)]
    numbers = run.data.items.numbers(taken)
    rows = np.repeat(np.arange(kit.CLUBS), 3)
    lists = UserItems.from_pairs(rows, numbers, kit.CLUBS, len(run.data.items))
    scores = newcomers(run.scorer, run.data.train, lists).scores(np.arange(kit.CLUBS))
    clubs = np.array([kit.club_of(item) for item in run.data.items.ids.to_pylist()])
    for club, row in enumerate(scores):
        assert (clubs[np.argsort(-row)[:10]] == f"c{club}").all()
    cold = scores[:, run.data.items.numbers(list(kit.COLD))]
    assert cold.argmax(1).tolist() == list(range(kit.CLUBS))


def test_users_without_items_and_items_without_vectors_have_finite_scores() -> None:
    world = toy_world("text")
    pairs = [(u, i) for u, i in PAIRS if u != 2]
    users, items = np.array(pairs).T
    world = replace(world, train=UserItems.from_pairs(users, items, N_USERS, N_ITEMS))
    model = alpharec.Model(alpharec.Config(dim=3), world, torch.Generator().manual_seed(0))
    assert all(torch.isfinite(part).all() and part.any(1).all() for part in model.factors())


def test_features_are_needed() -> None:
    with pytest.raises(OptionError, match="alpharec needs item features"):
        toy_model("alpharec")
