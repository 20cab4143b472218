"""prepare + normalised_pixels equal the libraries' own transforms, number for number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import open_clip
import pytest
import timm
import torch
import torchvision
from transformers import CLIPImageProcessor, SiglipImageProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from mmx.extract.encoders import huggingface, openclip, timm_nets, torchvision_nets
from mmx.extract.encoders.torch_encoder import Hardware, normalised_pixels
from mmx.extract.pictures.images import ImageRule, prepare
from tests.extract.kit import pictures

CPU = Hardware.of("cpu", "float32")


def assert_equal(rule: ImageRule, transform: Callable[..., torch.Tensor]) -> None:
    for picture in pictures():
        ours = normalised_pixels(prepare(picture, rule)[None], rule, CPU)[0]
        assert torch.equal(ours, transform(picture)), picture.size


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [97])
def test_open_clip(resize_mode: str, interpolation: str, size: int) -> None:
    config = open_clip.transform.PreprocessCfg(
        size=size, resize_mode=resize_mode, interpolation=interpolation, fill_color=30
    )
    rule = openclip._rule(vars(config))
    assert_equal(rule, open_clip.transform.image_transform_v2(config, is_train=False))


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("crop_pct", [0.875, 0.95, 1.0])
def test_timm(crop_mode: str, interpolation: str, crop_pct: float) -> None:
    model = timm.create_model("test_resnet", num_classes=0)
    model.pretrained_cfg |= {"input_size": (3, 97, 97), "crop_pct": crop_pct}
    model.pretrained_cfg |= {"crop_mode": crop_mode, "interpolation": interpolation}
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model))
    assert_equal(timm_nets._rule(model), transform)


NAMES = ["resnet50", "squeezenet1_0", "vit_b_16", "efficientnet_b1"]


@pytest.mark.parametrize("name", NAMES)
def test_torchvision(name: str) -> None:
    for weights in torchvision.models.get_model_weights(name):
        preset = weights.transforms()
        if preset.crop_size[0] < 300:
            assert_equal(torchvision_nets._rule(preset), preset)


HF = [
    (CLIPImageProcessorPil, CLIPImageProcessor, {}),
    (CLIPImageProcessorPil, CLIPImageProcessor, {"size": {"shortest_edge": 97}, "resample": 2}),
    (SiglipImageProcessorPil, SiglipImageProcessor, {}),
    (SiglipImageProcessorPil, SiglipImageProcessor, {"resample": 2, "image_std": [0.2, 0.3, 0.4]}),
]


@pytest.mark.parametrize(("pil", "fast", "options"), HF)
def test_transformers(pil: type, fast: type, options: dict[str, object]) -> None:
    if "size" in options:
        options = options | {"crop_size": {"height": 90, "width": 90}}
    rule = huggingface.rule_of(fast(**options), "test")
    for picture in pictures():
        ours = normalised_pixels(prepare(picture, rule)[None], rule, CPU)
        exact = pil(**options)(picture, return_tensors="pt")["pixel_values"]
        np.testing.assert_allclose(ours, exact, atol=1e-6)
        # transformers' default resizes tensors, not Pillow pictures: at most 3 grey levels off
        level = ours - fast(**options)(picture, return_tensors="pt")["pixel_values"]
        assert level.abs().max() <= 3 / 255 / min(rule.std)


@pytest.mark.parametrize("fill", [0, (10, 20, 30)])
def test_a_picture_smaller_than_the_crop_is_filled_as_timm_does(fill: object) -> None:
    rule = ImageRule(97, 50, "crop", "bilinear", (0, 0, 0), (1, 1, 1), fill=fill)
    steps = [
        torchvision.transforms.Resize(50),
        timm.data.transforms.CenterCropOrPad(97, fill=fill),
        torchvision.transforms.ToTensor(),
    ]
    assert_equal(rule, torchvision.transforms.Compose(steps))


def test_bfloat16_pixels_are_rounded_once() -> None:
    rule = ImageRule(4, 4, "squash", "nearest", (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    low = normalised_pixels(pixels, rule, Hardware.of("cpu", "bfloat16"))
    assert torch.equal(low, normalised_pixels(pixels, rule, CPU).to(torch.bfloat16))
