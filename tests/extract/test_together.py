"""Pictures resized together are those resized one by one."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mmx.extract.pictures.decoding import _centre
from mmx.extract.pictures.images import ImageRule, offset, scaled_size
from mmx.extract.pictures.together import PART, resized_together
from tests.devices.fake_cuda import FakeCuda

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
HALF = (0.5, 0.5, 0.5)


def rule_of(
    mode: str, interpolation: str = "bicubic", size: int = 24, resize: int = 32
) -> ImageRule:
    return ImageRule(size, resize, mode, interpolation, HALF, HALF, (9, 80, 200), "even", "gpu")


def pictures(*sides: tuple[int, int], seed: int = 0) -> list[torch.Tensor]:
    """Noise, which shows every weight: (h, w, 3) of each width and height."""
    random = np.random.default_rng(seed)
    return [torch.from_numpy(random.integers(0, 256, (h, w, 3), np.uint8)) for w, h in sides]


def one_by_one(found: list[torch.Tensor], rule: ImageRule) -> torch.Tensor:
    """By torch's resize, in float32."""
    sizes = [scaled_size(p.shape[1], p.shape[0], rule) for p in found]
    made = []
    for picture, (width, height) in zip(found, sizes, strict=True):
        planes = F.interpolate(
            picture.permute(2, 0, 1)[None].float(), (height, width),
            mode=rule.interpolation, antialias=True, align_corners=False,
        )[0]  # fmt: skip
        made.append(_centre(planes.round().clamp(0, 255).byte().permute(1, 2, 0), rule))
    return torch.stack(made)


def same(there: torch.Tensor, here: torch.Tensor) -> None:
    """But for numbers that lie halfway between two bytes."""
    away = (there.int() - here.int()).abs()
    assert there.shape == here.shape
    assert away.max() <= 1
    assert (away > 0).float().mean() < 0.01


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
def test_as_one_by_one(mode: str, interpolation: str, device: str) -> None:
    """Those of "pad" are filled up; (33, 640) becomes hardly smaller on one side."""
    rule, found = rule_of(mode, interpolation), pictures((50, 40), (200, 47), (33, 640), (100, 100))
    there = resized_together([p.to(device) for p in found], rule)
    assert there.dtype == torch.uint8
    same(there.cpu(), one_by_one(found, rule))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(34, 150), st.integers(34, 150)), min_size=1, max_size=5),
    st.sampled_from(["crop", "squash", "pad"]),
    st.sampled_from(["bicubic", "bilinear"]),
    st.integers(5, 40),
    st.sampled_from(["even", "down"]),
)
def test_any_sides(
    sides: list[tuple[int, int]], mode: str, interpolation: str, size: int, centre: str
) -> None:
    """The result may be larger or smaller than what is resized."""
    rule = ImageRule(size, 32, mode, interpolation, HALF, HALF, 77, centre, "gpu")
    found = pictures(*sides, seed=size)
    same(resized_together(found, rule), one_by_one(found, rule))


def test_as_written_out() -> None:
    """In float64, number by number."""
    rule, (picture,) = rule_of("crop", size=6, resize=8), pictures((31, 23))
    there = resized_together([picture], rule)[0]
    height, width, _ = picture.shape
    target = scaled_size(width, height, rule)

    def cubic(x: float) -> float:
        x = abs(x)
        if x < 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    def weights(length: int, made: int, at: int) -> list[float]:
        scale = length / made
        centre = (at + offset(made - rule.size, rule) + 0.5) * scale
        raw = [cubic((j + 0.5 - centre) / scale) for j in range(length)]
        return [w / sum(raw) for w in raw]

    for y in range(rule.size):
        for x in range(rule.size):
            down, across = weights(height, target[1], y), weights(width, target[0], x)
            for colour in range(3):
                exact = sum(
                    down[j] * across[i] * float(picture[j, i, colour])
                    for j in range(height) for i in range(width)
                )  # fmt: skip
                assert math.isclose(min(max(exact, 0), 255), there[y, x, colour], abs_tol=0.501)


def test_a_gpu_is_not_waited_for() -> None:
    """Nor does it refuse anything, whether what is around a picture is grey or coloured."""
    for fill in (7, (1, 2, 3)):
        with FakeCuda() as gpu:
            on_gpu = [picture.to("cuda") for picture in pictures((50, 40), (90, 33))]
            before = len(gpu.waits)
            resized_together(on_gpu, replace(rule_of("pad"), fill=fill))
            assert gpu.waits[before:] == []
        assert gpu.mixed == []


def test_a_group_is_a_few_operations() -> None:
    """Each picture is laid into the array; all else is done once, for one as for eight."""

    def operations(count: int) -> Counter[str]:
        found = pictures(*[(40, 50)] * count)
        with torch.profiler.profile() as profile:
            resized_together(found, rule_of("crop"))
        return Counter({event.key: event.count for event in profile.key_averages()})

    more = operations(PART) - operations(1)
    assert set(more) <= {
        "aten::copy_",
        "aten::slice",
        "aten::select",
        "aten::transpose",
        "aten::as_strided",
    }
    assert more["aten::copy_"] == PART - 1
    assert operations(2 * PART)["aten::bmm"] == 2 * operations(PART)["aten::bmm"]


def test_many_are_done_in_parts() -> None:
    found = pictures(*[(50 + n, 90 - n) for n in range(2 * PART + 3)])
    same(resized_together(found, rule_of("crop")), one_by_one(found, rule_of("crop")))
