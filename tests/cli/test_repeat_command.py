"""``mmx train --config`` as it is typed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Shop


@pytest.mark.slow
def test_a_run_is_trained_again(shop: Shop, tmp_path: Path) -> None:
    """The config needs nothing else; what is given besides is said and counts."""
    config = "runs/vbpr-toy/config.json"
    elsewhere = replace(shop, started=True)  # where sets of strings have another order
    done = elsewhere.mmx("train", "--config", config, "--out", str(tmp_path / "again"))
    assert " instead of " not in done.stderr
    same = [
        path / "model.safetensors" for path in (shop.path / "runs/vbpr-toy", tmp_path / "again")
    ]
    assert len({path.read_bytes() for path in same}) == 1
    out = ("--out", str(tmp_path / "other"))
    done = shop.mmx("train", "--config", config, "--seed", "1", "--epochs", "3", *out)
    assert "--seed 1 instead of 0\n" in done.stderr
    assert "--epochs" not in done.stderr
    said = shop.refused("train", "--config", config, "--model", "ease", "--lr", "0.1", code=2)
    assert said == "mmx: error: ease has a closed form and no epochs; drop --lr"
