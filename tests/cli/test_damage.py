"""Damaged stores and runs, as the commands speak of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.cache.store import open_store
from mmx.errors import RunError
from mmx.recommend.run import open_run
from tests.cli.conftest import Shop
from tests.flips import flip, flip_number, flipped, footer_start

pytestmark = pytest.mark.slow

OLD = Path(__file__).parents[1] / "cache/fixtures/old.parquet"


@pytest.fixture
def bad(shop: Shop) -> str:
    """A copy of the shop's store in which a number of i3's image is another one."""
    path = shop.path / "bad.parquet"
    shutil.copy(shop.path / "cache/toy.parquet", path)
    flip_number(path, open_store(path).vectors("image", pa.array(["i3"]))[0][0])
    return path.name


def test_verify_says_what_it_checked(shop: Shop, bad: str) -> None:
    facts = shop.json("info", "cache/toy.parquet", "--verify")
    assert "SHA-256 of each footer, the checksum of each page" in facts["checked"]
    assert facts["verified"] is True
    facts = shop.json("info", str(OLD), "--verify")
    assert "flipped bits could not be noticed" in facts["checked"]
    said = shop.refused("info", bad, "--verify")
    assert f"{bad} is damaged (" in said
    assert said.endswith("); extract again with --overwrite")


def test_whoever_uses_it_is_told(shop: Shop, bad: str) -> None:
    training = ("train", "--data", "data", "--features", bad, "--epochs", "1", "--out", "new")
    extraction = ("extract", "--model", "toy", "--data", "more", "--out", bad)
    shutil.copytree(shop.path / "data", shop.path / "more", dirs_exist_ok=True)
    (shop.path / "more/items.parquet").unlink()
    (shop.path / "more/items.csv").write_text(
        "item_id,text\n" + "\n".join(f"i{n},another text" for n in range(40))
    )
    for command in (
        training,
        extraction,
        ("store", "merge", bad, "--out", "new"),
    ):
        assert f"{bad} is damaged (" in shop.refused(*command)
        assert not (shop.path / "new").exists()


def test_a_damaged_footer(shop: Shop, bad: str) -> None:
    path = shop.path / bad
    flip(path, 8 * (footer_start(path) + 40))
    for command in (("info", bad), ("train", "--data", "data", "--features", bad)):
        assert "is damaged (its footer is not what was written)" in shop.refused(*command)


@pytest.mark.parametrize("name", ["users", "items", "interactions"])
def test_a_damaged_run(shop: Shop, name: str) -> None:
    """The pages of its tables have checksums."""
    run = shop.path / f"bad-{name}"
    shutil.copytree(shop.path / "runs/vbpr-toy", run)
    path = run / f"{name}.parquet"
    before = pq.read_table(path)
    for bit in np.random.default_rng(0).integers(0, 8 * footer_start(path), 60).tolist():
        with flipped(path, bit):
            try:
                open_run(run)
            except RunError as error:
                said = str(error)
            else:
                assert pq.read_table(path).equals(before)
    assert f"{run.name} is broken: " in said
    assert said.endswith("; train it again")
