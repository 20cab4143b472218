"""What the user chooses of end-to-end training."""

from __future__ import annotations

from dataclasses import dataclass

from mmx.bounds import check_options, number, whole
from mmx.errors import one_of
from mmx.extract.finetune.tune import check_tune


@dataclass(frozen=True)
class EndToEndOptions:
    """How the encoder is trained."""

    refresh: str = "batch"  # "batch": gradients into the encoder; "epoch": features rebuilt only
    encoder_lr: float = 1e-5  # learning rate of the encoder's parameters
    tune: str = "full"  # full, lora, projection, last:N
    chunk: int = 32  # items encoded at once with gradients; bounds the memory

    def __post_init__(self) -> None:
        one_of("--refresh", self.refresh, ("batch", "epoch"))
        check_tune(self.tune)
        check_options(self, encoder_lr=number(0, above=True), chunk=whole(1))
