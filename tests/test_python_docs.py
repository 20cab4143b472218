"""docs/python.md is run as it is, and what it lists is all there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import mmx

PAGE = (Path(__file__).parents[1] / "docs/python.md").read_text()
AFTERWARDS = """
assert sorted(found.means) == sorted(
    name for name in run.metrics["test"] if name.endswith(("@5", "@10")))
assert found.means["recall@10"] == run.metrics["test"]["recall@10"]
assert top.num_rows == 5 and everyone.num_rows == 5 * len(run.data.users)
assert vectors.shape == (5, 8) and present.shape == (5,)
assert alike.num_rows == seen.num_rows == 3 and seen["item_id"][0].as_py() == "sku-0007"
assert near.num_rows == 3 * 5 and nearest["item_id"][0] == top["item_id"][0]
assert similar.num_rows == 5 and per_user.num_rows == len(found.users)
assert report.encoded == 60
assert table.num_rows == matrix.shape[0] == tensor.shape[0] == len(frame) == len(polars) == 60
assert there.sum() == relation.filter("image is not null").count("*").fetchall()[0][0]
assert tuned.path.name == "mini-tuned" and sorted(tuned.valid) == [
    "loss", "recall@1", "recall@10", "recall@5"]
assert mmx.open_store("cache/tuned.parquet").rows == 60
assert open("runs/again/model.safetensors", "rb").read() == open(
    "runs/vbpr-toy/model.safetensors", "rb").read()
assert other.config["training"]["seed"] == 1 and other.config["settings"]["reg"] == 0.1
assert compared.against == "ease" and len(compared.results) == 2
assert imported.interactions and "image" in exported.missing
assert [part["run"] for part in both.config["parts"]] == ["runs/vbpr-toy", "runs/ease"]
"""


@pytest.mark.slow
def test_the_tour(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 12
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*blocks[-1:], *blocks[:-1], AFTERWARDS])],
        cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "INFO:mmx:image: " in done.stderr


def test_every_name_is_documented() -> None:
    known = set(re.findall(r"\w+", PAGE))
    assert [name for name in mmx.__all__ if name not in known] == []
