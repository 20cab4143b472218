"""docs/reproduce-paper.md: its commands, on small files in the format of the dumps."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmx.experiments.plan import Plan, load_plan
from tests.data.formats.dumps import packed, review
from tests.extract.photographs import jpeg
from tests.extract.servers import Files, serving

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/reproduce-paper.md").read_text(encoding="utf-8")
NAMES = ("Sports_and_Outdoors", "Clothing_Shoes_and_Jewelry", "Baby", "Electronics")
DATA = ("sports", "clothing", "baby", "electronics")
USERS, ITEMS = 8, 12


def dumps(folder: Path, url: str) -> None:
    """Reviews and metadata of each category; an item has no picture, one has a lost one."""
    for name in NAMES:
        reviews = [
            review(f"A{u}", f"B{(u + n) % ITEMS:03}", 1.0 + n % 5, 1_400_000_000 + 60 * n + u)
            for u in range(USERS) for n in range(7)
        ]  # fmt: skip
        items = [
            {"asin": f"B{n:03}", "title": f"Tom's \"{name}\" &amp; {n}", "brand": "Acmé",
             "categories": [[name, f"kind {n % 3}"]], "imUrl": f"{url}/{n}.jpg"}
            for n in range(ITEMS)
        ]  # fmt: skip
        del items[0]["imUrl"]
        packed(folder / f"reviews_{name}_5.json.gz", map(json.dumps, reviews))
        packed(folder / f"meta_{name}.json.gz", map(repr, items))


def commands() -> list[str]:
    """The lines of all code blocks."""
    blocks = re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def tried(line: str) -> str:
    """For this machine: its own addresses, one dataset, the trial in place of the plan."""
    line = line.replace("--pictures", "--pictures --allow-private")
    if "--dry-run" in line or "reproduce" not in line:
        return line
    return line.replace("paper.yaml", "paper-trial.yaml").replace(" --device cuda", "") + (
        " --only 'baby-*'"
    )


@pytest.mark.slow
def test_every_command_of_the_page(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "plans", tmp_path / "plans")
    (tmp_path / "web").mkdir()
    for n in range(ITEMS - 1):
        (tmp_path / f"web/{n}.jpg").write_bytes(jpeg(32 + n, 40))
    said = []
    with serving(tmp_path / "web", Files) as server:
        dumps(tmp_path, server.url())
        for line in commands():
            shell = f'mmx() {{ "{sys.executable}" -m mmx "$@"; }}; set -e; {tried(line)}'
            done = subprocess.run(
                ["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            said.append(done.stdout)
    for name in DATA:
        folder = tmp_path / "data" / name
        images = pq.read_table(folder / "items.parquet")["image"].to_pylist()
        kinds = [image and image.startswith("pictures/") for image in images]
        assert kinds == [None, *[True] * (ITEMS - 2), False]
        card = (folder / "dataset.md").read_text()
        assert f"{USERS * 7} interactions of {USERS} users with {ITEMS} items" in card
    assert "electronics-clip-refresh-lattice-split2-s2" in said[-3]
    for kind in ("specific", "clip", "clip-tuned", "clip-end", "clip-refresh"):
        assert re.search(rf"\b{kind}\b", said[-1])
    assert "shuffle" in said[-1]
    table = (tmp_path / "runs/paper-trial/table.md").read_text()
    assert "clip-end" in table


def shape(plan: Plan) -> dict[str, set[str]]:
    """What the trial and the plan must share: the datasets, and the kinds of features."""
    kinds = {
        next((kind for kind in ("extract", "finetune", "end_to_end") if getattr(entry, kind)), "")
        for entry in plan.features.values()
    }
    return {"datasets": set(plan.datasets), "kinds": kinds, "control": set(plan.control)}


def test_the_trial_is_the_plan_in_small() -> None:
    whole, small = (load_plan(ROOT / f"plans/{name}.yaml") for name in ("paper", "paper-trial"))
    assert shape(whole) == shape(small)
    assert set(small.features) < set(whole.features)
    assert set(small.recommenders) < set(whole.recommenders)
    assert (set(whole.datasets), whole.baseline) == (set(DATA), small.baseline)
