"""The Multiway Transformer: attention shared by all modalities, one expert for each.

Bao et al., "VLMo: Unified Vision-Language Pre-Training with Mixture-of-Modality-Experts",
NeurIPS 2022, arXiv 2111.02358, sections 3.1 and 3.2. Every block shares its self-attention and
picks a feed-forward expert for each token: V-FFN for image tokens, L-FFN for text tokens and,
from block s on, VL-FFN for both. Which tokens go where is a route, given by the pass.

Modules carry the names of the published files, which therefore load as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmx.devices import sent
from mmx.extract.vlmo.bias import LogitBias
from mmx.extract.vlmo.config import VLMoConfig

Route = tuple[tuple[str, int], ...]  # (expert, number of tokens), in the order of the sequence


class Attention(nn.Module):
    """Multi-head self-attention with biases for queries and values, none for keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x (B, N, D) and what is added to the logits, broadcast to (B, H, N, N) → (B, N, D)."""
        B, N, D = x.shape
        no_bias = torch.zeros_like(self.q_bias)
        qkv = F.linear(x, self.qkv.weight, torch.cat([self.q_bias, no_bias, self.v_bias]))
        head = D // self.heads
        qkv = qkv.view(B, N, 3, self.heads, head)
        if x.device.type != "cpu":  # whose fast kernels take only multiples of 8; base_plus has 34
            qkv = F.pad(qkv, (0, -head % 8))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, N, D/H)
        if bias is not None and bias.shape[-1] > N:  # keys of padding that was cropped
            k, v = (F.pad(x, (0, 0, 0, bias.shape[-1] - N)) for x in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=head**-0.5)
        return self.proj(y[..., :head].transpose(1, 2).reshape(B, N, D))


class Expert(nn.Module):
    """The feed-forward network of one modality."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class TransformerBlock(nn.Module):
    """Shared attention, then one expert for each stretch of the sequence (equations 2 and 3)."""

    def __init__(self, config: VLMoConfig, number: int) -> None:
        super().__init__()
        width, hidden = config.width, config.hidden or 4 * config.width
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, config.heads)
        for name in ["text", "imag"] + ["vl"] * (number >= config.vlffn_start):
            self.add_module(f"norm2_{name}", nn.LayerNorm(width, eps=1e-6))
            self.add_module(f"mlp_{name}", Expert(width, hidden))
        scale = torch.full((width,), 0.1)
        self.gamma_1 = nn.Parameter(scale) if config.layer_scale else None
        self.gamma_2 = nn.Parameter(scale.clone()) if config.layer_scale else None
        self.drop_path = config.drop_path * number / max(1, config.depth - 1)

    def forward(self, x: Tensor, route: Route, bias: Tensor | None) -> Tensor:
        """x (B, N, D) → (B, N, D)."""
        x = self._add(x, self.gamma_1, self.attn(self.norm1(x), bias))
        parts = x.split([length for _, length in route], dim=1)
        experts = [self._expert(name, p) for p, (name, _) in zip(parts, route, strict=True)]
        y = experts[0] if len(experts) == 1 else torch.cat(experts, dim=1)
        return self._add(x, self.gamma_2, y)

    def _expert(self, name: str, x: Tensor) -> Tensor:
        return getattr(self, f"mlp_{name}")(getattr(self, f"norm2_{name}")(x))

    def _add(self, x: Tensor, gamma: Tensor | None, y: Tensor) -> Tensor:
        if self.training and self.drop_path:  # stochastic depth, one draw for each sample
            kept = 1 - self.drop_path
            drawn = sent(torch.rand(len(y), 1, 1), y.device)  # the same on every device
            y = y * (drawn < kept).to(y.dtype) / kept
        return x + y if gamma is None else torch.addcmul(x, gamma, y)


class PatchEmbed(nn.Module):
    """Pixels (B, 3, s, s) → patches row by row (B, w², D)."""

    def __init__(self, config: VLMoConfig) -> None:
        super().__init__()
        patch = config.patch_size
        self.proj = nn.Conv2d(3, config.width, kernel_size=patch, stride=patch)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.proj(pixels).flatten(2).transpose(1, 2)


class TextEmbed(nn.Module):
    """BERT's embeddings: word + row 0 of BERT's own token types (+ position), LayerNorm."""

    def __init__(self, config: VLMoConfig) -> None:
        super().__init__()
        absolute = config.family == "abspos"
        self.word_embeddings = nn.Embedding(config.vocab_size, config.width)
        self.token_type_embeddings = nn.Embedding(2, config.width)
        if absolute:
            self.position_embeddings = nn.Embedding(config.max_text_len, config.width)
        self.absolute = absolute
        self.LayerNorm = nn.LayerNorm(config.width, eps=1e-12)
        self.dropout = nn.Dropout(config.drop_path)  # the official recipe ties the two rates

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) → (B, T, D)."""
        x = self.word_embeddings(ids) + self.token_type_embeddings.weight[0]
        if self.absolute:
            x = x + self.position_embeddings.weight[: ids.shape[1]]
        return self.dropout(self.LayerNorm(x))


class MultiwayTransformer(nn.Module):
    """What is named ``transformer.``: patches, [CLS], the blocks and the one final norm."""

    def __init__(self, config: VLMoConfig) -> None:
        super().__init__()
        shape = (1, config.image_tokens, config.width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(shape)) if config.family == "abspos" else None
        self.patch_embed = PatchEmbed(config)
        self.blocks = nn.ModuleList(
            TransformerBlock(config, number) for number in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.checkpointing = False  # in training, run blocks again instead of keeping activations

    def embed(self, pixels: Tensor) -> Tensor:
        """(B, 3, s, s) → (B, w² + 1, D), [CLS] first."""
        cls = self.cls_token.expand(len(pixels), -1, -1)
        x = torch.cat([cls, self.patch_embed(pixels)], dim=1)
        return x if self.pos_embed is None else x + self.pos_embed

    def run(self, x: Tensor, route: Route, bias: LogitBias, start: int, stop: int) -> Tensor:
        """Blocks ``start`` to ``stop`` - 1 over x (B, N, D)."""
        again = self.checkpointing and torch.is_grad_enabled()
        for number in range(start, stop):
            block, b = self.blocks[number], bias.of(number)
            x = checkpoint(block, x, route, b, use_reentrant=False) if again else block(x, route, b)
        return x
