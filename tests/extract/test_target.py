"""A store of another encoder is refused by what differs, naming no option that was not given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmx.errors import StoreError
from mmx.extract.target import check_store
from tests.cache.stores import CARD, make_store


def refused(there: str | None, here: str | None, path: Path) -> str:
    """What is said where the pictures are decoded so; None is an encoder without pictures."""
    cards = [
        replace(CARD, image_rule=None if way is None else {"size": 224, "decode": way})
        for way in (there, here)
    ]
    make_store(path, 3, card=cards[0])
    with pytest.raises(StoreError) as caught:
        check_store(path, cards[1], "float32")
    return str(caught.value)


def test_what_decodes_no_pictures_has_no_way_to(tmp_path: Path) -> None:
    """Texts alone beside a store of pictures: --exact was never given, dropping it is no help."""
    for ways in (("fast", None), (None, "fast"), ("gpu", None)):
        said = refused(*ways, tmp_path / "a.parquet")
        assert "differs in image_rule; set --out elsewhere, or --overwrite" in said


@pytest.mark.parametrize(
    ("there", "here", "how"),
    [
        ("fast", "exact", "without --exact and --gpu-decode"),
        ("exact", "fast", "with --exact"),
        ("gpu", "fast", "with --gpu-decode"),
    ],
)
def test_how_the_pictures_were_decoded(tmp_path: Path, there: str, here: str, how: str) -> None:
    said = refused(there, here, tmp_path / "a.parquet")
    assert f"image_rule; its pictures were decoded {how}; set --out elsewhere" in said
