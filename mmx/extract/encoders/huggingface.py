"""CLIP and SigLIP in the Hugging Face layout, through transformers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from mmx.cache.card import EncoderCard
from mmx.errors import EncoderError, first_few
from mmx.extract.encoder import TextBatch
from mmx.extract.encoders.request import PICTURE_OPTIONS, Request
from mmx.extract.encoders.torch_encoder import Hardware, TorchEncoder
from mmx.extract.hub import loading, repository
from mmx.extract.pictures.images import ImageRule
from mmx.extract.weights import (
    load_strictly,
    parameters_sha256,
    read_state_dict,
)

# By the model_type in config.json; fixed-size SigLIP 2 calls itself siglip too.
KINDS: dict[str, Any] = {"clip": transformers.CLIPModel, "siglip": transformers.SiglipModel}
RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def open_huggingface(request: Request) -> TorchEncoder:
    """``clip:hf:REPO``, where REPO is on the Hugging Face hub or a local directory.

    ``weights`` may be a directory, which takes the place of REPO, or a file of parameters for
    REPO's configuration. Raises EncoderError for another kind of model, weights that do not
    fit or cannot be had; OptionError for options that it does not use.
    """
    request.only(*PICTURE_OPTIONS)
    hardware = Hardware.of(request.device, request.precision)
    wanted = request.wanted(("image", "text"))
    source, file = _source(request)
    request.reads(source, *([] if Path(source).is_dir() else [repository(source)]))
    if file is not None:
        request.reads(file)
    config, model = _model(request, source, file)
    rule = request.rule(_rule(request, source)) if "image" in wanted else None
    tokenizer = _TransformersTokenizer.of(request, source, config) if "text" in wanted else None
    card = EncoderCard(
        name=request.spec,
        library="transformers",
        architecture=config.model_type,
        weights=file.name if file else Path(source).name if Path(source).is_dir() else source,
        dimensions=dict.fromkeys(wanted, _dimension(config)),
        normalised=True,
        precision=request.precision,
        parameters_sha256=parameters_sha256(model.state_dict()),
        weights_sha256=request.weights_sha256(file),
        image_rule=rule.as_dict() if rule else None,
        tokenizer=type(tokenizer.tokenizer).__name__ if tokenizer else None,
        text_limit=tokenizer.limit if tokenizer else None,
        output="projection into the joint image-text space",
    )
    hardware.place(model)

    passes = (partial(_image_pass, model), partial(_text_pass, model))
    return TorchEncoder(card, rule, hardware, *passes, tokenizer)


def _image_pass(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    return _pooled(model.get_image_features(pixel_values=pixels))


def _text_pass(model: Any, tokens: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return _pooled(model.get_text_features(**tokens))


def _source(request: Request) -> tuple[str, Path | None]:
    """Where configuration and tokenizer are, and the weights file if it is elsewhere."""
    name = request.name.removeprefix("hf:")
    if not name:
        raise EncoderError("clip:hf: needs a repository or a directory, clip:hf:REPO")
    if request.weights is not None and request.weights.is_dir():
        return str(request.weights), None
    return name, request.weights


def _loading(request: Request, source: str, what: str) -> Any:
    fix = "download the repository elsewhere and give --weights PATH of its directory"
    return loading(f"the {what} of {request.spec}", fix, remote=not Path(source).is_dir())


def _model(request: Request, source: str, file: Path | None) -> tuple[Any, Any]:
    with _loading(request, source, "configuration"):
        config = transformers.AutoConfig.from_pretrained(source)
    kind = KINDS.get(config.model_type)
    if kind is None:
        raise EncoderError(
            f"{request.spec} is a '{config.model_type}' model; clip:hf takes {first_few(KINDS)}"
        )
    if file is not None:
        with torch.random.fork_rng(devices=[]):
            model = kind(config)
        state = _known(read_state_dict(file), model)
        load_strictly(model, state, source=f"--weights {file}", architecture=request.spec)
        return config, model
    if not Path(source).is_dir():
        request.log(f"loading {request.spec} (fetched once, then cached)")
    with _loading(request, source, "model"), torch.random.fork_rng(devices=[]):
        model, report = kind.from_pretrained(source, dtype=torch.float32, output_loading_info=True)
    if report["missing_keys"] or report["mismatched_keys"]:
        wrong = sorted(map(str, {*report["missing_keys"], *report["mismatched_keys"]}))
        raise EncoderError(f"{request.spec} lacks {len(wrong)} parameters ({first_few(wrong)})")
    return config, model


def _known(state: Mapping[str, torch.Tensor], model: Any) -> dict[str, torch.Tensor]:
    """Without the position numbers that files of transformers before 4.31 hold."""
    own = model.state_dict()
    return {k: v for k, v in state.items() if k in own or not k.endswith(".position_ids")}


def _dimension(config: Any) -> int:
    if config.model_type == "clip":
        return int(config.projection_dim)
    return int(config.vision_config.hidden_size)


def _pooled(output: Any) -> torch.Tensor:
    """(B, d): transformers 5 wraps it in an output record."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def _rule(request: Request, source: str) -> ImageRule:
    with _loading(request, source, "image processor"):
        processor = transformers.AutoImageProcessor.from_pretrained(source)
    return rule_of(processor, request.spec)


