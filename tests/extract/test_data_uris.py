"""Pictures that are in the column ``image`` itself."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from mmx.data.dataset import load_items
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pictures.images import ImageRule
from mmx.extract.pipeline import extract
from mmx.extract.pixels import cached_pixels
from mmx.extract.reasons import ImageError
from mmx.extract.sources import source_for
from mmx.extract.sources.data_uris import read_data
from tests.catalogue import write_items
from tests.extract.files import encoded

PNG = encoded(Image.new("RGB", (9, 9), (9, 99, 199)))
CODED = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    "image",
    [
        f"data:image/png;base64,{CODED}",
        f" DATA:image/png;charset=x;BASE64,{CODED.rstrip('=')} ",
        f"data:;base64,{CODED[:40]}\n{CODED[40:]}",
        f"data:image/png;base64,{quote(CODED, safe='')}",
        f"data:image/png,{quote(PNG)}",
    ],
)
def test_bytes(image: str) -> None:
    assert read_data(image, 1 << 20) == PNG


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("data:image/png;base64", "broken data URI"),
        (f"data:image/png;base64,{CODED[:-5]}*", "broken data URI"),
        ("data:image/png;base64,A", "broken data URI"),
        ("data:,%zz", "broken data URI"),
        ("data:,ü", "broken data URI"),
        ("data:;base64," + "A" * 2000, "too large"),
        ("data:," + "A" * 4000, "too large"),
    ],
)
def test_what_is_wrong(image: str, said: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_data(image, 1000)
    assert str(caught.value) == said


def test_a_catalogue(tmp_path: Path) -> None:
    """With an address in its text, as SVG has, one is still no URL; and no name of a file."""
    images = [f"data:image/png;base64,{CODED}", "data:image/png;base64,", "data:image/png;base64,*",
              "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>", None,
              "data:," + "A" * 9000]  # fmt: skip
    data = write_items(tmp_path, [{"item_id": str(n), "image": i} for n, i in enumerate(images)])
    items, out = load_items(data), tmp_path / "out.parquet"
    assert source_for(items).readers == 4  # of this machine
    report = extract(items, open_encoder("toy"), out, ExtractOptions(batch_size=4))
    assert report.statuses["image"] == {
        "ok": 1, "missing": 1, "empty file": 1, "broken data URI": 1, "format SVG is not read": 1,
        "not an image": 1,
    }  # fmt: skip
    assert all(len(line) < 300 for lines in report.examples.values() for line in lines)
    rule = ImageRule(8, 8, "squash", "bilinear", (0, 0, 0), (1, 1, 1))
    assert cached_pixels(items, rule, tmp_path).present.tolist() == [True] + [False] * 5
    assert extract(items, open_encoder("toy"), out, ExtractOptions()).reused == 6
