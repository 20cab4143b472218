"""Image networks of timm (Wightman, PyTorch Image Models, 2019): pooled features."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import timm
import torch

from mmx.cache.card import EncoderCard
from mmx.errors import EncoderError
from mmx.extract.encoders.request import PICTURE_OPTIONS, Request, near
from mmx.extract.encoders.torch_encoder import Hardware, TorchEncoder
from mmx.extract.encoders.trial import pooled_dimension
from mmx.extract.hub import loading, repository
from mmx.extract.pictures.images import ImageRule
from mmx.extract.weights import (
    load_strictly,
    parameters_sha256,
    read_state_dict,
)

MODES = {"center": "crop", "squash": "squash", "border": "pad"}


def open_timm(request: Request) -> TorchEncoder:
    """``timm:ARCH`` or ``timm:ARCH.TAG``: image only, the input of the classifier.

    Raises EncoderError for an unknown architecture, weights that do not fit or cannot be had;
    OptionError for options that it does not use.
    """
    request.only(*PICTURE_OPTIONS)
    hardware = Hardware.of(request.device, request.precision)
    wanted, weights = request.wanted(("image",)), request.needs_file()
    _check(request)
    model = _model(request)
    if weights is not None:
        request.reads(weights)
        _load(model, weights, request)
    elif model.pretrained_cfg.get("hf_hub_id"):
        request.reads(repository(model.pretrained_cfg["hf_hub_id"]))
    rule = request.rule(_rule(model))
    digest = parameters_sha256(model.state_dict())
    hardware.place(model)
    card = EncoderCard(
        name=request.spec,
        library="timm",
        architecture=request.name.partition(".")[0],
        weights=weights.name if weights else str(model.pretrained_cfg.get("tag") or "default"),
        dimensions=dict.fromkeys(wanted, pooled_dimension(model, rule, hardware, request)),
        normalised=False,
        precision=request.precision,
        parameters_sha256=digest,
        weights_sha256=request.weights_sha256(weights),
        image_rule=rule.as_dict(),
        output="pooled features, the input of the classifier",
    )
    return TorchEncoder(card, rule, hardware, model)


def _check(request: Request) -> None:
    architecture, _, tag = request.name.partition(".")
    if not timm.is_model(architecture):
        hint = near(architecture, timm.list_models(), "timm.list_models() names all")
        raise EncoderError(f"timm has no architecture '{architecture}'{hint}")
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        hint = near(tag, tags, "timm.list_pretrained() names all")
        raise EncoderError(f"timm:{architecture} has no weights '{tag}'{hint}")
    if not tags and request.weights is None:
        raise EncoderError(f"timm has no weights for {architecture}; give --weights PATH")


def _model(request: Request) -> Any:
    """The network without its classifier, with timm's weights unless a file replaces them."""
    official = request.weights is None
    if official:
        request.log(f"loading {request.spec} (fetched once, then cached)")
    facts = timm.get_pretrained_cfg(request.name)
    size = {}
    if "image_size" in request.options and facts is not None and facts.fixed_input_size:
        size["img_size"] = request.options["image_size"]
    fix = "download the weights elsewhere and give --weights PATH"
    with loading(request.spec, fix, remote=official), torch.random.fork_rng(devices=[]):
        return timm.create_model(request.name, pretrained=official, num_classes=0, **size).eval()


def _load(model: Any, path: Path, request: Request) -> None:
    """A local checkpoint, through timm's own conversion where it is of another layout."""
    state = read_state_dict(path)
    own = model.state_dict()
    fits = all(k in state and state[k].shape == v.shape for k, v in own.items())
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if not fits and convert is not None:
        with loading(f"--weights {path}", f"it must be a checkpoint of {request.spec}"):
            state = convert(state, model)
    heads = model.pretrained_cfg.get("classifier") or ()
    load_strictly(
        model,
        state,
        source=f"--weights {path}",
        architecture=request.spec,
        heads=(heads,) if isinstance(heads, str) else tuple(heads),
    )


def _rule(model: Any) -> ImageRule:
    """What timm.data.create_transform does for this model in evaluation."""
    config = timm.data.resolve_model_data_config(model)
    _, height, width = config["input_size"]
    if height != width:
        raise EncoderError(f"the encoder sees {width} x {height} px; mmx knows only squares")
    red, green, blue = (round(255 * value) for value in config["mean"])
    return ImageRule(
        size=height,
        resize=math.floor(height / config["crop_pct"]),
        mode=MODES[config["crop_mode"]],  # type: ignore[arg-type]
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        fill=(red, green, blue) if config["crop_mode"] == "border" else 0,
    )
