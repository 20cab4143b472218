"""An extraction that finds damage in what an earlier one wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mmx.errors import DamagedError
from tests.catalogue import plain_catalogue
from tests.extract.counting import Counting, run
from tests.flips import flip


def test_a_damaged_part_is_encoded_again(tmp_path: Path) -> None:
    data, out = plain_catalogue(tmp_path / "d", 40), tmp_path / "toy.parquet"
    run(data, tmp_path / "whole.parquet")
    with pytest.raises(KeyboardInterrupt):
        run(data, out, Counting(fail_after=35))
    parts = sorted(out.with_name("toy.parquet.parts").glob("part-*"))
    flip(parts[1], 8 * 400)
    encoder = Counting()
    report = run(data, out, encoder)
    assert (report.reused, encoder.images) == (20, 20)  # one part of three was lost
    assert "1 damaged parts deleted, their items encoded again" in report.note
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_damaged_store_is_found_before_anything_is_encoded(tmp_path: Path) -> None:
    """Within a vector, which is not read to decide what to encode."""
    data, out = plain_catalogue(tmp_path / "d", 40), tmp_path / "toy.parquet"
    run(data, out)
    vectors = out.read_bytes().index(b"i0") + 600
    flip(out, 8 * vectors)
    before, encoder = out.read_bytes(), Counting()
    Image.new("RGB", (9, 9), "red").save(data / "images/5.png")
    with pytest.raises(DamagedError, match=r"toy.parquet is damaged .*extract again with --over"):
        run(data, out, encoder)
    assert (encoder.images, out.read_bytes()) == (0, before)
    assert run(data, out, encoder, overwrite=True).encoded == 40
