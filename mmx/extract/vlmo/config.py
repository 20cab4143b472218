"""The sizes of a VLMo, and the three published ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmx.errors import OptionError

Family = Literal["relpos", "abspos"]


@dataclass(frozen=True)
class VLMoConfig:
    """The sizes of a VLMo. Raises OptionError when they contradict each other.

    ``family`` is "relpos" (relative position biases; base, large) or "abspos" (position
    embeddings for patches and words; base_plus).
    """

    width: int  # D, of every token and embedding
    depth: int  # L, blocks
    heads: int  # H, of D / H each
    vlffn_start: int  # s, first block with a VL-FFN; equal to depth when there is none
    image_size: int  # px, side of the square
    patch_size: int = 16  # px
    max_text_len: int = 40  # tokens, [CLS] and [SEP] included
    family: Family = "relpos"
    layer_scale: bool = True  # factors gamma_1 and gamma_2, 0.1 at the start
    hidden: int = 0  # width of the experts; 0 means 4 D
    vocab_size: int = 30522  # word pieces
    token_types: int = 2  # text, image; 3 for NLVR2's second image
    table_text_len: int = 196  # tokens, text length that the relative bias table has room for
    answers: int = 3129  # labels of the VQA head
    drop_path: float = 0.0  # in training: rate of the last block, growing linearly from 0

    def __post_init__(self) -> None:
        if self.heads < 1 or self.width % self.heads:
            raise OptionError(f"VLMo: width {self.width} is not a multiple of heads {self.heads}")
        if self.image_size < self.patch_size or self.image_size % self.patch_size:
            raise OptionError(
                f"VLMo: image size {self.image_size} px is not a multiple of the patch size "
                f"{self.patch_size} px"
            )
        if not 0 <= self.vlffn_start <= self.depth:
            raise OptionError(f"VLMo: vlffn_start {self.vlffn_start} is not in 0..{self.depth}")
        if self.family == "relpos" and self.max_text_len > self.table_text_len:
            raise OptionError(
                f"VLMo: max_text_len {self.max_text_len} exceeds the bias table's "
                f"{self.table_text_len}"
            )

    @property
    def grid(self) -> int:
        """Patches along one side, w."""
        return self.image_size // self.patch_size

    @property
    def image_tokens(self) -> int:
        """w² patches and [CLS]."""
        return self.grid**2 + 1


ARCHITECTURES = {
    "base": VLMoConfig(768, 12, 12, 10, 224),
    "base_plus": VLMoConfig(544, 24, 16, 21, 224, family="abspos", layer_scale=False),
    "large": VLMoConfig(1024, 24, 16, 21, 224),
}
