"""``mmx fuse``: several finished runs as one, which no longer needs them.

How the parts' scores add up is in ``mmx.recommend.ensemble``. Their weights come from validation
alone, by forward selection with replacement (Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble
Selection from Libraries of Models", ICML 2004): start with the best single part, then repeatedly
give one more vote to the part with which validation Recall@20 is highest; a part's weight is
its share of the votes at the round that reached most. Candidates are the best items of each part.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mmx.atomic import Claim
from mmx.bounds import SEED, check
from mmx.cache.schema import library_versions
from mmx.data.vocabulary import Vocabulary
from mmx.errors import OptionError, RunError
from mmx.files import as_path, as_paths
from mmx.kinds import must_be
from mmx.recommend.ensemble import Ensemble, z_scores
from mmx.recommend.evaluation import evaluate_splits
from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.listed import Listed
from mmx.recommend.run import Run, open_run, read_table, save_run
from mmx.recommend.run_folder import claimed_run
from mmx.recommend.scoring import CHUNK_BYTES, Scorer, best_of
from mmx.recommend.validation import evaluated_users

VOTES = 20  # rounds of the selection
DEPTH = 200  # best items of each part that compete while weights are learned
USERS = 20_000  # validation users the weights are learned on, drawn at random where there are more
CUTOFF = 20
ABILITIES = ("cold_items", "new_users")


def fuse(
    runs: Sequence[Run | Path | str],
    out: Path | str | None = None,
    *,
    overwrite: bool = False,
    seed: int = 0,
) -> Run:
    """Learn the weights of finished runs on validation, evaluate on test once, write the run.

    ``out`` is by default ``runs/fusion-NAMES``, or the next name that is free. The parts are
    copied into it, so that it no longer needs them. ``seed`` draws the validation users, where
    there are more than USERS. Raises OptionError for fewer than two runs or one given twice,
    TargetError when ``out`` must not be touched, RunError when the runs are not of the same
    items, users and split.
    """
    check("--seed ", seed, SEED)
    must_be("overwrite", overwrite, bool)
    paths = _paths(runs)
    out = None if out is None else as_path(out)
    if len({path.resolve() for path in paths}) != len(paths) or len(paths) < 2:
        raise OptionError("two or more different runs are expected; give each once")
    if out is not None and out.resolve() in [path.resolve() for path in paths]:
        raise OptionError(f"--out {out} is one of the runs of the ensemble; set it elsewhere")
    name = "-".join(["fusion", *(path.name for path in paths)])
    with claimed_run(out, name, overwrite) as claim:
        _fuse(paths, claim, seed)
        return open_run(claim.path)


def _paths(runs: Sequence[Run | Path | str]) -> list[Path]:
    """Where the runs are; one alone is a list of one."""
    given = [runs] if isinstance(runs, Run) else runs
    if isinstance(given, (str, os.PathLike)) or not isinstance(given, Iterable):
        return as_paths(given)
    return as_paths([one.path if isinstance(one, Run) else one for one in given])


def _fuse(paths: Sequence[Path], target: Claim, seed: int) -> None:
    runs = [open_run(path) for path in paths]
    first = runs[0]
    for run in runs:
        if isinstance(run.scorer, Listed):
            raise RunError(f"{run.path} is of ready lists, of which validation can learn no "
                           "weight; leave it out")  # fmt: skip
    for other in runs[1:]:
        _must_match(first, other)
    start = time.perf_counter()
    weights = learned_weights([run.scorer for run in runs], first.data, seed)
    seconds = time.perf_counter() - start
    used = [number for number, weight in enumerate(weights) if weight]
    scorer = Ensemble(
        tuple(runs[number].scorer for number in used),
        tuple(weights[number] for number in used),
        first.data.known,
    )
    evaluations = evaluate_splits(scorer, first.data)
    valid = {f"valid_{k}": v for k, v in evaluations["valid"].means.items() if k.endswith("@20")}
    save_run(
        target,
        config={
            "model": "fusion",
            "settings": {"seed": seed},
            "can": {what: all(run.can(what) for run in runs) for what in ABILITIES},
            "parts": [
                {"run": str(run.path), "weight": weight, "config": run.config}
                for run, weight in zip(runs, weights, strict=True)
            ],
            "data": first.config["data"],
            "split": first.config["split"],
            "features": [origin for run in runs for origin in run.config["features"]],
            "best_epoch": None,
            "versions": library_versions(),
        },
        evaluations=evaluations,
        scorer=scorer,
        history=[{"seconds": seconds, **valid}],
        data=first.data,
        split=read_table(first.path / "interactions.parquet"),
        items=first.items,
    )


def learned_weights(parts: Sequence[Scorer], data: Interactions, seed: int = 0) -> list[float]:
    """One weight for each part by validation Recall@20; equal ones where nothing validates."""
    users = evaluated_users(data.valid, data.known)
    if not len(users):
        return [1 / len(parts)] * len(parts)
    if len(users) > USERS:
        users = np.sort(np.random.default_rng(seed).choice(users, USERS, replace=False))
    step = max(1, CHUNK_BYTES // (4 * data.train.n_items * (len(parts) + 3)))
    blocks = [users[start : start + step] for start in range(0, len(users), step)]
    rows = [_candidates(parts, block, data) for block in blocks]
    scores = np.concatenate([s for s, _ in rows], 1)  # (parts, users, m)
    relevant = np.concatenate([r for _, r in rows])  # (users, m), hits / held-out items
    votes = _elected(scores, relevant)
    return [float(v) for v in votes / votes.sum()]


def _elected(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Votes (parts,) after the round whose recall was highest; the earliest such round."""
    parts = len(scores)
    votes, total = np.zeros(parts), np.zeros_like(scores[0])
    best, best_votes = -1.0, votes
    for _ in range(VOTES):
        recalls = [_recall(total + scores[part], relevant) for part in range(parts)]
        part = int(np.argmax(recalls))
        votes = votes + (np.arange(parts) == part)
        total += scores[part]
        if recalls[part] > best:
            best, best_votes = recalls[part], votes
    return best_votes


