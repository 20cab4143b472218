"""Processes that evaluate together get the metrics of one that evaluates alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from mmx.atomic import file_sha256
from mmx.processes import Processes
from mmx.recommend import scoring, together
from mmx.recommend.evaluation import evaluate_scorer, evaluate_splits
from mmx.recommend.interactions import UserItems
from mmx.recommend.list_tables import with_lists
from mmx.recommend.run import _per_user
from mmx.recommend.scoring import Factors, Ranking
from mmx.recommend.together import evaluate_together, ranked_together, same_scorer, validated
from tests.recommend.short_training import log

DATA = log()


def drawn(seed: int = 0) -> Factors:
    rng = np.random.default_rng(seed)
    return Factors(*(rng.standard_normal((n, 8)).astype(np.float32) for n in (60, 90)))


class OneOf(Processes):
    """One of several that take turns: the first speaks first, and hears the others in the end."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size, self.device = rank, size, torch.device("cpu")


class Turns:
    """What the processes of a group have said so far, instead of torch.distributed."""

    def __init__(self, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.size = size
        self.said: list[torch.Tensor] = []  # by the first, to all
        self.sent: list[list[torch.Tensor]] = [[] for _ in range(size)]  # by each, to the first
        self.now, self.heard = OneOf(0, size), 0
        monkeypatch.setattr("torch.distributed.gather", self.gather)
        monkeypatch.setattr("torch.distributed.broadcast", self.broadcast)

    def all(self) -> list[OneOf]:
        """In their order, and the first again."""
        return [OneOf(rank, self.size) for rank in (*range(self.size), 0)]

    def begin(self, mine: OneOf) -> None:
        self.now, self.heard = mine, 0
        self.sent[mine.rank].clear()

    def gather(self, mine: torch.Tensor, parts: list[torch.Tensor] | None = None) -> None:
        number = len(self.sent[self.now.rank])
        self.sent[self.now.rank].append(mine.clone())
        for part, sent in zip(parts or [], self.sent, strict=parts is not None):
            part.copy_(sent[number] if len(sent) > number else mine)

    def broadcast(self, block: torch.Tensor, first: int) -> None:
        assert first == 0
        if self.now.is_main:
            self.said.append(block.clone())
        else:
            block.copy_(self.said[self.heard])
            self.heard += 1


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_means_of_shares_are_those_of_the_whole(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are more processes than users."""
    alone = evaluate_scorer(drawn(), DATA.valid, DATA.known, cutoffs=(20,))
    assert 50 < len(alone.users) <= 60
    sums: list[list[float]] = []
    monkeypatch.setattr(OneOf, "sums", lambda self, mine: sums.append(mine) or [1.0] * len(mine))
    for rank in range(size):
        validated(drawn(), DATA, OneOf(rank, size))
    users = [count for count, *_ in sums]
    assert max(users) - min(users) <= 1
    assert sum(users) == len(alone.users)
    total = np.sum(sums, axis=0).tolist()
    monkeypatch.setattr(OneOf, "sums", lambda self, values: total)
    found = validated(drawn(), DATA, OneOf(size - 1, size))
    assert found.keys() == alone.means.keys()
    for name, value in alone.means.items():
        assert found[name] == pytest.approx(value, abs=1e-12)
        assert size > 1 or found[name] == value  # to the bit


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_the_first_has_the_rows_of_one_that_is_alone(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, also where the others' embeddings are a little different."""
    expected = evaluate_splits(drawn(), DATA)
    monkeypatch.setattr("mmx.mapped.BLOCK_BYTES", 1000)  # several blocks of each matrix
    turns = Turns(size, monkeypatch)
    found = []
    for mine in turns.all():
        turns.begin(mine)
        found.append(evaluate_together(same_scorer(drawn(mine.rank), mine), DATA, mine))
    assert size == 1 or len(turns.said) == 2 * (2 + 3)  # twice all blocks of both matrices
    assert found[1:-1] == [{}] * (size - 1)
    assert found[-1].keys() == expected.keys()
    for name, whole in found[-1].items():
        assert _per_user(whole, DATA).equals(_per_user(expected[name], DATA))
        assert whole.means == expected[name].means
        assert (whole.items, whole.unscored) == (expected[name].items, expected[name].unscored)


def test_a_split_without_users_is_evaluated_together_too(monkeypatch: pytest.MonkeyPatch) -> None:
    none = UserItems.from_pairs(np.zeros(0, int), np.zeros(0, int), 60, 90)
    turns = Turns(2, monkeypatch)
    for mine in turns.all():
        turns.begin(mine)
        found = evaluate_together(drawn(), replace(DATA, valid=none), mine)
    assert np.isnan(found["valid"].means["recall@20"])
    assert _per_user(found["valid"], DATA).num_rows == 0
    assert found["test"].means == evaluate_splits(drawn(), DATA)["test"].means


def test_users_are_shared_evenly() -> None:
    scorer = drawn()
    whole = evaluate_scorer(scorer, DATA.valid, DATA.known)
    parts = [
        evaluate_scorer(scorer, DATA.valid, DATA.known, share=slice(rank, None, 3))
        for rank in range(3)
    ]
    assert sorted(np.concatenate([part.users for part in parts])) == whole.users.tolist()
    assert max(len(part.users) for part in parts) - min(len(part.users) for part in parts) <= 1
    assert {part.unscored for part in parts} == {whole.unscored}


def test_embeddings_that_cannot_be_written_are_taken_from_the_first_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected, turns = evaluate_splits(drawn(), DATA), Turns(2, monkeypatch)
    for mine in turns.all():
        scorer = drawn(mine.rank)
        for matrix in (scorer.users, scorer.items):
            matrix.flags.writeable = False
        turns.begin(mine)
        found = evaluate_together(same_scorer(scorer, mine), DATA, mine)
    assert found["test"].means == expected["test"].means


@pytest.mark.parametrize("k", [2, 200])
@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_lists_are_those_of_one_that_is_alone(
    size: int, k: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the byte, and each process makes those of a share of the users."""
    monkeypatch.setattr(together, "USERS_AT_ONCE", 9)
    turns, ranked = Turns(size, monkeypatch), [0] * size

    def counted(scorer: Factors, users: np.ndarray, *given: Any) -> Ranking:
        ranked[turns.now.rank] += len(users)
        return scoring.rank(scorer, users, *given)

    def written(mine: Processes, name: str) -> str:
        lists = ranked_together(drawn(), DATA, k, mine)
        folder = tmp_path / name
        folder.mkdir()
        with_lists(lambda folder: None, lists, DATA, k)(folder)
        return file_sha256(folder / "lists.parquet")

    expected = written(OneOf(0, 1), "alone")
    monkeypatch.setattr(together, "rank", counted)
    for number, mine in enumerate(turns.all()):
        turns.begin(mine)
        if mine.is_main:
            found = written(mine, f"run {number}")
        else:
            assert list(ranked_together(drawn(), DATA, k, mine)) == []
    assert found == expected
    users = len(pq.read_table(tmp_path / "alone/lists.parquet")["user_id"].unique())
    ranked[0] //= 2  # it took two turns
    assert sum(ranked) == users == 60
    assert max(ranked) - min(ranked) <= 9


def test_no_lists_are_asked_for(tmp_path: Path) -> None:
    assert list(ranked_together(drawn(), DATA, 0, OneOf(1, 2))) == []
    with_lists(lambda folder: None, iter([]), DATA, 0)(tmp_path)
    assert list(tmp_path.iterdir()) == []
