"""How a model is trained, and what is reported meanwhile."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mmx.bounds import SEED, check_options, number, whole
from mmx.devices import AUTO, usable_device
from mmx.errors import one_of

if TYPE_CHECKING:
    from mmx.recommend.records import ModelRecord

NEGATIVES = ("uniform", "popularity")
EVALUATIONS, STEPS = 20, 1000  # without a better one, where --patience names no number
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class TrainOptions:
    """How to train, whatever the model."""

    epochs: int = 1000  # at most; early stopping ends most runs
    batch_size: int = 2048  # triples
    lr: float | None = None  # of Adam; None: the model's own
    lr_decay: float = 1.0  # factor on the learning rate after every epoch
    clip: float = 0.0  # largest gradient norm; 0 does not clip
    # Evaluations without a better validation Recall@20 before stopping. None: 20, and STEPS steps,
    # as an epoch of a small catalogue has few steps and the first plateau of a model may be long.
    patience: int | None = None
    mirror_gradient: float = 0.0  # α: share of the loss that a mirrored step raises again; 0: none
    mirror_every: int = 3  # β: of an epoch's batches, the first and each β-th after it is mirrored
    eval_every: int = 1  # epochs between evaluations
    negatives: str = "uniform"  # how negative items are drawn: uniform or popularity
    precision: str = "float32"  # of the forward pass; bfloat16 through autocast
    seed: int = 0  # of initialisation, shuffling and negative sampling
    device: str = AUTO
    keep_lists: int = 0  # items in the list of each test user that the run keeps; 0: no lists

    def __post_init__(self) -> None:
        check_options(
            self,
            epochs=whole(1),
            batch_size=whole(1),
            lr=number(0, above=True),
            lr_decay=number(0, 1, above=True),
            clip=number(0),
            mirror_gradient=number(0, 1, below=True),
            mirror_every=whole(1),
            patience=whole(1),
            eval_every=whole(1),
            seed=SEED,
            keep_lists=whole(0),
        )
        one_of("--negatives", self.negatives, NEGATIVES)
        one_of("--precision", self.precision, PRECISIONS)
        usable_device(self.device)

    def of(self, record: ModelRecord) -> TrainOptions:
        """The same with the model's own learning rate where none was named."""
        return self if self.lr is not None else replace(self, lr=record.lr)

    def described_for(self, record: ModelRecord) -> dict[str, Any] | None:
        """Those that a model goes by: of a closed form the seed, or none."""
        if record.closed_form:
            named = {"seed": self.seed} if record.seeded else {}
            return (named | self._lists()) or None
        return self.of(record).described()

    def described(self) -> dict[str, Any]:
        """The options as a run's config and the names of a plan's runs have them.

        Those of Mirror Gradient and of lists only where they are on: older files have none.
        """
        found = asdict(self)
        del found["keep_lists"]
        if not self.mirror_gradient:
            del found["mirror_gradient"], found["mirror_every"]
        return found | self._lists()

    def _lists(self) -> dict[str, Any]:
        return {"keep_lists": self.keep_lists} if self.keep_lists else {}


@dataclass
class TrainProgress:
    """What ``progress`` gets after each epoch."""

    epoch: int
    epochs: int
    loss: float
    seconds: float  # training alone
    evaluation_seconds: float
    valid: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    best: float = float("-inf")  # validation Recall@20
