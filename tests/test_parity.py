"""``benchmarks/parity.py`` finds a difference, wants it removed, and its table is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
# as a checkout of MMRec: two embeddings, BPR, and a regulariser of norms
THEIRS = """
import torch
from torch import nn


class Norms(nn.Module):
    def forward(self, *parts):
        return sum(part.norm() for part in parts) / len(parts[0])


class BPR(nn.Module):
    def __init__(self, config, loader):
        super().__init__()
        users, items = loader.dataset.get_user_num(), loader.dataset.get_item_num()
        self.user_embedding = nn.Embedding(users, config["embedding_size"])
        self.item_embedding = nn.Embedding(items, config["embedding_size"])
        self.weight, self.reg_loss = config["reg_weight"], Norms()

    def pre_epoch_processing(self):
        pass

    def calculate_loss(self, batch):
        user = self.user_embedding(batch[0])
        one, other = self.item_embedding(batch[1]), self.item_embedding(batch[2])
        apart = ((one - other) * user).sum(1)
        loss = -torch.log(torch.sigmoid(FACTOR * apart)).mean()
        return loss + self.weight * self.reg_loss(user, one, other)

    def full_sort_predict(self, batch):
        return self.user_embedding(batch[0]) @ self.item_embedding.weight.T
"""


def parity(checkout: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "parity.py"), str(checkout), *options]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for file in ("common/abstract_recommender", "common/loss", "common/init", "models/bpr"):
        path = tmp_path / "src" / f"{file}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("overall", "model/BPR"):
        path = tmp_path / "src/configs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("embedding_size: [64, 32]\nreg_weight: [0.5]\n")
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *command], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.slow
def test_a_known_difference_is_shown_and_removed(checkout: Path, tmp_path: Path) -> None:
    (checkout / "src/models/bpr.py").write_text(THEIRS.replace("FACTOR", "1.0"))
    found = parity(checkout, "--models", "bpr", "--json", str(tmp_path / "found.json"))
    assert found.returncode == 0, found.stdout + found.stderr
    (row,) = json.loads((tmp_path / "found.json").read_text())["models"]
    assert row["fine"]
    assert row["without"]["equal"]
    assert not row["released"]["equal"]
    assert row["alone"]["2"]["loss"] > 1e-3  # the norms
    assert "| `bpr` |" in found.stdout


@pytest.mark.slow
def test_an_unknown_difference_fails(checkout: Path) -> None:
    (checkout / "src/models/bpr.py").write_text(THEIRS.replace("FACTOR", "1.0001"))
    found = parity(checkout, "--models", "bpr")
    assert found.returncode == 1
    assert "**no**" in found.stdout


@pytest.mark.slow
def test_a_listed_difference_that_is_none_fails(checkout: Path) -> None:
    same = THEIRS.replace("FACTOR", "1.0").replace("part.norm()", "part.square().sum() / 2")
    (checkout / "src/models/bpr.py").write_text(same)
    found = parity(checkout, "--models", "bpr")
    assert found.returncode == 1
    assert "**no**" in found.stdout


@pytest.mark.slow
def test_another_folder_is_refused(tmp_path: Path) -> None:
    found = parity(tmp_path)
    assert found.returncode == 1
    assert found.stderr == f"{tmp_path} is not an MMRec checkout: it has no src/models/bpr.py\n"


def test_the_committed_figures_are_of_every_entry_and_all_are_fine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    import parity_models

    written = json.loads((FOLDER / "measured/parity.json").read_text())
    numbers = {n for entry in parity_models.ENTRIES for n in entry.without}
    assert numbers == set(parity_models.DIFFERENCES)
    assert written["differences"] == {str(n): w for n, w in parity_models.DIFFERENCES.items()}
    rows = {row["model"]: row for row in written["models"]}
    assert list(rows) == [entry.model for entry in parity_models.ENTRIES]
    for entry in parity_models.ENTRIES:
        assert rows[entry.model]["fine"]
        assert [int(n) for n in rows[entry.model]["alone"]] == list(entry.without)
