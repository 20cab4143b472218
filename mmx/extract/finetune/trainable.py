"""An opened encoder with gradients: its two passes, and which of its parameters train."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from mmx.errors import OptionError
from mmx.extract.encoder import Encoder
from mmx.extract.encoders.torch_encoder import (
    Hardware,
    TorchEncoder,
    normalised_pixels,
    to_device,
)
from mmx.extract.encoders.vlmo import VLMoEncoder
from mmx.extract.finetune.tune import blocks_of, check_tune
from mmx.extract.pictures.augment import CLIP, VLMO, Augmentation

LORA_RANK = 8
LORA_LAYERS = ("out_proj", "c_fc", "c_proj", "qkv", "proj", "fc1", "fc2")  # linear maps of blocks


@dataclass
class Trainable:
    """An image-text encoder of any family that can be fine-tuned."""

    encoder: Encoder
    model: nn.Module  # holds all parameters, under the names of its checkpoint
    hardware: Hardware
    text: Callable[[Any], torch.Tensor]  # tokens on the device → (B, d) of length 1
    picture: Callable[[torch.Tensor], torch.Tensor]  # (B, 3, s, s) → (B, d) of length 1
    log_scale: nn.Parameter  # ln of what similarities are multiplied by
    blocks: list[list[nn.Module]]  # Transformer blocks of each tower, first to last
    projections: tuple[str, ...]  # parameters after the last block, by prefix
    checkpoint_blocks: Callable[[], None]  # keep only what goes into each block; run it again later
    augmentation: Augmentation  # of the encoder's own training

    def images(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, s, s, 3) uint8 → (B, d) of length 1."""
        rule = self.encoder.image_rule
        assert rule is not None
        return self.picture(normalised_pixels(pixels.numpy(), rule, self.hardware))

    def texts(self, words: list[str]) -> torch.Tensor:
        """B texts → (B, d) of length 1."""
        tokens = self.encoder.tokenize(words).tokens
        return self.text(to_device(tokens, self.hardware.device))


def open_trainable(encoder: Encoder) -> Trainable:
    """The same encoder for training. Raises OptionError for encoders that are not image-text."""
    if isinstance(encoder, VLMoEncoder) and {"image", "text"} <= set(encoder.card.dimensions):
        return _vlmo(encoder)
    if isinstance(encoder, TorchEncoder) and encoder.card.library == "open_clip":
        return _openclip(encoder)
    raise OptionError(f"{encoder.card.name} cannot be fine-tuned; clip… (open_clip) and vlmo… can")


def _openclip(encoder: TorchEncoder) -> Trainable:
    model: Any = encoder.model
    assert model is not None
    text_tower = model.text if hasattr(model, "text") else model
    towers = [model.visual.transformer.resblocks, text_tower.transformer.resblocks]
    return Trainable(
        encoder,
        model,
        encoder.hardware,
        lambda tokens: model.encode_text(tokens, normalize=True).float(),
        lambda pixels: model.encode_image(pixels, normalize=True).float(),
        model.logit_scale,
        [list(tower) for tower in towers],
        ("visual.proj", "visual.ln_post", "text_projection", "text.text_projection", "ln_final",
         "text.ln_final", "logit_scale"),
        model.set_grad_checkpointing,
        CLIP,
    )  # fmt: skip


def _vlmo(encoder: VLMoEncoder) -> Trainable:
    model = encoder.model
    return Trainable(
        encoder,
        model,
        encoder.hardware,
        lambda tokens: model.encode_text(tokens["ids"], tokens["mask"], encoder.head),
        lambda pixels: model.encode_image(pixels, encoder.head),
        model.get_parameter("logit_scale"),
        [list(model.transformer.blocks)],
        ("itc_", "transformer.norm", "pooler", "itm_score", "mlm_score", "logit_"),
        lambda: setattr(model.transformer, "checkpointing", True),
        VLMO,
    )


def choose_parameters(trainable: Trainable, tune: str) -> dict[str, nn.Parameter]:
    """Set what trains: "full", "lora", "projection" or "last:N"; the others are frozen.

    "projection" is what follows the last block, "last:N" that and the last N blocks of each
    tower; "lora" adds low-rank adapters (Hu et al., ICLR 2022, through peft) to the blocks'
    linear maps and leaves every weight of the checkpoint as it is. Raises OptionError.
    """
    check_tune(tune)
    model = trainable.model.requires_grad_(False)
    if tune == "lora":
        _add_lora(model)
    elif tune == "full":
        model.requires_grad_(True)
    else:
        _unfreeze_tail(trainable, tune)
    trainable.log_scale.requires_grad_(True)
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _unfreeze_tail(trainable: Trainable, tune: str) -> None:
    count, depths = blocks_of(tune), [len(tower) for tower in trainable.blocks]
    if count > max(depths):
        raise OptionError(
            f"--tune {tune}: {trainable.encoder.card.name} has {max(depths)} blocks; last:1 to "
            f"last:{max(depths)}, or full"
        )
    for name, parameter in trainable.model.named_parameters():
        parameter.requires_grad_(name.startswith(trainable.projections))
    for tower in trainable.blocks:
        for block in tower[max(0, len(tower) - count) :] if count else []:
            block.requires_grad_(True)


def _add_lora(model: nn.Module) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    names = [n for n, module in model.named_modules() if _is_adaptable(n, module)]
    config = LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules=names)
    inject_adapter_in_model(config, model)


def _is_adaptable(name: str, module: nn.Module) -> bool:
    """Whether it is a linear map of a block. torch's attention never calls the module: not it."""
    inside = "blocks." in name and name.rpartition(".")[2] in LORA_LAYERS
    return inside and type(module) is nn.Linear


def merged_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict under the checkpoint's own names, adapters added into the weights."""
    state = {}
    adapters = dict(_adapters(model))
    for name, value in model.state_dict().items():
        if "lora_" in name:
            continue
        clean = name.replace(".base_layer", "")
        owner = clean.rpartition(".")[0]
        if clean.endswith(".weight") and owner in adapters:
            value = value + adapters[owner].get_delta_weight("default")  # noqa: PLW2901
        state[clean] = value.detach().contiguous()
    return state


def _adapters(model: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        if hasattr(module, "get_delta_weight") and hasattr(module, "base_layer"):
            yield name, module


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """(B, d) → length 1."""
    return F.normalize(vectors, dim=-1)
