"""A VLMo small enough to work out slowly, and that slow way: loops, float64, no torch layers.

Written from the paper and the facts about the published files, not from mmx's model: every
query, head and token has its own turn, and the relative position of two tokens is looked up
by the definition in words.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from mmx.extract.vlmo import VLMo, VLMoConfig

RELPOS = VLMoConfig(8, 3, 2, 2, 48, max_text_len=6, vocab_size=30, table_text_len=9, answers=5)
ABSPOS = VLMoConfig(
    12, 3, 3, 1, 32, max_text_len=6, vocab_size=30, family="abspos", layer_scale=False
)
HEADS = ("pooler", "itc", "vl", "itm", "mlm")


def tiny(config: VLMoConfig, heads: tuple[str, ...] = HEADS) -> VLMo:
    """A model whose every parameter, biases and scales included, is a wave of its own."""
    model = VLMo(config, heads).eval()
    with torch.no_grad():
        for number, value in enumerate(model.parameters()):
            place = torch.arange(value.numel(), dtype=torch.float64).view(value.shape)
            value.copy_(0.4 * torch.sin(1.0 + (number + 1.3) * (place + 1.0)))
    return model


def inputs(config: VLMoConfig, batch: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixels, ids and mask; texts of 6, 4 and 2 tokens."""
    generator = torch.Generator().manual_seed(5)
    size, length = config.image_size, config.max_text_len
    pixels = torch.rand(batch, 3, size, size, generator=generator, dtype=torch.float64) * 2 - 1
    ids = torch.randint(1, config.vocab_size, (batch, length), generator=generator)
    mask = (torch.arange(length) < torch.tensor([6, 4, 2])[:batch, None]).long()
    return pixels.float(), ids * mask, mask


