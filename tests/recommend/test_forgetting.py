"""A run forgets a user: nothing of them is in its files, and the others' lists are the same."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import mmx
from mmx.errors import RunError, UnknownIdError
from mmx.recommend import forgetting
from mmx.recommend.ensemble import Ensemble
from mmx.recommend.forgetting import forget_user
from mmx.recommend.interactions import UserItems
from mmx.recommend.listed import Listed
from mmx.recommend.run import verify_run

FIXTURES = Path(__file__).parent / "fixtures"
KINDS = ["old-bpr", "old-vbpr", "old-fused", "old-itemknn", "old-end-to-end"]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_and_the_others_keep_their_lists(kind: str, tmp_path: Path) -> None:
    path = shutil.copytree(FIXTURES / kind, tmp_path / "run")
    before = mmx.open_run(path)
    names = before.data.users.ids.to_pylist()
    gone, others = names[2], names[:2] + names[3:]
    lists = mmx.top_k(before, others, 12, seen="none")
    assert forget_user(path, gone) == 1
    after = mmx.open_run(path)
    assert verify_run(path) == []
    assert after.data.users.ids.to_pylist() == others
    assert mmx.top_k(after, others, 12, seen="none").equals(lists)
    for file in path.glob("*.parquet"):
        for name, column in pq.read_table(file).to_pydict().items():
            assert name != "user_id" or gone not in column, file
    assert gone not in (path / "config.json").read_text()
    with pytest.raises(UnknownIdError, match="unknown user"):
        forget_user(path, gone)
    assert forget_user(path, others[0]) == 2
    assert mmx.open_run(path).config["forgotten_users"] == 2
    assert os.listdir(tmp_path) == ["run"]


def test_a_failed_one_leaves_the_run_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.copytree(FIXTURES / "old-bpr", tmp_path / "run")
    user = mmx.open_run(path).data.users.ids[0].as_py()
    left = tmp_path / ".run.999999999.tmp"  # of a process that was killed
    left.mkdir()

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(forgetting, "_arrays", broken)
        with pytest.raises(KeyboardInterrupt):
            forget_user(path, user)
    assert user in mmx.open_run(path).data.users
    assert forget_user(path, user) == 1
    assert os.listdir(tmp_path) == ["run"]


def test_damage_is_noticed_before_and_after(tmp_path: Path) -> None:
    """A file that is written again would count as sound; one that is not keeps its checksum."""
    path = shutil.copytree(FIXTURES / "old-end-to-end", tmp_path / "run")
    user, other = mmx.open_run(path).data.users.ids[:2].to_pylist()
    _flip(path / "encoder/model.safetensors")
    before = verify_run(path)
    assert before == ["encoder/model.safetensors is not what was written"]
    assert forget_user(path, user) == 1
    assert verify_run(path) == before
    _flip(path / "model.safetensors")
    with pytest.raises(
        RunError, match=r"is broken: model\.safetensors is not what .* or delete it"
    ):
        forget_user(path, other)
    assert other in mmx.open_run(path).data.users


def _flip(path: Path) -> None:
    """Another last number."""
    raw = path.read_bytes()
    path.unlink()  # a copy of the run may be another name of the file
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))


def test_rows_of_lists_and_of_parts_of_a_fusion() -> None:
    listed = Listed(np.array([0, 2, 2, 5]), np.array([4, 1, 0, 2, 3]), 6)
    train = UserItems(np.array([0, 1, 3, 4]), np.array([5, 0, 2, 1]), 6)
    found = forgetting._without(Ensemble((listed,), (1.0,), train), 0)
    assert isinstance(found, Ensemble)
    (part,) = found.parts
    assert isinstance(part, Listed)
    assert (part.indptr.tolist(), part.items.tolist()) == ([0, 0, 3], [0, 2, 3])
    assert (found.train.indptr.tolist(), found.train.indices.tolist()) == ([0, 2, 3], [0, 2, 1])
    last = forgetting._without(listed, 2)
    assert isinstance(last, Listed)
    assert (last.indptr.tolist(), last.items.tolist()) == ([0, 2, 2], [4, 1])


def test_where_there_is_no_run_and_no_other_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where files cannot have two names they are copied."""
    with pytest.raises(RunError, match="no run at"):
        forget_user(tmp_path / "absent", "u")
    assert os.listdir(tmp_path) == []
    path = shutil.copytree(FIXTURES / "old-itemknn", tmp_path / "run")

    def refused(*_: object) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refused)
        names = mmx.open_run(path).data.users.ids.to_pylist()
        metrics = (path / "metrics.json").read_bytes()
        for count, user in enumerate(names[:-1], 1):
            assert forget_user(path, user) == count
        assert (path / "metrics.json").read_bytes() == metrics
    with pytest.raises(RunError, match="has no other user; delete the run"):
        forget_user(path, names[-1])
    assert mmx.open_run(path).data.users.ids.to_pylist() == names[-1:]
