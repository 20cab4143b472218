"""Scores, loss and gradients of our recommenders beside those of MMRec, with the same weights.

    git clone https://github.com/enoche/MMRec /tmp/MMRec
    python benchmarks/parity.py /tmp/MMRec
    python benchmarks/parity.py /tmp/MMRec --models bm3,pgl --json benchmarks/measured/parity.json

Both programs get one made-up world (interactions and features) and make their graphs from it; the
weights of MMRec's model are drawn and copied into ours; dropout and edge dropping are 0; all is in
float64. One batch gives the loss and the gradients, a gradient step is made, and both score.

Where they differ, ``parity_models.py`` numbers the reason and removes it from MMRec's model at run
time: the rest must be equal then. Each reason is also left in alone, which shows what it makes. The
exit status is 1 where a model stays different, or where a listed reason makes no difference.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from mmrec import build, prepare
from parity_models import DIFFERENCES, ENTRIES, Entry
from parity_table import markdown

from mmx.recommend.features import Features
from mmx.recommend.interactions import UserItems
from mmx.recommend.models import find_model
from mmx.recommend.protocol import World

USERS, ITEMS, PAIRS, BATCH = 40, 60, 400, 64
DIMENSIONS = {"image": 300, "text": 20}  # MMGCN projects what is longer than 256
TOLERANCE = 1e-5
STEP = 0.5  # learning rate of the step before scoring
SPREAD = 0.3  # standard deviation of the weights drawn


@dataclass(frozen=True)
class Deltas:
    """Largest |Δ|; loss and gradients are None of a closed form."""

    scores: float
    loss: float | None
    gradients: float | None
    equal: bool  # each within TOLERANCE, and of the largest entry where that is below 1


@dataclass(frozen=True)
class Row:
    """What is measured of one model."""

    model: str
    theirs: str
    released: Deltas
    alone: dict[int, Deltas]  # number of a difference → with it alone left in
    without: Deltas

    @property
    def fine(self) -> bool:
        """Equal without the differences, each of which is one."""
        return self.without.equal and not any(found.equal for found in self.alone.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mmrec", type=Path, metavar="MMREC_DIR", help="an MMRec checkout")
    parser.add_argument("--models", help="names, by commas; by default all")
    parser.add_argument("--json", type=Path, help="write the figures here, for scripts/zoo.py")
    options = parser.parse_args()
    prepare(options.mmrec)
    chosen = options.models.split(",") if options.models else [entry.model for entry in ENTRIES]
    rows = []
    with TemporaryDirectory() as folder:
        for entry in ENTRIES:
            if entry.model in chosen:
                rows.append(compare(entry, Path(folder)))
    found = {"mmrec": commit(options.mmrec), "differences": DIFFERENCES,
             "models": [asdict(row) | {"fine": row.fine} for row in rows]}  # fmt: skip
    found = json.loads(json.dumps(found), parse_float=lambda text: float(f"{float(text):.0e}"))
    print("\n".join(markdown(found)))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    sys.exit(0 if rows and all(row.fine for row in rows) else 1)


def compare(entry: Entry, folder: Path) -> Row:
    """As released, without all differences, and with each one alone."""
    numbers = list(entry.without)
    alone = {n: measure(entry, folder, [m for m in numbers if m != n]) for n in numbers}
    released = measure(entry, folder, [])
    without = measure(entry, folder, numbers)
    return Row(entry.model, entry.theirs, released, alone, without)


def measure(entry: Entry, folder: Path, removed: Collection[int]) -> Deltas:
    """Our model beside MMRec's without the ``removed`` differences."""
    pairs, features, batch = world()
    theirs = build(entry.theirs, {**entry.settings, "train_batch_size": BATCH}, USERS, ITEMS, pairs,
                   features, folder)  # fmt: skip
    ours = ours_of(entry, pairs, features)
    with in_float64():
        entry.setup(ours, theirs)
        for number in removed:
            entry.without[number](ours, theirs)
        if entry.weights is None:
            return closed_form(ours, theirs)
        return trained(entry, ours, theirs, batch)


def ours_of(entry: Entry, pairs: np.ndarray, features: dict[str, np.ndarray]) -> Any:
    """Our model on the world, or the scorer of a closed form."""
    record = find_model(entry.model)
    module: Any = record.load()
    present = np.ones(ITEMS, dtype=bool)
    given = {name: Features(matrix, present) for name, matrix in features.items()}
    train = UserItems.from_pairs(pairs[:, 0], pairs[:, 1], USERS, ITEMS)
    made_of = World(train, {} if record.features == "none" else given)
    config = module.Config(**entry.ours)
    if record.closed_form:
        return module.fit(config, made_of)
    return module.Model(config, made_of, torch.Generator().manual_seed(0)).double()


def closed_form(ours: Any, theirs: Any) -> Deltas:
    """Of scores alone; ours are -inf where nothing is known, MMRec's 0."""
    everybody = np.arange(USERS)
    mine = torch.from_numpy(ours.scores(everybody)).double().nan_to_num(neginf=0.0)
    scores = distance(mine, theirs.full_sort_predict([torch.from_numpy(everybody)]))
    return Deltas(scores[0], None, None, scores[1])


