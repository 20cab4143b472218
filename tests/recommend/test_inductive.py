"""New users from a list of items, cold items by what they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mmx.errors import OptionError, RunError, UnknownIdError
from mmx.recommend.features import Features
from mmx.recommend.inductive import REG, newcomers
from mmx.recommend.interactions import UserItems
from mmx.recommend.models import popularity, vbpr
from mmx.recommend.protocol import World
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.recommendation import recommend, recommend_from
from mmx.recommend.run import Run
from mmx.recommend.scoring import Factors
from tests.recommend import kit
from tests.recommend.toy import N_ITEMS, N_USERS, TAKEN, toy_model, toy_train, toy_world

NEW = {0: [4, 8], 1: [], 2: [1, 2, 3]}


def histories() -> UserItems:
    pairs = [(u, i) for u, items in NEW.items() for i in items]
    users, items = np.array(pairs).T
    return UserItems.from_pairs(users, items, len(NEW), N_ITEMS)


def summary(items: np.ndarray, taken: list[int]) -> list[float]:
    """Σ q_i / √n, then a 1."""
    sums = [0.0] * items.shape[1]
    for i in taken:
        for d in range(items.shape[1]):
            sums[d] += float(items[i, d]) / len(taken) ** 0.5
    return [*sums, 1.0]


def test_a_newcomers_vector_is_the_regression_of_known_ones() -> None:
    rng = np.random.default_rng(2)
    users = rng.normal(size=(N_USERS, 3)).astype(np.float32)
    items = rng.normal(size=(N_ITEMS, 3)).astype(np.float32)
    x = np.array([summary(items, TAKEN[u]) for u in range(N_USERS)])
    # ridge by its augmented least squares: rows √λ e_d with target 0, none for the constant
    size = sum(row[d] ** 2 for row in x for d in range(3)) / 3
    augmented = np.concatenate([x, (REG * size) ** 0.5 * np.eye(3, 4)])
    targets = np.concatenate([users, np.zeros((3, 3))])
    w = np.linalg.lstsq(augmented, targets, rcond=None)[0]
    wanted = np.array([summary(items, taken) for taken in NEW.values()]) @ w @ items.T
    found = newcomers(Factors(users, items), toy_train(), histories())
    np.testing.assert_allclose(found.scores(np.arange(3)), wanted, rtol=1e-4, atol=1e-5)


def test_users_without_training_do_not_count() -> None:
    """A user nobody trained has a random vector; it must not bend the map."""
    rng = np.random.default_rng(2)
    users = rng.normal(size=(N_USERS + 1, 3)).astype(np.float32)
    items = rng.normal(size=(N_ITEMS, 3)).astype(np.float32)
    train = toy_train()
    more = UserItems.from_pairs(train.users, train.indices, N_USERS + 1, N_ITEMS)
    without = newcomers(Factors(users[:-1], items), train, histories())
    with_ = newcomers(Factors(users, items), more, histories())
    np.testing.assert_array_equal(without.scores(np.arange(3)), with_.scores(np.arange(3)))


def test_a_constant_column_stays_constant() -> None:
    """Popularity gives everyone a 1; a newcomer gets one too, even without items."""
    users = np.repeat(np.arange(200), 2)
    items = np.random.default_rng(0).integers(0, N_ITEMS, 400)
    train = UserItems.from_pairs(users, items, 200, N_ITEMS)
    scorer = popularity.fit(popularity.Config(), World(train))
    found = newcomers(scorer, train, histories())
    assert isinstance(found, Factors)
    np.testing.assert_allclose(found.users, 1.0, rtol=1e-5)


def test_the_scale_of_embeddings_does_not_matter() -> None:
    """Users 100 times larger and items 100 times smaller score as before."""
    rng = np.random.default_rng(2)
    users = rng.normal(size=(N_USERS, 3)).astype(np.float32)
    items = rng.normal(size=(N_ITEMS, 3)).astype(np.float32)
    plain = newcomers(Factors(users, items), toy_train(), histories())
    scaled = newcomers(Factors(100 * users, items / 100), toy_train(), histories())
    everyone = np.arange(3)
    np.testing.assert_allclose(plain.scores(everyone), scaled.scores(everyone), rtol=1e-4)


def test_a_scorer_without_a_rule_is_refused() -> None:
    with pytest.raises(RunError, match="cannot score new users"):
        newcomers(object(), toy_train(), histories())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> kit.Place:
    return kit.write_place(tmp_path_factory.mktemp("clubs"))


CAN = [
    "ease", "itemknn", "itemknn-cbf", "ease-content", "l3ae", "slim", "rp3beta", "graph-filter",
    "ials", "bpr", "vbpr",
]  # fmt: skip


@pytest.fixture(scope="module", params=CAN)
def run(
    request: pytest.FixtureRequest, place: kit.Place, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    out = tmp_path_factory.mktemp(request.param) / "run"
    return kit.trained(place, request.param, out, settings=[])


def test_a_newcomer_gets_the_items_of_their_club(run: Run) -> None:
    for club in range(kit.CLUBS):
        mine = [f"c{club}-i{n}" for n in (1, 6, 7)]
        table = recommend_from(run, mine, RecommendOptions(k=6))
        found = table["item_id"].to_pylist()
        assert not set(found) & set(mine)
        assert sum(kit.club_of(item) == f"c{club}" for item in found) >= 5
        assert table["user_id"].null_count == 6
        assert table["rank"].to_pylist() == [1, 2, 3, 4, 5, 6]


def test_a_newcomer_with_a_known_users_items_gets_a_list_like_theirs(run: Run) -> None:
    user = "c3-u2"
    number = run.data.users.numbers([user])
    mine = run.data.items.externals(run.data.train.rows(number).indices).to_pylist()
    known = recommend(run, [user], RecommendOptions(k=5, seen="train"))["item_id"].to_pylist()
    new = recommend_from(run, mine, RecommendOptions(k=5))["item_id"].to_pylist()
    assert len(set(known) & set(new)) >= 4
    if run.config["scorer"]["kind"] == "item-item":
        assert new == known


def test_filters_hold_for_newcomers(run: Run) -> None:
    only = ["c1-i1", "c1-i2", "c4-i3", "c2-i1"]
    wanted = RecommendOptions(k=9, only=only, exclude=["c4-i3"])
    mine = ["c1-i1", "c2-i2"]  # speak for both clubs' items
    found = recommend_from(run, mine, wanted)["item_id"].to_pylist()
    assert set(found) == {"c1-i2", "c2-i1"}
    shown = recommend_from(run, mine, dataclasses.replace(wanted, seen="none"))
    assert set(shown["item_id"].to_pylist()) - {"c1-i1"} == {"c1-i2", "c2-i1"}
    if isinstance(run.scorer, Factors):  # by item-item weights an item says nothing of itself
        assert "c1-i1" in shown["item_id"].to_pylist()


def test_items_given_twice_count_once(run: Run) -> None:
    once, twice = (recommend_from(run, items) for items in (["c1-i1"], ["c1-i1", "c1-i1"]))
    assert once.equals(twice)


def test_mistakes_of_newcomers(run: Run) -> None:
    with pytest.raises(UnknownIdError, match="unknown item: nothing"):
        recommend_from(run, ["c1-i1", "nothing"])
    with pytest.raises(OptionError, match="at least one"):
        recommend_from(run, [])
    unable = dataclasses.replace(run, config={**run.config, "can": {"new_users": False}})
    with pytest.raises(RunError, match="cannot score new users; give --user"):
        recommend_from(unable, ["c1-i1"])


def cold_share(run: Run) -> float:
    """How often a user's best cold item is the one of their club; by chance a fifth."""
    table = recommend(run, run.data.users.ids, RecommendOptions(k=1, only=kit.COLD))
    users, items = (table[name].to_pylist() for name in ("user_id", "item_id"))
    right = [kit.club_of(i) == kit.club_of(u) for u, i in zip(users, items, strict=True)]
    return sum(right) / len(run.data.users)


