"""Vectors larger than memory are read from a file; nothing else changes."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmx.errors import StoreError
from mmx.mapped import Space, gather, in_blocks, is_mapped
from mmx.recommend import inputs
from mmx.recommend.blocks.content import Content
from mmx.recommend.blocks.knn import knn_edges
from mmx.recommend.features import Features
from tests.recommend import kit


def features(space: Space) -> Features:
    rng = np.random.default_rng(0)
    matrix, present = space.zeros(90, 12), np.arange(90) % 9 > 0
    matrix[present] = rng.normal(size=(int(present.sum()), 12))
    return Features(matrix, present, space)


def test_mapped_vectors_give_the_same_numbers(tmp_path: Path) -> None:
    here, there = features(Space()), features(Space(tmp_path))
    assert is_mapped(there.matrix)
    assert not is_mapped(here.matrix)
    assert not list(tmp_path.iterdir())  # a kill leaves nothing
    np.testing.assert_array_equal(here.mean, there.mean)
    assert is_mapped(there.normalised().matrix)
    np.testing.assert_array_equal(here.normalised().matrix, there.normalised().matrix)
    np.testing.assert_array_equal(here.principal(5).matrix, there.principal(5).matrix)
    assert knn_edges(here, 3).columns.equal(knn_edges(there, 3).columns)
    weight = torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    items = torch.tensor([3, 9, 88])
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, half):
            for rows in (None, items):
                one, other = (Content(f)(weight, rows) for f in (here, there))
                torch.testing.assert_close(one, other, rtol=0, atol=2e-2 if half else 1e-6)


@pytest.mark.parametrize("model", ["vbpr", "freedom"])
def test_a_run_is_the_same(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = kit.write_place(tmp_path)
    one = kit.trained(place, model, tmp_path / "one", epochs=2, settings=["dim=8"])
    monkeypatch.setattr(inputs, "memory_there", lambda: 8)
    seen = []
    load = inputs.load_features
    monkeypatch.setattr(inputs, "load_features", lambda *a: seen.append(load(*a)) or seen[-1])
    other = kit.trained(place, model, tmp_path / "other", epochs=2, settings=["dim=8"])
    assert all(is_mapped(found.matrix) for found in seen[0][0].values())
    np.testing.assert_allclose(kit.all_scores(one), kit.all_scores(other), rtol=1e-5, atol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} >= {"one", "other"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("tmp")]


@pytest.mark.slow
def test_walking_in_blocks_does_not_fill_memory(tmp_path: Path) -> None:
    """512 MiB are written, normalised and read in a process that may hold 400 more."""
    code = f"""
import resource
from pathlib import Path
import numpy as np
from mmx.mapped import Space, in_blocks
from mmx.recommend.features import Features
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
space = Space(Path({str(tmp_path)!r}))
matrix = space.zeros(1 << 18, 512)
for rows in in_blocks(matrix):
    matrix[rows] = 1
    matrix[rows][:, 0] = np.arange(len(matrix[rows]))
found = Features(matrix, np.ones(len(matrix), bool), space)
assert found.norms().min() > 0
found.normalised()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 400 << 20


def test_a_disk_without_room_is_said_before(tmp_path: Path) -> None:
    space = Space(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(StoreError, match=r"no room for .* GiB of vectors in .*; free some"):
            space.zeros(1 << 20, 64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)


def test_gathered_rows_are_those_of_the_matrix(tmp_path: Path) -> None:
    matrix = Space(tmp_path).zeros(50, 3)
    matrix[:] = np.arange(150).reshape(50, 3)
    for rows in ([], [4], [4, 5, 6, 9, 10, 2, 2, 3], [49, 0], list(range(50))):
        np.testing.assert_array_equal(
            gather(matrix, np.array(rows, int)), np.asarray(matrix)[np.array(rows, int)]
        )
    np.testing.assert_array_equal(gather(matrix[10:], np.array([1])), matrix[11:12])
    with pytest.raises(StoreError, match="could not be read"):
        gather(matrix, np.array([49, 50]))


def test_blocks_cover_every_row_once(tmp_path: Path) -> None:
    matrix = Space(tmp_path).zeros(300_000, 64)
    rows = [np.arange(len(matrix))[block] for block in in_blocks(matrix)]
    assert len(rows) > 1
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(len(matrix)))
