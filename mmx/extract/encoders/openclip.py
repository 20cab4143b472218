"""CLIP and its relatives through open_clip (Ilharco et al., OpenCLIP, 2021).

A trap: weights like "openai" were trained with QuickGELU, a slightly different activation,
while open_clip builds the architecture "ViT-B-16" with GELU and only warns of it. Here the
activation follows the tag, and the card says which it is.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import torch

from mmx.cache.card import EncoderCard
from mmx.errors import EncoderError, first_few
from mmx.extract.encoders.bare import WithoutDrawing
from mmx.extract.encoders.openclip_tokens import OpenClipTokenizer
from mmx.extract.encoders.records import DEFAULT_CLIP, MINI
from mmx.extract.encoders.request import PICTURE_OPTIONS, Request, near
from mmx.extract.encoders.torch_encoder import Hardware, TorchEncoder
from mmx.extract.hub import loading, repository
from mmx.extract.later import Later
from mmx.extract.pictures.images import ImageRule
from mmx.extract.weights import (
    load_strictly,
    parameters_sha256,
    read_state_dict,
)

SCHEMAS = ("local-dir:", "hf-hub:")
MODES = {"shortest": "crop", "longest": "pad", "squash": "squash"}


def open_openclip(request: Request) -> TorchEncoder:
    """``clip``, ``clip:ARCH/TAG``, ``clip:ARCH`` with weights, ``clip:local-dir:PATH``,
    ``clip:hf-hub:REPO`` and ``clip:mini``.

    Raises EncoderError for an unknown architecture or tag, weights that do not fit or cannot
    be had; OptionError for options that CLIP does not use.
    """
    request.only(*PICTURE_OPTIONS, "tokenizer")
    hardware = Hardware.of(request.device, request.precision)
    wanted, weights = request.wanted(("image", "text")), request.needs_file()
    request.hash_weights(weights)
    name, tag = _parts(request)
    model = _model(request, name, tag)
    request.reads(*_files(request, name, tag))
    if weights is not None:
        _load(model, weights, request)
    digest = Later(partial(parameters_sha256, model.state_dict()))
    rule = request.rule(_rule(model.visual.preprocess_cfg)) if "image" in wanted else None
    tokenizer = OpenClipTokenizer.of(request, name, model) if "text" in wanted else None
    dimension = _dimension(name, model)
    card = EncoderCard(
        name=request.spec,
        library="open_clip",
        architecture=_architecture(name),
        weights=weights.name if weights else tag or _architecture(name),
        dimensions=dict.fromkeys(wanted, dimension),
        normalised=True,
        precision=request.precision,
        parameters_sha256=digest.result(),
        weights_sha256=request.weights_sha256(weights),
        image_rule=rule.as_dict() if rule else None,
        tokenizer=tokenizer.name if tokenizer else None,
        text_limit=tokenizer.limit if tokenizer else None,
        output="projection into the joint image-text space",
        extra={"activation": _activation(model)},
    )
    hardware.place(model)
    passes = (model.encode_image, model.encode_text)
    return TorchEncoder(card, rule, hardware, *passes, tokenizer, model)


def _parts(request: Request) -> tuple[str, str | None]:
    """open_clip's model name and the weights tag, checked."""
    name = request.name or DEFAULT_CLIP
    if name == "mini":
        return f"local-dir:{MINI}", None
    if name.startswith(SCHEMAS):
        return name, None
    architecture, _, tag = name.partition("/")
    known = open_clip.list_models()
    if architecture not in known:
        hint = near(architecture, [*known, "mini"], "open_clip.list_models() names all")
        raise EncoderError(f"clip has no architecture '{architecture}'{hint}")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag and not open_clip.get_pretrained_cfg(architecture, tag):
        hint = near(tag, tags, "open_clip.list_pretrained() names all")
        raise EncoderError(f"clip:{architecture} has no weights '{tag}'{hint}")
    if not tag and request.weights is None:
        choice = (
            f"give clip:{architecture}/TAG (TAG: {first_few(tags, 5)}) or " if tags else "give "
        )
        raise EncoderError(f"{request.spec} names no weights; {choice}--weights PATH")
    return architecture, tag or None