def rule_of(processor: Any, spec: str) -> ImageRule:
    """What an image processor does, as its configuration says, in its Pillow form.

    Raises EncoderError for one that does more than resize, cut a square and normalise.
    """
    size, crop = _plain(processor.size), _plain(getattr(processor, "crop_size", None))
    if not processor.do_resize or not processor.do_rescale:
        raise EncoderError(f"the image processor of {spec} does not resize and rescale")
    if abs(processor.rescale_factor * 255 - 1) > 1e-6:
        raise EncoderError(f"{spec} rescales by {processor.rescale_factor}, not 1/255")
    square = size.get("height")
    resize = square if square and square == size.get("width") else size.get("shortest_edge")
    cut = crop.get("height") if getattr(processor, "do_center_crop", False) else square
    if not resize or not cut or (cut != square and crop.get("width") != cut):
        raise EncoderError(f"{spec} resizes to {size}, crop {crop}; mmx knows only squares")
    return ImageRule(
        size=int(cut),
        resize=int(resize),
        mode="squash" if square else "crop",
        interpolation=RESAMPLE[int(processor.resample)],  # type: ignore[arg-type]
        mean=_triple(processor.image_mean if processor.do_normalize else (0, 0, 0)),
        std=_triple(processor.image_std if processor.do_normalize else (1, 1, 1)),
        centre="down",
    )


def _plain(size: Any) -> dict[str, int]:
    return {k: v for k, v in dict(size or {}).items() if v}


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


class _TransformersTokenizer:
    """The repository's tokenizer, padding every text to the limit as the model was trained."""

    def __init__(self, tokenizer: Any, limit: int, mask: bool) -> None:
        self.tokenizer, self.limit, self.mask = tokenizer, limit, mask

    @classmethod
    def of(cls, request: Request, source: str, config: Any) -> _TransformersTokenizer:
        """SigLIP takes no attention mask: it was trained to see the padding."""
        with _loading(request, source, "tokenizer"):
            tokenizer = transformers.AutoTokenizer.from_pretrained(source)
        limit = int(config.text_config.max_position_embeddings)
        return cls(tokenizer, limit, mask=config.model_type != "siglip")

    def __call__(self, texts: list[str]) -> TextBatch:
        tokens = dict(self.tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=self.limit,
            return_attention_mask=True,
            return_tensors="pt",
        ))  # (B, limit) each  # fmt: skip
        mask = tokens["attention_mask"] if self.mask else tokens.pop("attention_mask")
        count = mask.sum(1).numpy().astype(np.int32)  # (B,)
        return TextBatch(tokens, count, self._truncated(texts, count))

    def _truncated(self, texts: list[str], count: np.ndarray) -> np.ndarray:
        """(B,) bool. Only texts that reach the limit are tokenised a second time, in full."""
        truncated = np.zeros(len(texts), dtype=bool)
        rows = np.flatnonzero(count == self.limit)
        if len(rows):
            full = self.tokenizer([texts[row] for row in rows], verbose=False)["input_ids"]
            truncated[rows] = [len(ids) > self.limit for ids in full]
        return truncated
