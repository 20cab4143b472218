"""How to fine-tune, and its progress."""

from __future__ import annotations

from dataclasses import dataclass

from mmx.bounds import SEED, check_options, number, whole
from mmx.errors import OptionError, one_of
from mmx.extract.finetune.tune import check_tune
from mmx.kinds import must_be_switches

OBJECTIVES = ("itc", "co-interaction", "itm", "mlm")


@dataclass(frozen=True)
class FinetuneOptions:
    """How to fine-tune."""

    objectives: tuple[str, ...] = ("itc",)  # added up; itm and mlm are VLMo's
    tune: str = "full"  # full, lora, projection, last:N
    epochs: int = 20  # at most
    batch_size: int = 128  # pairs contrasted with each other
    chunk: int = 32  # pairs encoded at once with gradients; bounds the memory
    accumulate: int = 1  # batches whose gradients are averaged for one step
    checkpointing: bool = False  # run Transformer blocks again instead of keeping activations
    augment: bool = True  # alter training pictures as the encoder's own training did
    precision: str = "float32"  # of the passes; bfloat16 through autocast
    lr: float = 1e-4  # peak, of AdamW
    weight_decay: float = 0.05
    warmup: float = 0.1  # share of all steps in which the learning rate rises
    patience: int = 5  # epochs without a lower validation loss before stopping
    valid_share: float = 0.1  # of the pairs, held out
    seed: int = 0

    def __post_init__(self) -> None:
        for objective in self.objectives:
            one_of("--objective", objective, OBJECTIVES)
        if len(set(self.objectives)) < len(self.objectives):
            raise OptionError("--objective: one is given twice; drop one")
        must_be_switches(self, "checkpointing", "augment")
        check_options(
            self,
            epochs=whole(1),
            batch_size=whole(2),  # a pair needs another as contrast
            chunk=whole(1),
            accumulate=whole(1),
            lr=number(0, above=True),
            weight_decay=number(0),
            warmup=number(0, 1),
            patience=whole(1),
            valid_share=number(0, 1, above=True, below=True),
            seed=SEED,
        )
        one_of("--precision", self.precision, ("float32", "bfloat16"))
        check_tune(self.tune)


@dataclass
class FinetuneProgress:
    """What the caller gets after each epoch."""

    epoch: int
    epochs: int
    row: dict[str, float]
    best_epoch: int
