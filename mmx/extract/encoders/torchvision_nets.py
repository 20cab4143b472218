"""Image classifiers of torchvision: the features before the last layer."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import torch
import torchvision
from torch import nn

from mmx.cache.card import EncoderCard
from mmx.errors import EncoderError
from mmx.extract.encoders.bare import WithoutDrawing
from mmx.extract.encoders.request import PICTURE_OPTIONS, Request, near
from mmx.extract.encoders.torch_encoder import Hardware, TorchEncoder
from mmx.extract.encoders.trial import pooled_dimension
from mmx.extract.hub import cached, loading, reachable
from mmx.extract.pictures.images import ImageRule
from mmx.extract.weights import (
    load_strictly,
    parameters_sha256,
    read_state_dict,
)

# How torchvision builds these for their published weights: with an input transform of their
# own, and without the auxiliary classifiers that only training uses.
BUILD: dict[str, dict[str, bool]] = {
    "googlenet": {"transform_input": True, "aux_logits": False, "init_weights": False},
    "inception_v3": {"transform_input": True, "aux_logits": False, "init_weights": False},
}
AUXILIARY = ("aux1", "aux2", "AuxLogits")


def open_torchvision(request: Request) -> TorchEncoder:
    """``torchvision:ARCH`` or ``torchvision:ARCH.TAG``: image only.

    The vector is the input of the network's last linear layer: pooled features for nearly
    all of them, the second fully connected layer of AlexNet and VGG. SqueezeNet ends in a
    convolution; its vector is the mean of ``features`` over space.

    Raises EncoderError for an unknown architecture, weights that do not fit or cannot be had;
    OptionError for options that it does not use.
    """
    request.only(*PICTURE_OPTIONS)
    hardware = Hardware.of(request.device, request.precision)
    wanted, weights = request.wanted(("image",)), request.needs_file()
    architecture, published = _published(request)
    with torch.random.fork_rng(devices=[]), WithoutDrawing():
        model = build(architecture, published)
    head, layer = drop_head(model)
    state = read_state_dict(weights) if weights else _fetch(request, published)
    request.reads(weights or cached(published.url))
    source = f"--weights {weights}" if weights else str(published)
    load_strictly(model, state, source=source, architecture=request.spec, heads=(head, *AUXILIARY))
    rule = request.rule(_rule(published.transforms()))
    digest = parameters_sha256(model.state_dict())
    hardware.place(model)
    card = EncoderCard(
        name=request.spec,
        library="torchvision",
        architecture=architecture,
        weights=weights.name if weights else published.name,
        dimensions=dict.fromkeys(wanted, pooled_dimension(model, rule, hardware, request)),
        normalised=False,
        precision=request.precision,
        parameters_sha256=digest,
        weights_sha256=request.weights_sha256(weights),
        image_rule=rule.as_dict(),
        output=layer,
    )
    return TorchEncoder(card, rule, hardware, model)


def _published(request: Request) -> tuple[str, Any]:
    """The architecture and the published weights: their values, or just their image rule."""
    architecture, _, tag = request.name.partition(".")
    known = torchvision.models.list_models(module=torchvision.models)
    if architecture not in known:
        hint = near(architecture, known, "torchvision.models.list_models() names all")
        raise EncoderError(f"torchvision has no architecture '{architecture}'{hint}")
    weights = torchvision.models.get_model_weights(architecture)
    if tag and tag not in weights.__members__:
        hint = near(tag, weights.__members__, "torchvision.models.get_model_weights() names all")
        raise EncoderError(f"torchvision:{architecture} has no weights '{tag}'{hint}")
    return architecture, weights[tag or "DEFAULT"]


def build(architecture: str, published: Any) -> Any:
    """The network with random numbers, built as torchvision does for these weights."""
    options: dict[str, Any] = dict(BUILD.get(architecture, {}))
    if architecture.startswith("vit_"):
        options["image_size"] = published.transforms().crop_size[0]
    return torchvision.models.get_model(architecture, weights=None, **options)


def _fetch(request: Request, published: Any) -> dict[str, torch.Tensor]:
    request.log(f"loading {request.spec} (fetched once, then cached)")
    fix = "download the weights elsewhere and give --weights PATH"
    silent = contextlib.redirect_stdout(io.StringIO())  # torch.hub prints what it downloads
    with loading(f"{request.spec} ({published.name})", fix, remote=False), silent:
        try:
            return dict(published.get_state_dict(progress=False, check_hash=True))
        except OSError as error:
            if reachable(published.url):
                raise
            raise OSError(f"{published.url} cannot be reached") from error


def drop_head(model: Any) -> tuple[str, str]:
    """Remove the classifier; returns its name and what the output is now."""
    if isinstance(model, torchvision.models.SqueezeNet):
        model.classifier = nn.AdaptiveAvgPool2d(1)
        return "classifier", "features averaged over space"
    name, _ = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)][-1]
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    return name, f"the input of the last layer, {name}"


def _rule(preset: Any) -> ImageRule:
    """A rule that does what torchvision.transforms._presets.ImageClassification does."""
    return ImageRule(
        size=preset.crop_size[0],
        resize=preset.resize_size[0],
        mode="crop",
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )
