"""Pictures made small to be shown, and read only from inside of the dataset."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from mmx.data.dataset import load_items
from mmx.errors import OptionError
from mmx.extract.pictures.thumbnails import SHOWN_PIXELS, thumbnail
from mmx.extract.reasons import ImageError
from mmx.extract.sources.inside import Inside
from tests.catalogue import write_items
from tests.extract.files import QUARTERS, encoded, noise, png


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return image


def halves(width: int, height: int) -> Image.Image:
    """Black above, white below."""
    shades = np.zeros((height, width, 3), np.uint8)
    shades[height // 2 :] = 255
    return Image.fromarray(shades)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_it_is_a_small_jpeg_of_the_same_shape(form: str) -> None:
    image = opened(thumbnail(encoded(halves(900, 300), form), 90))
    assert image.size == (90, 30)
    assert image.getpixel((45, 5)) < (10, 10, 10)
    assert image.getpixel((45, 25)) > (245, 245, 245)


def test_a_small_picture_keeps_its_size() -> None:
    assert opened(thumbnail(encoded(Image.fromarray(QUARTERS)), 64)).size == (2, 2)


@pytest.mark.parametrize("size", [(400, 200), (2000, 1000)])
def test_it_is_upright_and_carries_nothing_else(size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "<script>alert(1)</script>"
    raw = encoded(halves(*size), "JPEG", exif=exif, comment=b"<script>alert(2)</script>")
    found = thumbnail(raw + b"<script>alert(3)</script>", 100)
    assert opened(found).size == (50, 100)
    assert not opened(found).getexif()
    assert b"alert" in raw
    assert b"alert" not in found
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "<script>alert(1)</script>")
    assert b"alert" not in thumbnail(encoded(halves(64, 64), pnginfo=text), 64)


def test_transparency_is_over_white() -> None:
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    assert opened(thumbnail(encoded(clear), 32)).getpixel((5, 5)) == (255, 255, 255)


def test_a_bomb_is_refused_by_its_header() -> None:
    bomb = png(60_000, 60_000, 8, 2, b"")
    large = png(SHOWN_PIXELS // 1000 + 1, 1000, 8, 2, b"")
    for raw in (bomb, large):
        with pytest.raises(ImageError, match="too many pixels"):
            thumbnail(raw, 64)
    with pytest.raises(ImageError, match="too many pixels"):
        thumbnail(encoded(halves(20, 20)), 64, pixels=399)
    assert thumbnail(encoded(halves(20, 20)), 64, pixels=400)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "format SVG is not read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "format PostScript is not read"),
        (encoded(Image.fromarray(noise(200, 300)), "JPEG")[:900], "truncated image"),
        (b"hello", "not an image"),
    ],
)
def test_what_is_not_a_picture_has_a_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        thumbnail(raw, 64)


@pytest.mark.parametrize("side", [0, -1, 15, 1025, 1 << 40])
def test_sides_have_bounds(side: int) -> None:
    with pytest.raises(OptionError, match="side "):
        thumbnail(encoded(halves(20, 20)), side)


def test_paths_lead_only_into_the_dataset(tmp_path: Path) -> None:
    folder, picture = tmp_path / "d", encoded(Image.fromarray(QUARTERS))
    (folder / "inner").mkdir(parents=True)
    (folder / "inner/good.png").write_bytes(picture)
    (tmp_path / "secret.png").write_bytes(picture)
    (tmp_path / "d2").mkdir()
    (tmp_path / "d2/secret.png").write_bytes(picture)
    (folder / "inside.png").symlink_to("inner/good.png")
    (folder / "outside.png").symlink_to(tmp_path / "secret.png")
    (folder / "away").symlink_to(tmp_path)
    (folder / "circle").symlink_to("circle")
    good = ["inner/good.png", "inside.png", "inner/../inner/good.png", "./inside.png",
            str(folder / "inside.png"), "data:image/png;base64,iVBORw0KGgo="]  # fmt: skip
    bad = ["../secret.png", "outside.png", "away/secret.png", str(tmp_path / "secret.png"),
           "inner/../../secret.png", "../d2/secret.png", "circle", "a\0b", "x" * 5000, "", "inner",
           "http://127.0.0.1/x.png", "file:///etc/passwd", "s3://b/x.png", "/proc/self/environ",
           "nothing.png"]  # fmt: skip
    rows = [{"item_id": str(n), "image": name} for n, name in enumerate([*good, *bad])]
    read = Inside(load_items(write_items(folder, rows)))
    assert {read(name)[:8] for name in good} == {picture[:8]}
    for name in [*bad, None]:
        with pytest.raises(ImageError):
            read(name)


def test_rows_of_bytes_and_of_paths(tmp_path: Path) -> None:
    folder, picture = tmp_path / "d", encoded(Image.fromarray(QUARTERS))
    folder.mkdir()
    (folder / "a.png").write_bytes(picture)
    (tmp_path / "secret.png").write_bytes(picture)
    images = [
        {"bytes": picture, "path": "../secret.png"},
        {"bytes": None, "path": "a.png"},
        {"bytes": None, "path": "../secret.png"},
        {"bytes": None, "path": None},
        None,
    ]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = {"item_id": list("abcde"), "image": pa.array(images, kind)}
    pq.write_table(pa.table(table), folder / "items.parquet")
    items = load_items(folder)
    read, names = Inside(items), items.table["image"].to_pylist()
    assert [read(name) for name in names[:2]] == [picture, picture]
    with pytest.raises(ImageError, match="file not found"):
        read(names[2])
    for name in names[3:]:
        with pytest.raises(ImageError):
            thumbnail(read(name), 64)


def test_members_of_shards(tmp_path: Path) -> None:
    picture = encoded(Image.fromarray(QUARTERS))
    for folder in (tmp_path / "d", tmp_path):
        folder.mkdir(exist_ok=True)
        with tarfile.open(folder / f"{folder.name}.tar", "w") as file:
            info = tarfile.TarInfo(f"{folder.name}-1.png")
            info.size = len(picture)
            file.addfile(info, io.BytesIO(picture))
    (tmp_path / "d/away.tar").symlink_to(tmp_path / f"{tmp_path.name}.tar")
    items = load_items(tmp_path / "d")
    read = Inside(items)
    names = dict(zip(items.ids.to_pylist(), items.table["image"].to_pylist(), strict=True))
    assert read(names["d-1"]) == picture
    with pytest.raises(ImageError):
        read(names[f"{tmp_path.name}-1"])
