"""Listing, looking, scoring and measuring start without torch and what is as slow to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Shop

KEPT = Path(__file__).parents[1] / "recommend/fixtures"
RUNS = ["old-bpr", "old-itemknn", "old-fused"]  # of every scorer but dense weights
HEAVY = """
import sys
heavy = {
    "torch", "torchvision", "transformers", "timm", "open_clip", "sentence_transformers",
    "accelerate", "ray",
}
def check():
    loaded = heavy & {name.partition(".")[0] for name in sys.modules}
    sys.exit(f"imported: {sorted(loaded)}" if loaded else 0)
"""
COMMAND = f"""{HEAVY}
from mmx.cli import main
try:
    main()
except SystemExit as left:
    if left.code:
        raise
check()
"""
WRITTEN = ["--out", "lists.parquet", "--overwrite"]


def run(script: str, *arguments: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["models"],
        ["models", "--json"],
        ["encoders"],
        ["info", "cache/toy.parquet", "--verify"],
        ["info", "runs/vbpr-toy", "--verify"],
        ["info", "data"],
        ["data", "check", "data"],
        ["sql", "select count(*) from toy"],
        ["sql", "select count(*) from nearest(toy, 'i1', 3)", "--format", "markdown"],
        ["evaluate", "runs/vbpr-toy", "--groups", "--beyond", "--store", "cache/toy.parquet"],
        ["evaluate", "runs/vbpr-toy", "--device", "cpu"],
        ["recommend", "runs/vbpr-toy", "--all", *WRITTEN],
        ["similar", "--all", "--store", "cache/toy.parquet", *WRITTEN],
        ["similar", "i7", "--store", "cache/toy.parquet", "--where", "text is not null"],
        ["duplicates", "cache/toy.parquet"],
        ["compare", "runs/vbpr-toy"],
    ],
    ids=" ".join,
)
def test_a_command_imports_nothing_heavy(shop: Shop, command: list[str]) -> None:
    run(COMMAND, *command, folder=shop.path)


@pytest.mark.parametrize("name", RUNS)
def test_no_kind_of_run_needs_torch(name: str, tmp_path: Path) -> None:
    """One process for all that is done with a run."""
    script = f"""{HEAVY}
import mmx
run = mmx.open_run({str(KEPT / name)!r})
mmx.evaluate(run)
mmx.evaluate(run, "valid", tail=3)
users = run.data.users.ids.to_pylist()[:2]
mmx.top_k(run, users, k=3)
mmx.top_k(run)
items = run.data.items.ids.to_pylist()
mmx.top_k(run, items_from=items[:2], k=3)
mmx.top_k(run, only=items[:5], seen="none")
check()
"""
    run(script, folder=tmp_path)


def test_nor_does_one_with_dense_weights(shop: Shop, tmp_path: Path) -> None:
    shop.mmx("train", "--model", "ease", "--data", "data", "--out", str(tmp_path / "ease"))
    run(COMMAND, "evaluate", str(tmp_path / "ease"), folder=shop.path)
    run(COMMAND, "recommend", str(tmp_path / "ease"), "--all", *WRITTEN, folder=shop.path)


def test_auto_needs_torch_where_a_gpu_may_be_alone(tmp_path: Path) -> None:
    script = f"""{HEAVY}
import mmx.devices
mmx.devices.DRIVERS = ()
assert mmx.devices.multiplying_device("auto") == "cpu"
check()
"""
    run(script, folder=tmp_path)


def test_light_names_are_in_light_modules(tmp_path: Path) -> None:
    names = "Evaluation, FeatureSpec, Items, RecommendOptions, Run, TrainJob, TrainOptions, fuse"
    run(f"{HEAVY}\nfrom mmx import {names}\ncheck()", folder=tmp_path)
