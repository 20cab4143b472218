"""timm: and torchvision: equal the libraries' own features on the same pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file

from mmx.errors import EncoderError, OptionError
from mmx.extract.encoders import open_encoder, torchvision_nets
from mmx.extract.pictures.images import prepare
from tests.extract.kit import check_encoder, pictures, pixel_batch
from tests.shared import shared


def saved(model: torch.nn.Module, path: Path, size: int = 160) -> Path:
    """A weights file of random numbers, its batch statistics those of some noise.

    Without them the features of a random network die out, and equal each other for nothing.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(3, 3, size, size))
    save_file(model.state_dict(), path)
    return path


def vectors(encoder: Any) -> np.ndarray:
    return encoder.encode_image(pixel_batch(encoder, pictures()))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_timm_equals_its_own_pipeline(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = saved(timm.create_model(name), tmp_path / "w.safetensors")
    encoder = open_encoder(f"timm:{name}", weights=path)
    model = timm.create_model(name, checkpoint_path=str(path)).eval()
    model.reset_classifier(0)
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model))
    with torch.inference_mode():
        expected = model(torch.stack([transform(picture) for picture in pictures()])).numpy()
    np.testing.assert_allclose(vectors(encoder), expected, atol=1e-5, rtol=1e-5)
    check_encoder(encoder)
    assert encoder.card.dimensions == {"image": model.num_features}
    assert encoder.card.architecture == name


def test_timm_knows_other_layouts_of_a_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_vit")
    state = model.state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "b.pth")
    plain = open_encoder("timm:test_vit", weights=tmp_path / "a.safetensors")
    wrapped = open_encoder("timm:test_vit", weights=tmp_path / "b.pth")
    assert plain.card.parameters_sha256 == wrapped.card.parameters_sha256
    headless = {k: v for k, v in state.items() if not k.startswith("head.")}
    save_file(headless, tmp_path / "c.safetensors")
    without = open_encoder("timm:test_vit", weights=tmp_path / "c.safetensors")
    assert without.card.parameters_sha256 == plain.card.parameters_sha256
    del headless["blocks.0.norm1.weight"]
    save_file(headless, tmp_path / "d.safetensors")
    with pytest.raises(EncoderError, match=r"1 missing \(blocks.0.norm1.weight\)"):
        open_encoder("timm:test_vit", weights=tmp_path / "d.safetensors")


def test_timm_at_another_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vit = saved(timm.create_model("test_vit"), tmp_path / "vit.safetensors")
    encoder = open_encoder("timm:test_vit", weights=vit, image_size=96)
    check_encoder(encoder)
    assert encoder.card.image_rule["size"] == 96
    resnet = saved(timm.create_model("test_resnet"), tmp_path / "resnet.safetensors")
    check_encoder(open_encoder("timm:test_resnet", weights=resnet, image_size=64))
    with pytest.raises(EncoderError, match="another --image-size"):
        open_encoder("timm:test_vit", weights=vit, image_size=97)


def test_timm_names(tmp_path: Path) -> None:
    path = saved(timm.create_model("test_resnet"), tmp_path / "w.safetensors")
    for spec, message in [
        ("timm:resnet05", "did you mean 'resnet50'"),
        ("timm:resnet50.a1_in1", "did you mean 'a1_in1k'"),
        ("timm:", "timm has no architecture ''"),
    ]:
        with pytest.raises(EncoderError, match=message):
            open_encoder(spec)
    for options, message in [
        ({"tokenizer": "x"}, "--tokenizer is not used by timm:test_resnet"),
        ({"modalities": ("text",)}, "encodes image only"),
    ]:
        with pytest.raises(OptionError, match=message):
            open_encoder("timm:test_resnet", weights=path, **options)
    tagged = open_encoder("timm:test_resnet.r160_in1k", weights=path)
    assert (tagged.card.architecture, tagged.card.weights) == ("test_resnet", "w.safetensors")


def last_linear_input(model: torch.nn.Module, batch: torch.Tensor) -> np.ndarray:
    """What reaches the last linear layer, heard with a hook."""
    seen = []
    layer = [m for m in model.modules() if isinstance(m, torch.nn.Linear)][-1]
    layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        model.eval()(batch)
    return seen[0].numpy()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet_v2_x0_5"])