class Slow:
    """The passes for one sample at a time."""

    def __init__(self, model: VLMo) -> None:
        self.c = model.config
        self.p = {k: v.detach().double().numpy() for k, v in model.state_dict().items()}

    def image(self, pixels: np.ndarray, branch: str = "itc") -> np.ndarray:
        x = self.image_tokens(pixels)
        places = [("image", n) for n in range(len(x))]
        expert = ["imag" if branch == "itc" or n < self.c.vlffn_start else "vl" for n in self.depth]
        return self.run(x, places, [[e] * len(x) for e in expert], [True] * len(x))

    def text(self, ids: np.ndarray, mask: np.ndarray, branch: str = "itc") -> np.ndarray:
        x = self.text_tokens(ids)
        places = [("text", n) for n in range(len(x))]
        expert = ["text" if branch == "itc" or n < self.c.vlffn_start else "vl" for n in self.depth]
        return self.run(x, places, [[e] * len(x) for e in expert], mask.astype(bool))

    def fused(self, pixels: np.ndarray, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        text, image = self.text_tokens(ids), self.image_tokens(pixels)
        places = [("text", n) for n in range(len(text))] + [("image", n) for n in range(len(image))]
        own = ["text"] * len(text) + ["imag"] * len(image)
        experts = [own if n < self.c.vlffn_start else ["vl"] * len(places) for n in self.depth]
        used = [*mask.astype(bool), *[True] * len(image)]
        return self.run(np.concatenate([text, image]), places, experts, used)

    def unit(self, features: np.ndarray, name: str) -> np.ndarray:
        y = self.p[f"{name}.fc.weight"] @ features[0]
        return y / math.sqrt(sum(v * v for v in y))

    def pooled(self, features: np.ndarray) -> np.ndarray:
        return np.tanh(self.linear(features[0], "pooler.dense"))

    @property
    def depth(self) -> range:
        return range(self.c.depth)

    def image_tokens(self, pixels: np.ndarray) -> np.ndarray:
        patch, w = self.c.patch_size, self.c.image_size // self.c.patch_size
        kernel, bias = (self.p[f"transformer.patch_embed.proj.{n}"] for n in ("weight", "bias"))
        tokens = [self.p["transformer.cls_token"][0, 0]]
        for row in range(w):
            for column in range(w):
                cut = pixels[
                    :, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch
                ]
                tokens.append(np.array([(k * cut).sum() for k in kernel]) + bias)
        x = np.array(tokens)
        if "transformer.pos_embed" in self.p:
            x = x + self.p["transformer.pos_embed"][0]
        return x + self.p["token_type_embeddings.weight"][1]

    def text_tokens(self, ids: np.ndarray) -> np.ndarray:
        rows = []
        for place, word in enumerate(ids):
            x = self.p["text_embeddings.word_embeddings.weight"][word]
            x = x + self.p["text_embeddings.token_type_embeddings.weight"][0]
            if self.c.family == "abspos":
                x = x + self.p["text_embeddings.position_embeddings.weight"][place]
            x = self.norm(x, "text_embeddings.LayerNorm", 1e-12)
            rows.append(x + self.p["token_type_embeddings.weight"][0])
        return np.array(rows)

    def run(self, x, places, experts, used):
        for number in self.depth:
            block = f"transformer.blocks.{number}"
            gammas = [self.p.get(f"{block}.gamma_{n}", 1.0) for n in (1, 2)]
            x = x + gammas[0] * self.attention(x, number, places, used)
            fed = [
                self.expert(token, f"{block}.mlp_{e}", f"{block}.norm2_{e}")
                for token, e in zip(x, experts[number], strict=True)
            ]
            x = x + gammas[1] * np.array(fed)
        return np.array([self.norm(token, "transformer.norm", 1e-6) for token in x])

    def attention(self, x, number, places, used):
        block, D, H = f"transformer.blocks.{number}.attn", self.c.width, self.c.heads
        normed = [self.norm(t, f"transformer.blocks.{number}.norm1", 1e-6) for t in x]
        wq, wk, wv = np.split(self.p[f"{block}.qkv.weight"], 3)
        q = [wq @ t + self.p[f"{block}.q_bias"] for t in normed]
        k = [wk @ t for t in normed]
        v = [wv @ t + self.p[f"{block}.v_bias"] for t in normed]
        out = []
        for i in range(len(x)):
            heads = []
            for h in range(H):
                part = slice(h * D // H, (h + 1) * D // H)
                logits = [
                    q[i][part] @ k[j][part] / math.sqrt(D // H)
                    + self.bias(places[i], places[j], number * H + h)
                    for j in range(len(x))
                ]
                weight = [math.exp(z) if ok else 0.0 for z, ok in zip(logits, used, strict=True)]
                heads.append(sum(w * v[j][part] for j, w in enumerate(weight)) / math.fsum(weight))
            out.append(self.linear(np.concatenate(heads), f"{block}.proj"))
        return np.array(out)

    def bias(self, query, key, column):
        if self.c.family == "abspos":
            return 0.0
        return self.p["relative_position_bias_table"][self.row(query, key), column]

    def row(self, query: tuple[str, int], key: tuple[str, int]) -> int:
        """Row of the bias table; a place is ("image" or "text", number), number 0 is [CLS]."""
        w, longest = self.c.image_size // self.c.patch_size, self.c.table_text_len
        image_cls = (2 * w - 1) ** 2
        between = image_cls + 3
        text_first = between + 2
        text_cls = text_first + 2 * longest - 3
        if query[0] != key[0]:
            return between if query[0] == "text" else between + 1
        base = image_cls if query[0] == "image" else text_cls
        if query[1] == 0 or key[1] == 0:
            return base + (2 if query[1] == key[1] else 0 if query[1] == 0 else 1)
        if query[0] == "text":  # from the farthest key before to the farthest after
            return text_first + (key[1] - query[1]) + longest - 2
        down = (query[1] - 1) // w - (key[1] - 1) // w
        right = (query[1] - 1) % w - (key[1] - 1) % w
        return (down + w - 1) * (2 * w - 1) + right + w - 1

    def expert(self, x, mlp, norm):
        hidden = self.linear(self.norm(x, norm, 1e-6), f"{mlp}.fc1")
        gelu = np.array([0.5 * z * (1 + math.erf(z / math.sqrt(2))) for z in hidden])
        return self.linear(gelu, f"{mlp}.fc2")

    def linear(self, x, name):
        return self.p[f"{name}.weight"] @ x + self.p[f"{name}.bias"]

    def norm(self, x, name, eps):
        centred = x - x.mean()
        scaled = centred / math.sqrt((centred**2).mean() + eps)
        return scaled * self.p[f"{name}.weight"] + self.p[f"{name}.bias"]
