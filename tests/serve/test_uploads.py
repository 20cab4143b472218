"""Large pictures: how many pixels are made of them, and who waits meanwhile."""

from __future__ import annotations

import asyncio
import io
import threading

import numpy as np
import pytest
from PIL import Image

from mmx.extract.pictures import decoding
from mmx.serve import stores, uploads
from tests.extract.files import encoded, png
from tests.serve.world import Served, listed


def jpeg(width: int, height: int, mode: str = "RGB") -> bytes:
    return encoded(Image.new(mode, (width, height), 90), "JPEG", quality=20)


def test_of_a_large_jpeg_a_part_of_its_pixels_is_made(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []
    whole = decoding.as_rgb
    monkeypatch.setattr(decoding, "as_rgb", lambda image: sizes.append(image.size) or whole(image))
    monkeypatch.setattr(decoding, "decode", lambda data: pytest.fail("all pixels are made"))
    answer = api.client.post("/search?k=3", files={"picture": jpeg(4000, 2000)})
    assert answer.status_code == 200, answer.text
    assert sizes == [(500, 250)]


def test_a_large_picture_finds_what_all_of_its_pixels_find(api: Served) -> None:
    ramp = np.linspace(0, 255, 2400, dtype=np.uint8)
    one = Image.merge("RGB", [Image.fromarray(part) for part in (
        np.tile(ramp, (1800, 1)), np.full((1800, 2400), 60, np.uint8),
        np.tile(255 - ramp, (1800, 1)),
    )])  # fmt: skip
    data = encoded(one, "JPEG", quality=90)
    assert one.width * one.height > stores.EXACT
    exact = api.service.snapshot.stores[0].asking["image"].encoder
    assert exact is not None
    fast, whole = exact.pixels(data, stores.EXACT), exact.pixels(data)
    assert np.abs(fast.astype(int) - whole).mean() <= decoding.TOLERANCE
    found = api.client.post("/search?k=3", files={"picture": data}).json()
    small = io.BytesIO()
    one.resize((240, 180)).save(small, "PNG")
    assert listed(found) == listed(
        api.client.post("/search?k=3", files={"picture": small.getvalue()}).json()
    )


def test_of_other_pictures_fewer_pixels_are_taken(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PIXELS", 50_000)
    monkeypatch.setattr(uploads, "WHOLE", 25_000)
    for data, status in (
        (jpeg(200, 250), 200), (jpeg(200, 251), 413), (jpeg(100, 250, "L"), 200),
        (jpeg(100, 251, "L"), 413), (jpeg(100, 251, "CMYK"), 413),
        (png(100, 251, 8, 2, b""), 413),
        (encoded(Image.new("RGB", (100, 251), 90), "WEBP"), 413),
        (encoded(Image.new("RGB", (100, 250), 90), "WEBP"), 200),
    ):  # fmt: skip
        answer = api.client.post("/search", files={"picture": data})
        assert answer.status_code == status, answer.text


def test_words_do_not_wait_for_pictures(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    go, begun = threading.Event(), threading.Event()
    whole = stores.Asking.pixels

    def slow(asking: stores.Asking, data: bytes) -> np.ndarray:
        begun.set()
        go.wait()
        return whole(asking, data)

    monkeypatch.setattr(stores.Asking, "pixels", slow)

    async def both() -> tuple[int, int]:
        service = api.service
        picture = asyncio.create_task(service.search_picture(jpeg(40, 40), 3, None, []))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        words = await service.search_words("word word", 3, None, [])
        assert not picture.done()
        go.set()
        return len(words.ids), len((await picture).ids)

    try:
        assert asyncio.run(both()) == (3, 3)
    finally:
        go.set()