def test_torchvision_equals_the_input_of_its_last_layer(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None)
    encoder = open_encoder(f"torchvision:{name}", weights=saved(model, tmp_path / "w.safetensors"))
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    expected = last_linear_input(model, torch.stack([transform(p) for p in pictures()]))
    np.testing.assert_allclose(vectors(encoder), expected, atol=1e-5, rtol=1e-5)
    check_encoder(encoder)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_torchvision_builds_the_inceptions_as_for_their_published_weights(
    name: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(
        name, weights=None, aux_logits=True, transform_input=True, init_weights=False
    )
    encoder = open_encoder(
        f"torchvision:{name}", weights=saved(model, tmp_path / "w.safetensors", 299)
    )
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    batch = torch.stack([transform(p) for p in pictures()[:2]])
    seen = []
    model.fc.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        model.eval()(batch)
    got = encoder.encode_image(pixel_batch(encoder, pictures()[:2]))
    np.testing.assert_allclose(got, seen[0], atol=1e-5, rtol=1e-4)


FAMILIES = (
    "alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 "
    "maxvit_t mnasnet0_5 mobilenet_v2 mobilenet_v3_large regnet_x_400mf regnet_y_400mf resnet50 "
    "resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_1 swin_t swin_v2_t vgg11 vit_b_16 vit_h_14"
)


@pytest.mark.parametrize("name", FAMILIES.split())
def test_the_head_comes_off_every_family_of_torchvision(name: str) -> None:
    published = torchvision.models.get_model_weights(name).DEFAULT
    # without numbers, only shapes; the RegNets need numbers to work out theirs
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = torchvision_nets.build(name, published).eval()
        linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
        expected = linear[-1].in_features if linear else 512
        torchvision_nets.drop_head(model)
        size = published.transforms().crop_size[0]
        assert model(torch.zeros(2, 3, size, size)).shape == (2, expected)


def test_torchvision_names() -> None:
    for spec, message in [
        ("torchvision:resnet5", "did you mean 'resnet50'"),
        ("torchvision:resnet50.IMAGENET1K_V3", "did you mean 'IMAGENET1K_V2'"),
        ("torchvision:fcn_resnet50", "no architecture 'fcn_resnet50'"),  # no classifier of images
    ]:
        with pytest.raises(EncoderError, match=message):
            open_encoder(spec)


# The one real pretrained image network available

README = {  # of the file: its own input, not torchvision's
    "image_size": 227,
    "resize_mode": "squash",
    "interpolation": "bilinear",
    "mean": (123 / 255, 117 / 255, 104 / 255),
    "std": (1 / 255, 1 / 255, 1 / 255),
}


def test_squeezenet_with_the_input_its_file_asks_for() -> None:
    path = shared("encoders/squeezenet/squeezenet1_0.safetensors")
    encoder = open_encoder("torchvision:squeezenet1_0", weights=path, **README)
    model = torchvision.models.squeezenet1_0()
    model.load_state_dict(load_file(path))
    expected = []
    for picture in pictures():
        values = np.asarray(picture.resize((227, 227), Image.Resampling.BILINEAR), dtype=np.float32)
        batch = torch.from_numpy((values - (123, 117, 104)).astype(np.float32))  # std 1/255
        with torch.inference_mode():
            features = model.eval().features(batch.permute(2, 0, 1)[None])
        expected.append(features.mean((2, 3))[0].numpy())
    np.testing.assert_allclose(vectors(encoder), expected, atol=2e-3, rtol=1e-4)
    check_encoder(encoder)
    assert encoder.card.dimensions == {"image": 512}
    assert encoder.card.image_rule["std"] == pytest.approx([1 / 255] * 3)


def test_squeezenet_golden_values() -> None:
    path = shared("encoders/squeezenet/squeezenet1_0.safetensors")
    poster = Image.open(shared("data/ml-100k-posters/images/1.jpg")).convert("RGB")
    encoder = open_encoder("torchvision:squeezenet1_0", weights=path, **README)
    vector = encoder.encode_image(prepare(poster, encoder.image_rule)[None])[0]
    np.testing.assert_allclose(vector[:6], GOLDEN, atol=1e-3, rtol=1e-3)


GOLDEN = [7.91836, 1.10817, 18.93714, 11.19684, 2.52821, 24.21818]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_squeezenet_in_half_precision(precision: str) -> None:
    path = shared("encoders/squeezenet/squeezenet1_0.safetensors")
    exact = open_encoder("torchvision:squeezenet1_0", weights=path)
    rough = open_encoder("torchvision:squeezenet1_0", weights=path, precision=precision)
    full, half = (e.encode_image(pixel_batch(e, pictures()[:2])) for e in (exact, rough))
    norms = np.linalg.norm(full, axis=1) * np.linalg.norm(half, axis=1)
    assert ((full * half).sum(1) / norms).min() > 0.998


def test_weights_of_another_network() -> None:
    path = shared("encoders/squeezenet/squeezenet1_0.safetensors")
    with pytest.raises(
        EncoderError, match=r"does not fit torchvision:squeezenet1_1: .*another shape"
    ):
        open_encoder("torchvision:squeezenet1_1", weights=path)
    with pytest.raises(EncoderError, match=r"does not fit timm:test_resnet: \d+ missing"):
        open_encoder("timm:test_resnet", weights=path)
