"""The commands over runs and encoders that were written long ago."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Shop

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
RUNS = ["old-bpr", "old-itemknn", "old-vbpr", "old-end-to-end", "old-fused"]
TABLES = ["history", "interactions", "items", "per_user", "users"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """All of them as runs/NAME."""
    folder = tmp_path_factory.mktemp("kept")
    shutil.copytree(ROOT / "recommend/fixtures", folder / "runs")
    shutil.copytree(ROOT / "extract/fixtures/old-tuned", folder / "runs/old-tuned")
    return Shop(folder)


@pytest.mark.parametrize("name", RUNS[2:])
def test_info(kept: Shop, name: str) -> None:
    facts = kept.json("info", f"runs/{name}", "--verify")
    assert facts["verified"]
    assert (facts["users"], facts["items"]) == (8, 12)
    assert facts["metrics"] == json.loads((kept.path / f"runs/{name}/metrics.json").read_text())


def test_info_of_a_tuned_encoder(kept: Shop) -> None:
    facts = kept.json("info", "runs/old-tuned", "--verify")
    assert facts["encoder"] == "runs/old-tuned"
    assert facts["card"]["dimensions"] == {"image": 8, "text": 8}
    assert facts["options"]["objectives"] == ["itc"]
    assert facts["metrics"]["best_epoch"] == 1
    assert facts["verified"]


def test_info_of_an_encoder_trained_end_to_end(kept: Shop) -> None:
    facts = kept.json("info", "runs/old-end-to-end/encoder")
    assert facts["card"]["dimensions"] == {"image": 8, "text": 8}
    assert "metrics" not in facts


def test_info_of_a_tuned_encoder_that_is_damaged(kept: Shop, tmp_path: Path) -> None:
    tuned = shutil.copytree(kept.path / "runs/old-tuned", tmp_path / "tuned")
    whole = (tuned / "model.safetensors").read_bytes()
    (tuned / "model.safetensors").write_bytes(whole[:-9])
    assert "model.safetensors" in kept.refused("info", str(tuned), "--verify")
    (tuned / "metrics.json").write_text("[")
    assert "metrics.json" in kept.refused("info", str(tuned))


def test_a_tuned_encoder_recommends_nothing(kept: Shop) -> None:
    said = kept.refused("recommend", "runs/old-tuned", "--user", "003")
    assert "is a fine-tuned encoder" in said
    assert "mmx extract --weights" in said


def test_sql(kept: Shop) -> None:
    count = " union all ".join(
        f"select '{run}' as run, count(*) as n from \"{run}\".{table}"
        for run in RUNS
        for table in TABLES
    )
    assert all(row["n"] for row in kept.json("sql", count))
    (row,) = kept.json(
        "sql", 'select count(*) as n, min(valid_loss) as loss from "old-tuned".history'
    )
    assert (row["n"], row["loss"]) == (2, pytest.approx(1.0986130, abs=1e-6))
    (row,) = kept.json(
        "sql",
        "select array_cosine_similarity(image::float[8], text::float[8]) as likeness "
        "from \"old-end-to-end\".features where item_id = 'i3'",
    )
    assert -1 <= row["likeness"] <= 1