def _recall(scores: np.ndarray, relevant: np.ndarray) -> float:
    _, places = best_of(scores, min(CUTOFF, scores.shape[1]))
    return float(np.take_along_axis(relevant, places, 1).sum(1).mean())


def _candidates(
    parts: Sequence[Scorer], users: np.ndarray, data: Interactions
) -> tuple[np.ndarray, np.ndarray]:
    """z-scores (parts, n, m) of each part's best items, and what a hit there is worth (n, m)."""
    taken, held_out = data.known.rows(users), data.valid.rows(users)
    depth = min(DEPTH, data.train.n_items)
    scored, places = [], []
    unknown = np.ones((len(users), data.train.n_items), dtype=bool)
    for part in parts:
        scores = part.scores(users)
        unknown &= np.isneginf(scores)
        scored.append(z_scores(scores, taken))
    for scores in scored:
        scores[unknown] = -np.inf
        scores[taken.users, taken.indices] = -np.inf
        places.append(best_of(scores, depth)[1])
    items = np.sort(np.concatenate(places, axis=1), axis=1)  # (n, m)
    twice = np.zeros(items.shape, dtype=bool)
    twice[:, 1:] = items[:, 1:] == items[:, :-1]
    values = np.stack([np.take_along_axis(scores, items, 1) for scores in scored])
    values[:, twice] = -np.inf
    nothing = np.isneginf(values).all(0)  # never a hit, even where a list ends in it
    worth = held_out.found_in(items) * ~nothing / held_out.counts[:, None]
    return values, worth.astype(np.float32)


def _must_match(run: Run, other: Run) -> None:
    """Raises RunError unless both are of the same items, users and split."""
    ours, theirs = run.data, other.data
    if _renumbered(ours.items, theirs.items):
        raise RunError(f"{other.path} numbers its items in another order than {run.path}: one of "
                       "them is of an older mmx; train that one again")  # fmt: skip
    same = {
        "items": ours.items.ids.equals(theirs.items.ids),
        "users": ours.users.ids.equals(theirs.users.ids),
        **{
            name: _equal(getattr(ours, name), getattr(theirs, name))
            for name in ("train", "valid", "test", "known")
        },
        "weighted (one with --ignore-weights?)": np.array_equal(
            ours.known.values(), theirs.known.values()
        ),
    }
    for what, equal in same.items():
        if not equal:
            word = what if what in ("items", "users") else f"{what} interactions"
            raise RunError(
                f"{run.path} and {other.path} have different {word}; fuse runs of one dataset, "
                "split and seed"
            )


def _renumbered(left: Vocabulary, right: Vocabulary) -> bool:
    """Whether both have the same ids in another order."""
    if len(left) != len(right) or left.ids.equals(right.ids):
        return False
    return bool((left.numbers(right.ids, missing="negative") >= 0).all())


def _equal(left: UserItems, right: UserItems) -> bool:
    return np.array_equal(left.keys, right.keys)
