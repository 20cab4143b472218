"""JPEGs of several items at once on a device. Here that is a CPU: the code is the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mmx.errors import EncoderError
from mmx.extract.pictures import jpegs
from mmx.extract.pictures.decoding import TOLERANCE, decode_jpegs, pixels_of
from mmx.extract.pictures.images import MAX_PIXELS, ImageRule
from mmx.extract.pictures.jpegs import AT_ONCE, CHECKED, Jpegs, takes
from mmx.extract.sources.source import Source
from mmx.extract.stages.load import Loaded, Loader, Read
from tests.extract.files import encoded, noise
from tests.extract.odd_jpegs import BROKEN, ODD, brighter, flawed, progressive, spied
from tests.extract.photographs import SIZES, jpeg, photograph

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")

RULE = ImageRule(96, 96, "crop", "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), decode="gpu")
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
Decoder = Callable[[Sequence[bytes], torch.device], list[torch.Tensor]]


def exactly(data: bytes, rule: ImageRule = RULE) -> np.ndarray:
    return pixels_of(data, replace(rule, decode="exact")).astype(int)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return spied(monkeypatch)


def loader(rule: ImageRule = RULE) -> Loader:
    return Loader(Source(), rule, False, Jpegs(rule, "cpu"))


def loaded(by: Loader, data: Sequence[bytes]) -> list[Loaded]:
    return list(by.decode_many([Read("ok", one, "missing", None, "") for one in data]))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_as_the_exact_way(device: str, mode: str, interpolation: str, calls: list[int]) -> None:
    rule = replace(RULE, mode=mode, interpolation=interpolation, fill=(9, 8, 7))
    data = [*(jpeg(*size) for size in SIZES), progressive(), jpeg(1800, 1350)]
    found = Jpegs(rule, device).pixels(data)
    assert calls == [len(data)]
    for one, picture in zip(data, found, strict=True):
        assert picture is not None
        assert (picture.shape, picture.dtype) == ((96, 96, 3), np.uint8)
        away = np.abs(picture - exactly(one, rule)).mean()
        assert away < (0.3 if device == "cpu" else TOLERANCE)  # there only the resize differs


def test_noise_too() -> None:
    """Noise is the hardest for a resize: still within the tolerance."""
    data = encoded(Image.fromarray(noise(300, 260)), "JPEG", quality=90)
    (picture,) = Jpegs(RULE, "cpu").pixels([data])
    assert np.abs(picture - exactly(data)).mean() < TOLERANCE


def test_bright_and_dark_do_not_wrap() -> None:
    """A bicubic resize shoots over at hard edges, beyond 255 and below 0."""
    hard = Image.fromarray((np.indices((400, 400)).sum(0) // 25 % 2 * 255).astype(np.uint8))
    data = encoded(hard.convert("RGB"), "JPEG", quality=95, subsampling=0)
    (picture,) = Jpegs(RULE, "cpu").pixels([data])
    assert picture is not None
    assert np.abs(picture - exactly(data)).max() < 9


@pytest.mark.parametrize("name", ODD)
def test_odd_ones_are_left_to_the_cpu(name: str, calls: list[int]) -> None:
    data = ODD[name]()
    assert (takes(data, RULE) is None) == (name != "flawed")
    assert Jpegs(RULE, "cpu").pixels([data]) == [None]
    here = loaded(loader(), [data])[0]
    there = loader(replace(RULE, decode="fast")).decode(Read("ok", data, "missing", None, ""))
    assert here.image_status == there.image_status
    assert (here.image_status == "ok") == (name not in BROKEN)
    if here.pixels is not None:
        assert (here.pixels == there.pixels).all()
    assert calls == ([1, 1] if name == "flawed" else [])


def test_what_is_taken() -> None:
    assert takes(jpeg(300, 400), RULE) == (300, 400)
    assert takes(progressive(), RULE) == (400, 300)
    assert takes(jpeg(300, 400), replace(RULE, interpolation="lanczos")) is None
    assert MAX_PIXELS > jpegs.MOST_PIXELS  # what Pillow refuses is not sent to a GPU


def test_one_broken_of_a_chunk_is_lost_alone(calls: list[int]) -> None:
    data = [jpeg(300, 200), flawed(), jpeg(200, 300), encoded(photograph(300, 400))]
    items = loaded(loader(), data)
    assert calls == [3, 1, 1, 1]
    assert [item.image_status == "ok" for item in items] == [True, False, True, True]
    assert items[1].image_status == "corrupt image"
    for one, item in zip(data, items, strict=True):
        if item.pixels is not None:
            assert np.abs(item.pixels - exactly(one)).mean() < 0.3


def test_a_group_that_does_not_fit_is_left_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pictures come from the device in one copy, for which there may be no memory."""

    def refused(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError

    data = [jpeg(300, 400), jpeg(400, 300)]
    monkeypatch.setattr(torch.Tensor, "cpu", refused)
    assert Jpegs(RULE, "cpu").pixels(data) == [None, None]
    assert [one.image_status for one in loaded(loader(), data)] == ["ok", "ok"]


def test_items_without_a_picture_keep_their_reason() -> None:
    data = jpeg(300, 400)
    read = [
        Read("missing", None, "ok", "a", "1"),
        Read("ok", data, "ok", "b", "2"),
        Read("HTTP 404", None, "missing", None, "3"),
    ]
    found = list(loader().decode_many(read))
    assert [(item.image_status, item.text, item.hash) for item in found] == [
        ("missing", "a", "1"), ("ok", "b", "2"), ("HTTP 404", None, "3"),
    ]  # fmt: skip
    assert [item.pixels is None for item in found] == [True, False, True]


@pytest.mark.parametrize("short_of", [1, 2])
def test_out_of_memory(short_of: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(data: Sequence[bytes], device: torch.device) -> list[torch.Tensor]:
        if len(data) >= short_of:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return decode_jpegs(data, device)

    monkeypatch.setattr(jpegs, "decode_jpegs", short)
    data = [jpeg(300, 200), jpeg(200, 300), jpeg(250, 250)]
    found = Jpegs(RULE, "cpu").pixels(data)
    assert [picture is None for picture in found] == [short_of == 1] * 3
    for one, item in zip(data, loaded(loader(), data), strict=True):
        assert item.pixels is not None
        assert np.abs(item.pixels - exactly(one)).mean() < 0.3


def test_out_of_memory_in_the_resize(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: object) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(jpegs, "resized_together", short)
    data = [jpeg(300, 200), jpeg(200, 300)]
    assert Jpegs(RULE, "cpu").pixels(data) == [None, None]
    assert [item.image_status for item in loaded(loader(), data)] == ["ok", "ok"]


def test_a_decoder_that_sees_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpegs, "decode_jpegs", lambda data, _: [torch.zeros(9, 9, 3)] * len(data))
    assert Jpegs(RULE, "cpu").pixels([jpeg(300, 200)]) == [None]


def test_groups_bound_the_memory(monkeypatch: pytest.MonkeyPatch, calls: list[int]) -> None:
    """Each has the sides of the largest there: a wide picture and a tall one are a large pair."""
    monkeypatch.setattr(jpegs, "MOST_PIXELS", 170_000)
    wide, tall, large = jpeg(300, 200), jpeg(200, 300), jpeg(500, 500)
    data = [wide, tall, tall, large]  # two of 300 × 300 px are too many, and so is the last alone
    found = Jpegs(RULE, "cpu").pixels(data)
    assert calls == [1, 2]
    assert [picture is None for picture in found] == [False] * 3 + [True]
    for one, picture in zip(data[:3], found, strict=False):
        assert picture is not None
        assert np.abs(picture - exactly(one)).mean() < 0.3


def test_a_decoder_that_is_off_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpegs, "decode_jpegs", brighter)
    with pytest.raises(EncoderError, match=r"[45]\.\d grey levels .* drop --gpu-decode"):
        Jpegs(RULE, "cpu").pixels([jpeg(300, 200)])


