"""VLMo: one Transformer as image encoder, text encoder and fusion encoder.

Bao et al., "VLMo: Unified Vision-Language Pre-Training with Mixture-of-Modality-Experts",
NeurIPS 2022, arXiv 2111.02358, section 3.3: the same weights encode an image or a text alone,
for contrast, and both in one sequence, for matching and masked language modelling. The blocks
are in mmx.extract.vlmo.transformer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from mmx.errors import EncoderError, OptionError
from mmx.extract.vlmo.batching import cropped, in_slices, slice_size
from mmx.extract.vlmo.bias import LogitBias, RelativeBias, padding_bias
from mmx.extract.vlmo.config import VLMoConfig
from mmx.extract.vlmo.heads import MODULES, PRETRAINING, add_heads, initialise, lacking
from mmx.extract.vlmo.positions import table_rows
from mmx.extract.vlmo.transformer import MultiwayTransformer, TextEmbed

TEXT, IMAGE, SECOND_IMAGE = 0, 1, 2  # rows of VLMo's own token type table; the last for NLVR2


class VLMo(nn.Module):
    """The model: token features, embeddings and the logits of the heads it has.

    ``heads`` are names of mmx.extract.vlmo.heads.MODULES; ``source`` is what error messages
    call the model. New weights are random; mmx.extract.vlmo.load reads a checkpoint. Asking
    for a head that is not there raises EncoderError, wrong shapes raise OptionError.
    """

    def __init__(
        self, config: VLMoConfig, heads: Iterable[str] = PRETRAINING, source: str = "this VLMo"
    ) -> None:
        super().__init__()
        self.config, self.heads, self.source = config, tuple(heads), source
        self.transformer = MultiwayTransformer(config)
        self.text_embeddings = TextEmbed(config)
        self.token_type_embeddings = nn.Embedding(config.token_types, config.width)
        shape = (table_rows(config.grid, config.table_text_len), config.depth * config.heads)
        self.relative_position_bias_table = (
            nn.Parameter(torch.zeros(shape)) if config.family == "relpos" else None
        )
        self.relative_bias = RelativeBias(config)
        add_heads(self, config, self.heads)
        initialise(self)

    @property
    def dtype(self) -> torch.dtype:
        """What the passes compute in."""
        return self.transformer.cls_token.dtype

    def require(self, head: str) -> VLMo:
        """The model itself, if it has ``head``. Raises EncoderError naming those it has."""
        reason = lacking(head, self.heads, self.config)
        if reason:
            raise EncoderError(f"{self.source} {reason}")
        return self

    def image_features(
        self, pixels: Tensor, branches: Sequence[str] = ("itc",), image_type: int = IMAGE
    ) -> list[Tensor]:
        """Image alone, (B, 3, s, s) → for each branch (B, w² + 1, D) after the final norm.

        Branch "itc" takes V-FFN all the way, "vl" takes VL-FFN from block s on; the blocks
        before it run once for both.
        """
        x = self._image_tokens(pixels, image_type)
        bias = self._bias(slice(0, x.shape[1]), None)
        return self._alone(x, "imag", bias, branches)

    def text_features(
        self, ids: Tensor, mask: Tensor, branches: Sequence[str] = ("itc",)
    ) -> list[Tensor]:
        """Text alone, ids and mask (B, T) → for each branch (B, T, D) after the final norm."""
        start = self.config.image_tokens
        bias = self._bias(slice(start, start + ids.shape[1]), mask)
        return self._alone(self._text_tokens(ids), "text", bias, branches)

    def fused_features(
        self, pixels: Tensor, ids: Tensor, mask: Tensor, image_type: int = IMAGE
    ) -> tuple[Tensor, Tensor]:
        """Both in one sequence → text (B, T, D) and image (B, w² + 1, D), after the final norm.

        Blocks before s take L-FFN for the text's tokens and V-FFN for the image's, the later
        ones VL-FFN for all. The paper puts the text first; here it is last, which attention
        does not see, so that cropping a text leaves every other number where it was.
        """
        self.require("vl_ffn")
        image, text = self._image_tokens(pixels, image_type), self._text_tokens(ids)
        N, T = image.shape[1], text.shape[1]
        bias = self._bias(slice(0, N + T), mask)
        start, depth, blocks = self.config.vlffn_start, self.config.depth, self.transformer
        x = torch.cat([image, text], dim=1)  # (B, N + T, D)
        x = blocks.run(x, (("imag", N), ("text", T)), bias, 0, start)
        x = blocks.norm(blocks.run(x, (("vl", N + T),), bias, start, depth))
        return x[:, N:], x[:, :N]

    def encode_image(self, pixels: Tensor, head: str = "itc") -> Tensor:
        """(B, 3, s, s), normalised pixels → (B, D) of length 1; ``head`` is "itc" or "vl"."""
        self._named(head)

        def run(pixels: Tensor) -> Tensor:
            return self.project("image", self.image_features(pixels, (head,))[0], head)

        return in_slices(run, self._slice(self.config.image_tokens), pixels)

    def encode_text(self, ids: Tensor, mask: Tensor, head: str = "itc") -> Tensor:
        """ids and mask (B, T) → (B, D) of length 1; ``head`` is "itc" or "vl"."""
        self._named(head)
        ids, mask = self.cropped(ids, mask)

        def run(ids: Tensor, mask: Tensor) -> Tensor:
            return self.project("text", self.text_features(ids, mask, (head,))[0], head)

        return in_slices(run, self._slice(ids.shape[1]), ids, mask)

    def encode_fused(
        self, pixels: Tensor, ids: Tensor, mask: Tensor, image_type: int = IMAGE
    ) -> Tensor:
        """B pairs → (B, D): tanh of the pooled text [CLS] of the fused pass, in (-1, 1).

        Raises EncoderError when the checkpoint's fused pass was never trained.
        """
        self.require("fusion")
        ids, mask = self.cropped(ids, mask)

        def run(pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
            return self.pooled(self.fused_features(pixels, ids, mask, image_type)[0])

        size = self._slice(self.config.image_tokens + ids.shape[1])
        return in_slices(run, size, pixels, ids, mask)

    def pooled(self, text: Tensor) -> Tensor:
        """Text features of the fused pass (B, T, D) → (B, D): tanh of a linear map of [CLS]."""
        return self._head("pooler", text)

    def itm_logits(self, fused: Tensor) -> Tensor:
        """Fused embeddings (B, D) → (B, 2); index 1 says that image and text match."""
        return self._head("itm", fused)

    def mlm_logits(self, text: Tensor) -> Tensor:
        """Text features of the fused pass (B, T, D) → (B, T, vocabulary)."""
        return self._head("mlm", text)

    def vqa_logits(self, fused: Tensor) -> Tensor:
        """Fused embeddings of picture and question (B, D) → (B, answers)."""
        return self._head("vqa", fused)

    def nlvr2_logits(self, first: Tensor, second: Tensor) -> Tensor:
        """Fused embeddings (B, D) of one text with two images → (B, 2); index 1 is "true".

        ``first`` is encoded with ``image_type=IMAGE``, ``second`` with ``SECOND_IMAGE``.
        """
        return self._head("nlvr2", torch.cat([first, second], dim=1))  # of (B, 2D)

    def _head(self, head: str, x: Tensor) -> Tensor:
        module = self.require(head).get_submodule(MODULES[head][0])
        return _wide(module(x.to(self.dtype)))

    def project(self, modality: str, features: Tensor, head: str = "itc") -> Tensor:
        """Features (B, N, D) of one modality → (B, D) float32: [CLS], projected, length 1."""
        prefix = {"itc": "itc", "vl": "itc_vl"}[self._named(head)]
        x = _wide(self.get_submodule(f"{prefix}_{modality}_proj")(features[:, 0]))
        return x / x.norm(dim=-1, keepdim=True)  # no epsilon, as in the official program

    def _named(self, head: str) -> str:
        if head not in ("itc", "vl"):
            raise OptionError(f"VLMo has no head '{head}' for embeddings; known: itc, vl")
        self.require(head)
        return head

    def _alone(
        self, x: Tensor, expert: str, bias: LogitBias, branches: Sequence[str]
    ) -> list[Tensor]:
        if set(branches) - {"itc"}:
            self.require("vl_ffn")
        N, start, depth = x.shape[1], self.config.vlffn_start, self.config.depth
        blocks = self.transformer
        trunk = blocks.run(x, ((expert, N),), bias, 0, start)  # (B, N, D)
        features = []
        for branch in branches:
            route = ((expert if branch == "itc" else "vl", N),)
            features.append(blocks.norm(blocks.run(trunk, route, bias, start, depth)))
        return features

    def cropped(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """ids and mask (B, T) without common padding.

        Those of a GPU are as they were: it would have to be waited for to see the padding.
        """
        if mask.device.type != "cpu":
            return ids, mask
        return cropped(ids, mask, self.config.max_text_len)

    def _slice(self, tokens: int) -> int:
        return slice_size(self.config, tokens, self.dtype.itemsize)

    def keep_biases(self) -> None:
        """Gather the relative position biases now, for passes without gradients."""
        if self.relative_position_bias_table is not None:
            self.relative_bias.keep(self.relative_position_bias_table)

    def _bias(self, tokens: slice, mask: Tensor | None) -> LogitBias:
        """For a pass over ``tokens`` of the image's and the text's, of which ``mask`` is.

        The keys of a text are always ``max_text_len``, so that sums over them do not depend on
        how far the batch is cropped.
        """
        images, longest = self.config.image_tokens, self.config.max_text_len
        table, keys, padding = self.relative_position_bias_table, tokens, None
        if mask is not None:
            keys = slice(tokens.start, images + longest)
            padding = padding_bias(mask, images - tokens.start, longest, self.dtype)
        return LogitBias(self.relative_bias.of(table, tokens, keys), padding)

    def _image_tokens(self, pixels: Tensor, image_type: int) -> Tensor:
        size, types = self.config.image_size, self.config.token_types
        if pixels.shape[1:] != (3, size, size):
            raise OptionError(
                f"VLMo: pixels of shape {tuple(pixels.shape)}, expected (B, 3, {size}, {size}); "
                "load the model with image_size=… for another size"
            )
        if image_type >= types:
            raise EncoderError(f"{self.source} has {types} token types, none for a second image")
        x = self.transformer.embed(pixels.to(self.dtype))
        return x + self.token_type_embeddings.weight[image_type]

    def _text_tokens(self, ids: Tensor) -> Tensor:
        if ids.shape[1] > self.config.max_text_len:
            raise OptionError(
                f"VLMo: {ids.shape[1]} tokens, the model takes {self.config.max_text_len}; "
                "cut the text, or load the model with a larger max_text_len"
            )
        return self.text_embeddings(ids) + self.token_type_embeddings.weight[TEXT]


def _wide(x: Tensor) -> Tensor:
    """Results leave the model in float32, or wider where the model is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
