"""Every encoder's passes on a GPU, and extraction by the command."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mmx.opened import open_store
from tests.catalogue import write_items
from tests.devices.small_encoders import CASES, MADE, passes
from tests.extract.descendants import wait_until
from tests.extract.photographs import jpeg
from tests.gpu import GPU

pytestmark = GPU
LEAST = {"float32": 0.99999, "bfloat16": 0.99, "float16": 0.999}  # cosine


def photographs(folder: Path, items: int) -> Path:
    """JPEGs, of which a few are different, and a text each."""
    folder.mkdir()
    for n in range(10):
        (folder / f"{n}.jpg").write_bytes(jpeg(300 + 20 * n, 260))
    return write_items(
        folder,
        [{"item_id": f"i{n}", "image": f"{n % 10}.jpg", "text": f"no. {n}"} for n in range(items)],
    )


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(1) / lengths)


@pytest.mark.parametrize("precision", LEAST)
@pytest.mark.parametrize(("library", "number"), CASES)
def test_the_vectors_are_those_of_the_cpu(
    library: str, number: int, precision: str, tmp_path: Path
) -> None:
    opened = MADE[library][number](tmp_path)
    expected = passes(opened(device="cpu"))
    found = passes(opened(device="cuda", precision=precision))
    for modality, vectors in expected.items():
        assert cosines(found[modality], vectors).min() > LEAST[precision], modality


@pytest.mark.parametrize(
    "further", [[], ["--decode-processes", "3"], ["--gpu-decode"], ["--compile"]]
)
def test_a_killed_extraction_ends_in_the_same_vectors(further: list[str], tmp_path: Path) -> None:
    """On a GPU the same to 1e-4, as another batch size may have been halved to."""
    data, out = photographs(tmp_path / "d", 600), tmp_path / "x.parquet"
    words = [sys.executable, "-m", "mmx", "extract", "--model", "clip:mini", "--data", str(data),
             "--device", "cuda", "--part-size", "20", "--batch-size", "10", "--quiet",
             "--precision", "float32", *further]  # fmt: skip
    subprocess.run([*words, "--out", str(tmp_path / "whole.parquet")], check=True, timeout=200)
    job = subprocess.Popen([*words, "--out", str(out)])
    wait_until(lambda: len(list(tmp_path.glob("x.parquet.parts/part-*"))) > 3, seconds=300)
    assert job.poll() is None
    job.send_signal(signal.SIGKILL)
    job.wait()
    time.sleep(0.1)
    subprocess.run([*words, "--out", str(out)], check=True, timeout=200)
    whole, found = (open_store(path) for path in (tmp_path / "whole.parquet", out))
    for modality in whole.modalities:
        np.testing.assert_allclose(found.numpy(modality)[0], whole.numpy(modality)[0], atol=1e-4)