def _model(request: Request, name: str, tag: str | None) -> Any:
    """The network, with the weights of its tag or directory unless a file is to replace them."""
    schema = name.startswith(SCHEMAS)
    official = request.weights is None
    facts = open_clip.get_pretrained_cfg(name, tag) if tag else {}
    if official and not name.startswith("local-dir:"):
        request.log(f"loading {request.spec} (fetched once, then cached)")
    fix = "download the weights elsewhere and give --weights PATH"
    if name.startswith("local-dir:"):
        fix = "it must be a directory with open_clip_config.json and weights"
    remote = name.startswith("hf-hub:") or (official and not schema)
    with (
        loading(request.spec, fix, remote=remote or _has_hub_tower(name)),
        torch.random.fork_rng(devices=[]),
        WithoutDrawing(),
    ):
        return open_clip.create_model(
            name,
            pretrained=tag if official else None,
            load_weights=official,
            require_pretrained=official,
            pretrained_text=False,
            force_quick_gelu=bool(facts.get("quick_gelu")),
            force_image_size=request.options.get("image_size"),
            force_preprocess_cfg={k: v for k, v in facts.items() if k in _PREPROCESSING} or None,
        ).eval()


def _files(request: Request, name: str, tag: str | None) -> list[Path]:
    """All that decides what is opened; nothing where a part of it comes from elsewhere."""
    found = [request.needs_file(), request.options.get("tokenizer")]
    if name.startswith("local-dir:"):
        found.append(name.removeprefix("local-dir:"))
    elif name.startswith("hf-hub:"):
        return []
    text = (open_clip.get_model_config(name) or {}).get("text_cfg", {})
    found += [
        repository(text[key]) for key in ("hf_model_name", "hf_tokenizer_name") if key in text
    ]
    if tag and request.weights is None:
        source = open_clip.get_pretrained_cfg(name, tag)
        if source.get("hf_hub"):
            found.append(repository("/".join(source["hf_hub"].split("/")[:2])))
        if source.get("url"):
            found.append(Path("~/.cache/clip").expanduser() / Path(source["url"]).name)
    return [Path(path) for path in found if path]


_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode", "fill_color")


def _has_hub_tower(name: str) -> bool:
    config = None if name.startswith(SCHEMAS) else open_clip.get_model_config(name)
    return bool(config and config["text_cfg"].get("hf_model_name"))


def _load(model: Any, path: Path, request: Request) -> None:
    """A local checkpoint, brought into open_clip's own layout where it is a known other one."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed

    state = convert_state_dict(model, read_state_dict(path))
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):  # a number or an array of one number
        own = getattr(model, name, None)
        if name in state and own is not None:
            state[name] = state[name].reshape(own.shape)
    if "image_size" in request.options:
        resize_pos_embed(state, model)
    load_strictly(model, state, source=f"--weights {path}", architecture=request.spec)


def _rule(config: dict[str, Any]) -> ImageRule:
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise EncoderError(f"the encoder sees {width} x {height} px; mmx knows only squares")
    return ImageRule(
        size=height,
        resize=height,
        mode=MODES[config["resize_mode"]],  # type: ignore[arg-type]
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        fill=config["fill_color"],
    )


def _dimension(name: str, model: Any) -> int:
    config = open_clip.get_model_config(name)
    if config is not None:
        return int(config["embed_dim"])
    return int(model.text_projection.shape[-1])


def _architecture(name: str) -> str:
    return Path(name).name if name.startswith("local-dir:") else name


def _activation(model: Any) -> str:
    quick = any(type(module).__name__ == "QuickGELU" for module in model.modules())
    return "QuickGELU" if quick else "GELU"
