"""The rectangular toy world: six users, nine items, every kind of gap, small enough for loops.

More items than users, so that a swapped axis fails. User 2 has one item, item 8 has none;
item 3 has neither image nor text, items 6, 5 and 0 lack one modality each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from mmx.data.vocabulary import Vocabulary
from mmx.recommend.features import Features
from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.models import find_model
from mmx.recommend.protocol import World

TAKEN = {0: [0, 1, 2], 1: [1, 2, 3], 2: [0], 3: [4, 5, 6, 7], 4: [3, 5, 6], 5: [4, 7]}
N_USERS, N_ITEMS = 6, 9
PAIRS = [(u, i) for u, items in TAKEN.items() for i in items]
DIMENSIONS = {"image": 5, "text": 4, "audio": 3}
ABSENT = {"image": [3, 6], "text": [3, 5], "audio": [0]}

# (user, item taken, item not taken): users and items repeat, the cold item is among them
TRIPLES = [(0, 1, 8), (0, 2, 4), (2, 0, 8), (3, 6, 3), (4, 3, 0), (5, 7, 5), (1, 2, 7), (5, 4, 5)]

ROUNDING = 1e-14  # of a sum that cancels

Reference = Callable[[Mapping[str, torch.Tensor], list[tuple[int, int, int]]], torch.Tensor]
Scores = Callable[[Mapping[str, torch.Tensor]], torch.Tensor]


def toy_train() -> UserItems:
    """The training interactions, given in no particular order."""
    users, items = np.array(PAIRS[::-1]).T
    return UserItems.from_pairs(users, items, N_USERS, N_ITEMS)


def toy_data() -> Interactions:
    """The same ones as training, validation and test."""
    users = Vocabulary([f"u{n}" for n in range(N_USERS)], "user")
    items = Vocabulary([f"i{n}" for n in range(N_ITEMS)], "item")
    return Interactions(users, items, *[toy_train()] * 3)


def toy_features(*modalities: str) -> dict[str, Features]:
    """Deterministic vectors of the modalities named; rows of absent vectors are zero."""
    found = {}
    for name in modalities:
        d = DIMENSIONS[name]
        matrix = np.random.default_rng(d).normal(size=(N_ITEMS, d)).astype(np.float32)
        present = ~np.isin(np.arange(N_ITEMS), ABSENT[name])
        found[name] = Features(matrix * present[:, None], present)
    return found


def vectors64(name: str, normalise: bool) -> list[torch.Tensor]:
    """Each item's vector in float64, centred and of norm 1 if wanted; zero where it is absent."""
    features = toy_features(name)[name]
    vectors = [torch.from_numpy(row).double() for row in features.matrix]
    if not normalise:
        return vectors
    known = [vector for vector, there in zip(vectors, features.present, strict=True) if there]
    mean = sum(known, torch.zeros_like(known[0])) / len(known)
    return [
        (vector - mean) / (vector - mean).norm() if there else vector
        for vector, there in zip(vectors, features.present, strict=True)
    ]


def toy_world(*modalities: str) -> World:
    """The world with these modalities."""
    return World(toy_train(), toy_features(*modalities))


def toy_model(name: str, *modalities: str, seed: int = 7, **settings: Any) -> Any:
    """A model on the toy world, its parameters moved so that none is zero and no two are equal."""
    module = find_model(name).load()
    generator = torch.Generator().manual_seed(seed)
    model = module.Model(module.Config(**settings), toy_world(*modalities), generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def triples() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """TRIPLES as the three (B,) tensors a model's loss takes."""
    users, positives, negatives = torch.tensor(TRIPLES).T
    return users, positives, negatives


def parameters64(model: Any) -> dict[str, torch.Tensor]:
    """The model's parameters as float64 leaves that a reference can differentiate."""
    return {
        name: p.detach().double().clone().requires_grad_() for name, p in model.named_parameters()
    }


def same_scores(model: Any, reference: Scores) -> None:
    """All (users, items) scores equal those of the reference."""
    with torch.no_grad():
        users, items = model.eval().factors()
        expected = reference(parameters64(model))
    assert expected.shape == (N_USERS, N_ITEMS)
    assert expected.std() > 1e-3  # equal scores would prove nothing
    torch.testing.assert_close((users @ items.T).double(), expected, rtol=1e-4, atol=1e-5)


def same_step(model: Any, reference: Reference, still: tuple[str, ...] = ()) -> None:
    """The loss and one gradient step equal those of the reference.

    Every parameter must move, except the ``still`` ones, which must not.
    """
    model.train()
    leaves = parameters64(model)
    expected = reference(leaves, TRIPLES)
    expected.backward()
    loss = model.loss(*triples())
    assert loss.shape == ()
    loss.backward()
    torch.testing.assert_close(loss.detach().double(), expected.detach(), rtol=1e-5, atol=1e-6)
    for name, parameter in model.named_parameters():
        step = torch.zeros_like(leaves[name]) if parameter.grad is None else parameter.grad.double()
        wanted = leaves[name].grad
        wanted = torch.zeros_like(leaves[name]) if wanted is None else wanted
        assert torch.allclose(step, wanted, rtol=1e-3, atol=1e-6), f"{name}: {step} != {wanted}"
        moves = bool((wanted.abs() > (ROUNDING if name in still else 0)).any())
        assert moves == (name not in still), f"{name} moves: {moves}"
