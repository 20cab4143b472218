"""What is on top of VLMo: pooler, contrastive projections, matching, masking, answers."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmx.extract.vlmo.config import VLMoConfig

MODULES = {  # head → its modules in the published files
    "pooler": ("pooler",),
    "itc": ("itc_image_proj", "itc_text_proj"),
    "vl": ("itc_vl_image_proj", "itc_vl_text_proj"),
    "itm": ("itm_score",),
    "mlm": ("mlm_score",),
    "vqa": ("vqa_classifier",),
    "nlvr2": ("nlvr2_classifier",),
}
SCALES = {"itc": "logit_scale", "vl": "logit_vl_scale"}  # ln of the inverse temperature
PRETRAINING = ("pooler", "itc", "vl", "itm", "mlm")
FUSION = ("itm", "mlm", "vqa", "nlvr2")  # any of these, on VL experts, shows a trained fused pass
NAMES = {
    "itc": "ITC projections",
    "vl": "ITC projections of the VL experts",
    "itm": "ITM head",
    "mlm": "MLM head",
    "vqa": "VQA classifier",
    "nlvr2": "NLVR2 classifier",
    "pooler": "pooler",
    "vl_ffn": "VL experts",
    "fusion": "trained fusion",
}


class Pooler(nn.Module):
    """tanh of a linear map of token 0, (B, N, D) → (B, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        return torch.tanh(self.dense(features[:, 0]))


class Projection(nn.Module):
    """One linear map under the name ``fc``."""

    def __init__(self, width: int, out: int, bias: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(width, out, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


class MLMTransform(nn.Module):
    """BERT's: linear, GELU, LayerNorm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(F.gelu(self.dense(x)))


class MLMHead(nn.Module):
    """(B, T, D) → logits (B, T, vocabulary); the decoder is not tied to the embeddings."""

    def __init__(self, width: int, vocab_size: int) -> None:
        super().__init__()
        self.transform = MLMTransform(width)
        self.decoder = nn.Linear(width, vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.transform(x)) + self.bias


def _classifier(inputs: int, hidden: int, labels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, labels)
    )


def add_heads(model: nn.Module, config: VLMoConfig, heads: Iterable[str]) -> None:
    """Give ``model`` the named heads as modules with their published names."""
    D = config.width
    for head in heads:
        for name in MODULES[head]:
            model.add_module(name, _build(head, D, config))
        if head in SCALES:
            setattr(model, SCALES[head], nn.Parameter(torch.tensor(math.log(1 / 0.07))))


def _build(head: str, D: int, config: VLMoConfig) -> nn.Module:
    if head == "pooler":
        return Pooler(D)
    if head == "mlm":
        return MLMHead(D, config.vocab_size)
    if head == "vqa":
        return _classifier(D, 2 * D, config.answers)
    if head == "nlvr2":
        return _classifier(2 * D, 2 * D, 2)
    return Projection(D, 2, bias=True) if head == "itm" else Projection(D, D, bias=False)


def lacking(head: str, heads: tuple[str, ...], config: VLMoConfig) -> str:
    """Why a model with these heads cannot serve ``head``, or nothing when it can.

    Besides the heads, "vl_ffn" needs VL experts and "fusion" a fused pass that some
    head has been trained on.
    """
    experts = config.vlffn_start < config.depth
    trained = experts and "pooler" in heads and any(name in heads for name in FUSION)
    if head in heads or (head == "vl_ffn" and experts) or (head == "fusion" and trained):
        return ""
    use = "a pre-training or retrieval file" if head == "itc" else "a pre-training file"
    use = f"{use} such as vlmo:base_plus" if head not in ("vqa", "nlvr2") else f"a {head} file"
    return f"has no {NAMES[head]}; its heads: {', '.join(heads) or 'none'}; use {use}"


def initialise(model: nn.Module) -> None:
    """Random weights as the authors draw them, from PyTorch's generator.

    Normal numbers of standard deviation 0.02, PyTorch's own choice for the patch projection;
    bias table and biases zero, LayerNorms, gammas and temperatures as constructed.
    """
    for name, value in model.named_parameters():
        if "patch_embed" in name or name == "relative_position_bias_table":
            continue
        if value.dim() == 1 and name.endswith("bias"):
            nn.init.zeros_(value)
        elif value.dim() > 1 and name.startswith("transformer."):
            nn.init.trunc_normal_(value, std=0.02)
        elif value.dim() > 1:
            nn.init.normal_(value, std=0.02)
