"""Frozen, fine-tuned and end-to-end encoders in one grid."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.experiments.grid import Grid
from mmx.experiments.report import report
from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.experiments.tiny import moments, tiny_plan


@pytest.mark.slow
def test_the_three_paradigms(tmp_path: Path) -> None:
    """Refresh by epoch alone has the figures of the frozen encoder; the others differ."""
    end = {"encoder": "clip:mini", "tune": "projection", "encoder_lr": 0.01}
    tuning = {"model": "clip:mini", "epochs": 1, "batch_size": 8, "objectives": ["co-interaction"]}
    features = {
        "pre": {"extract": [{"model": "clip:mini"}]},
        "epoch": {"end_to_end": {**end, "refresh": "epoch"}},
        "batch": {"end_to_end": end},
        "tuned": {"finetune": tuning},
    }
    plan = tiny_plan(features=features, recommenders={"vbpr": None}, seeds=[1], baseline="pre")
    grid = Grid(plan, tmp_path)
    outcome = grid.run()
    assert outcome.failures == []
    made = report(grid, outcome)
    whole = {one.cell.features: one.metrics("valid") | one.metrics("test") for one in
             outcome.finished}  # fmt: skip
    assert whole["epoch"] == pytest.approx(whole["pre"], abs=1e-6)
    assert whole["batch"] != whole["pre"]
    assert {t["p_t_holm"] for t in made.significance if t["features"] == "epoch"} == {1.0}
    facts = {row["features"]: row["alignment"] for row in made.embeddings}
    assert list(facts) == ["pre", "epoch (vbpr)", "batch (vbpr)", "tuned"]
    assert facts["epoch (vbpr)"] == pytest.approx(facts["pre"], abs=1e-4)
    assert abs(facts["batch (vbpr)"] - facts["pre"]) > 1e-4
    assert abs(facts["tuned"] - facts["pre"]) > 1e-4
    kept = [*tmp_path.glob("cache/*.parquet"), *tmp_path.glob("finetuned/*/model.safetensors")]
    before = moments(kept)
    assert len(before) == 3
    assert Grid(plan, tmp_path).run().finished == outcome.finished
    assert moments(kept) == before


@pytest.mark.slow
def test_pictures_elsewhere(tmp_path: Path) -> None:
    """The plan names their folder, for extraction and for training end to end."""
    data = plain_catalogue(tmp_path / "shop", items=12)
    write_interactions(data, random_log(10, 12, 6))
    (data / "images").rename(tmp_path / "pictures")
    table = pq.read_table(data / "items.parquet").drop_columns(["image"])
    names = pa.array([f"{n}.png" for n in range(12)])
    pq.write_table(table.append_column("image", names), data / "items.parquet")
    end = {"encoder": "clip:mini", "tune": "projection"}
    plan = tiny_plan(
        datasets={"shop": {"data": str(data), "images": str(tmp_path / "pictures")}},
        features={"pre": {"extract": [{"model": "toy"}]}, "end": {"end_to_end": end}},
        recommenders={"vbpr": None}, seeds=[1], baseline="pre",
        training={"epochs": 1},
    )  # fmt: skip
    outcome = Grid(plan, tmp_path / "out").run()
    assert outcome.failures == []
    for one in outcome.finished:
        config = json.loads((one.path / "config.json").read_text())
        found = {f["modality"]: f["items_with_vector"] for f in config["features"]}
        found |= (config["end_to_end"] or {}).get("items_with_vector", {})
        assert found["image"] == 12