def trained(entry: Entry, ours: Any, theirs: Any, batch: torch.Tensor) -> Deltas:
    """Loss and gradients of the batch, then the scores after a step."""
    used = copied(entry, ours, theirs, draw=True)
    theirs.train()
    ours.train()
    theirs.pre_epoch_processing()
    entry.epoch(ours, theirs)
    ours.epoch_start(torch.Generator())
    mine = ours.loss(*batch)
    other = theirs.calculate_loss(batch.clone()).sum()  # some change it in place
    mine.backward()
    other.backward()
    loss, gradients = distance(mine, other), gradients_of(entry, ours, theirs, used)
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.grad is not None and parameter.requires_grad:
                parameter.sub_(STEP * parameter.grad)
        copied(entry, ours, theirs, draw=False)
        theirs.eval()
        ours.eval()
        users, items = ours.factors()
        scores = distance(users @ items.T, theirs.full_sort_predict([torch.arange(USERS)]))
    equal = scores[1] and loss[1] and gradients[1]
    return Deltas(scores[0], loss[0], gradients[0], equal)


def copied(entry: Entry, ours: Any, theirs: Any, *, draw: bool) -> set[str]:
    """Copy MMRec's weights into ours, freshly drawn if wanted → the names of those it has."""
    assert entry.weights
    used: set[str] = set()
    generator = torch.Generator().manual_seed(1)

    def value(name: str) -> torch.Tensor | None:
        tensor = find(theirs, name)
        if tensor is not None and draw and name not in used:
            tensor.data.normal_(0, SPREAD, generator=generator)
        used.update([name] if tensor is not None else [])
        return None if tensor is None else tensor.detach()

    mine = dict(ours.named_parameters())
    for name, tensor in entry.weights(value).items():
        if tensor is not None:
            assert mine[name].shape == tensor.shape, (name, mine[name].shape, tensor.shape)
            mine[name].data.copy_(tensor)
    return used


def gradients_of(entry: Entry, ours: Any, theirs: Any, used: set[str]) -> tuple[float, bool]:
    """What the optimisers see; a parameter that one of the two does not train has gradient 0."""
    assert entry.weights
    trains = {id(p): p for p in theirs.parameters() if p.requires_grad}  # some have two names

    def gradient(name: str) -> torch.Tensor | None:
        tensor = find(theirs, name)
        if tensor is None:
            return None
        seen = id(tensor) in trains and tensor.grad is not None
        return tensor.grad if seen else torch.zeros_like(tensor)

    matched = {name: g for name, g in entry.weights(gradient).items() if g is not None}
    pairs = [(torch.zeros_like(p) if p.grad is None else p.grad, matched.get(name))
             for name, p in ours.named_parameters() if p.requires_grad]  # fmt: skip
    pairs = [(mine, torch.zeros_like(mine) if g is None else g) for mine, g in pairs]
    known = {id(find(theirs, name)) for name in used}
    alone = [p.grad for key, p in trains.items() if key not in known and p.grad is not None]
    pairs += [(torch.zeros_like(g), g) for g in alone]
    mine, other = (torch.cat([part.flatten() for part in side])
                   for side in zip(*pairs, strict=True))  # fmt: skip
    return distance(mine, other)


def distance(mine: torch.Tensor, other: torch.Tensor) -> tuple[float, bool]:
    """Largest |Δ|, and whether it is within TOLERANCE of 1 and of the largest entry."""
    assert mine.shape == other.shape, (mine.shape, other.shape)
    mine, other = mine.detach(), other.detach()
    delta = float((mine - other).abs().max())
    return delta, delta <= TOLERANCE * min(1.0, float(other.abs().max()))


def find(model: Any, name: str) -> Any:
    """The tensor of a dotted name; None where there is none."""
    return reduce(lambda part, key: getattr(part, key, None), name.split("."), model)


def world() -> tuple[np.ndarray, dict[str, np.ndarray], torch.Tensor]:
    """(pairs, 2), (items, d) vectors of norm 1 by modality, and (3, B) triples.

    The last user and the last item have no pair; users and items repeat in the batch.
    """
    rng = np.random.default_rng(0)
    keys = np.sort(rng.choice((USERS - 1) * (ITEMS - 1), PAIRS, replace=False))
    pairs = np.stack([keys // (ITEMS - 1), keys % (ITEMS - 1)], 1)
    features = {}
    for name, dimension in DIMENSIONS.items():
        matrix = rng.normal(size=(ITEMS, dimension)) + 0.5 * rng.normal(size=dimension)
        features[name] = (matrix / np.linalg.norm(matrix, axis=1)[:, None]).astype(np.float32)
    rows = rng.choice(PAIRS, BATCH, replace=False)
    triples = np.stack([*pairs[rows].T, rng.integers(0, ITEMS, BATCH)])
    return pairs, features, torch.from_numpy(triples)


@contextmanager
def in_float64() -> Iterator[None]:
    """New tensors are float64, and ``Tensor.float`` rounds nothing."""
    single: Callable[..., torch.Tensor] = torch.Tensor.float
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.Tensor.float = single  # type: ignore[method-assign]
        torch.set_default_dtype(torch.float32)


def commit(checkout: Path) -> str:
    """The first digits of the checkout's commit."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