def test_only_the_first_pictures_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def spy(data: bytes, rule: ImageRule) -> np.ndarray:
        compared.append(data)
        return pixels_of(data, rule)

    monkeypatch.setattr(jpegs, "pixels_of", spy)
    several, data = Jpegs(RULE, "cpu"), jpeg(200, 150)
    for _ in range(3):
        assert all(picture is not None for picture in several.pixels([data] * 7))
    assert len(compared) == CHECKED


def test_what_pillow_calls_broken_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    lenient: Decoder = lambda data, _: [torch.zeros(400, 300, 3)] * len(data)  # noqa: E731
    monkeypatch.setattr(jpegs, "decode_jpegs", lenient)
    (item,) = loaded(loader(), [flawed()])
    assert item.image_status == "corrupt image"


def test_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, inside, most = threading.Lock(), [0], [0]

    def slow(data: Sequence[bytes], device: torch.device) -> list[torch.Tensor]:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.05)
        with lock:
            inside[0] -= 1
        return decode_jpegs(data, device)

    monkeypatch.setattr(jpegs, "decode_jpegs", slow)
    several, sizes = Jpegs(RULE, "cpu"), [(200 + 20 * n, 150) for n in range(3 * AT_ONCE)]
    data = [jpeg(*size) for size in sizes]
    found: dict[int, np.ndarray | None] = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: several.pixels([data[n]])[0]}))
        for n in range(len(data))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [AT_ONCE]
    for n, one in enumerate(data):
        assert np.abs(found[n] - exactly(one)).mean() < 0.3


def test_the_order_of_things_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """With doubles of CUDA: own streams, nothing waiting on them when the decoder starts."""
    calls: list[str] = []

    class Stream:
        def __init__(self, device: torch.device, priority: int) -> None:
            calls.append(f"{device} {priority}")

        def synchronize(self) -> None:
            calls.append("wait")

    @contextmanager
    def stream(_: Stream):  # type: ignore[no-untyped-def]
        calls.append("in")
        yield
        calls.append("out")

    def decoder(data: Sequence[bytes], device: torch.device) -> list[torch.Tensor]:
        calls.append(f"decode {len(data)}")
        return decode_jpegs(data, "cpu")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append(f"all of {device}"))
    monkeypatch.setattr(jpegs, "decode_jpegs", decoder)
    several = Jpegs(RULE, "cuda:1")
    assert several.pixels([jpeg(300, 200)])[0] is not None
    assert calls == ["cuda:1 -1", "wait", "in", "decode 1", "out"]
    calls.clear()
    assert several.pixels([jpeg(300, 200), flawed()])[1] is None
    steps = ["decode 2", "all of cuda:1", "decode 1", "decode 1", "all of cuda:1"]
    assert calls == ["wait", "in", *steps, "out"]  # with the stream of before