def test_models_that_say_so_know_the_cold_item_of_a_club(run: Run) -> None:
    if run.can("cold_items"):
        assert cold_share(run) > 0.9
    else:
        assert cold_share(run) < 0.7


def test_vbpr_as_in_the_paper_keeps_what_a_cold_item_learned() -> None:
    model = toy_model("vbpr", "image")
    _, items = model.factors()
    torch.testing.assert_close(items[:, : model.config.dim], model.item)


def test_vbpr_can_give_cold_items_the_prior() -> None:
    kept, prior = (toy_model("vbpr", "image", cold=cold) for cold in ("trained", "prior"))
    (_, items), (users, cold) = kept.factors(), prior.factors()
    k = kept.config.dim
    assert torch.equal(cold[:8], items[:8])  # items that somebody took
    assert not cold[8, :k].any()
    assert torch.equal(cold[8, k:-1], items[8, k:-1])  # the content stays
    torch.testing.assert_close(cold[8, -1], items[8, -1] - kept.bias[8])
    assert users.shape == (N_USERS, cold.shape[1])


def test_vbprs_prior_lifts_items_that_were_only_negatives() -> None:
    """Trained as a negative alone, the cold item's bias falls; the prior undoes just that."""
    features = {"image": Features(np.ones((N_ITEMS, 2), np.float32), np.ones(N_ITEMS, bool))}
    world = World(toy_world().train, features)
    scores = {}
    for cold in ("trained", "prior"):
        model = vbpr.Model(vbpr.Config(dim=2, cold=cold), world, torch.Generator().manual_seed(0))
        step = torch.optim.SGD(model.parameters(), lr=0.5)
        for _ in range(50):
            step.zero_grad()
            model.loss(*torch.tensor([(0, 1, 8), (3, 4, 8), (4, 5, 8)]).T).backward()
            step.step()
        users, items = model.factors()
        scores[cold] = (users @ items[8]).mean().item()
    assert scores["trained"] < scores["prior"] - 0.5


def test_an_unknown_rule_for_cold_items_is_refused() -> None:
    with pytest.raises(OptionError, match="known: trained, prior"):
        vbpr.Config(cold="zero")


def test_evaluation_of_cold_items_counts_them_alone(tmp_path: Path) -> None:
    """Covered end to end in tests/cli; here that the counts are those of the items meant."""
    from mmx.recommend.evaluation import evaluate_scorer

    train = toy_train()
    held = UserItems.from_pairs(np.array([0, 0, 1, 3]), np.array([8, 5, 8, 0]), N_USERS, N_ITEMS)
    scorer = Factors(np.ones((N_USERS, 1), np.float32), np.arange(9.0, dtype=np.float32)[:, None])
    found = evaluate_scorer(scorer, held, train, cutoffs=(1,), targets=train.item_counts == 0)
    assert found.users.tolist() == [0, 1]
    assert (found.items, found.relevant.tolist()) == (1, [1, 1])
    assert found.means["recall@1"] == 1.0
