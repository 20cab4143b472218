"""``mmx train --end-to-end`` as its users type it."""

from __future__ import annotations

import pytest

from mmx.recommend.models import end_to_end_models
from tests.cli.conftest import Shop

pytestmark = pytest.mark.slow


def test_train_along_and_extract_with_what_was_learned(shop: Shop) -> None:
    done = shop.json(
        "train", "--end-to-end", "--encoder", "clip:mini", "--model", "vbpr", "--data", "data",
        "--epochs", "1", "--encoder-lr", "0.001",
    )  # fmt: skip
    assert done["run"] == "runs/vbpr-clip-mini-end-to-end"
    shop.mmx("info", "--verify", "runs/vbpr-clip-mini-end-to-end/features.parquet")
    shop.mmx("extract", "--model", "clip:mini", "--data", "data", "--out", "cache/again.parquet",
             "--weights", "runs/vbpr-clip-mini-end-to-end/encoder")  # fmt: skip
    shop.mmx("recommend", "runs/vbpr-clip-mini-end-to-end", "--user", "u0", "--k", "3")


def test_contradictions_are_named(shop: Shop) -> None:
    along = ("train", "--data", "data", "--end-to-end")
    assert "needs --encoder" in shop.refused(*along, code=2)
    line = shop.refused(*along, "--encoder", "clip:mini", "--features", "cache/toy.parquet", code=2)
    assert "drop --features" in line
    line = shop.refused(*along, "--encoder", "clip:mini", "--refresh", "epoch", "--tune", "lora",
                        code=2)  # fmt: skip
    assert "--refresh epoch leaves the encoder as it is" in line
    line = shop.refused("train", "--data", "data", "--refresh", "epoch", code=2)
    assert "--refresh needs --end-to-end" in line
    line = shop.refused("train", "--data", "data", "--allow-private", code=2)
    assert "--allow-private needs --end-to-end" in line
    line = shop.refused(*along, "--encoder", "clip:mini", "--model", "ease", code=2)
    assert f"--end-to-end takes {end_to_end_models()}" in line
    line = shop.refused(*along, "--encoder", "toy", code=2)
    assert "cannot be fine-tuned" in line
