"""What is searched of each model where a plan says ``search: default``.

A space is wide enough for small and large catalogues: a chosen value at the end of a range means
that the range should be wider. Every learning rate is searched over one range, so that no model is
tuned more than another. ``few`` are the points that ``benchmarks/defaults.py`` measures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmx.errors import OptionError
from mmx.recommend.records import ModelRecord

DIGITS = 3  # of a drawn number
NEAR = 0.05  # share of a range, at either end


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole ones where both are."""

    low: float
    high: float
    log: bool = False  # drawn evenly over the logarithm
    few: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise OptionError(f"{name}: a number is expected, not {value!r}"[:200])
            if not math.isfinite(value):
                raise OptionError(f"{name}: a finite number is expected, not {value}")
        if not self.low < self.high:
            raise OptionError(f"low {self.low} is not below high {self.high}")
        if not isinstance(self.log, bool):
            raise OptionError(f"log: true or false is expected, not {self.log!r}"[:200])
        if self.log and self.low <= 0:
            raise OptionError(f"log needs a low above 0, not {self.low}")

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def at(self, share: float) -> float:
        """The value at a share of the range, from 0 to 1, with DIGITS digits."""
        if self.whole and not self.log:  # every whole number is as likely
            return min(int(self.low + share * (self.high - self.low + 1)), int(self.high))
        low, high = (math.log(x) if self.log else x for x in (self.low, self.high))
        value = low + share * (high - low)
        value = math.exp(value) if self.log else value
        rounded = round(value) if self.whole else float(f"{value:.{DIGITS}g}")
        return min(max(rounded, self.low), self.high)

    def draw(self, rng: np.random.Generator) -> float:
        """A value at random."""
        return self.at(float(rng.random()))

    def at_edge(self, value: float) -> bool:
        """Whether a wider range might have a better value."""
        if self.whole:
            return value in (self.low, self.high)
        low, high, here = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return not NEAR < (here - low) / (high - low) < 1 - NEAR


Values = tuple[Any, ...] | Range
Space = dict[str, Values]  # setting or training option → what it may be

RATE = Range(3e-4, 1e-2, log=True, few=(0.001, 0.003))
LR: Space = {"lr": RATE}
LR_ALONE: Space = {"lr": replace(RATE, few=())}  # of models whose few points are of others
REG: Space = {"reg": Range(1e-6, 1e-2, log=True)}  # of a graph's embeddings, the mean of a batch
LAYERS: Space = {"layers": Range(1, 4)}
TEMPERATURE: Space = {"temperature": Range(0.05, 1.0, log=True)}
SSL: Space = {"ssl_weight": Range(1e-4, 1.0, log=True)}
NEIGHBOURS: Space = {"neighbours": Range(5, 30)}
RIDGE = Range(10.0, 5000.0, log=True)
DROPPED = Range(0.0, 0.6)

SPACES: dict[str, Space] = {
    "popularity": {},
    "itemknn": {
        "neighbours": Range(20, 500, log=True),
        "shrinkage": Range(1.0, 1000.0, log=True),
        "from_power": Range(0.0, 1.0),
        "to_power": Range(0.0, 1.0),
    },
    "itemknn-cbf": {"neighbours": Range(5, 200, log=True)},
    "ease": {"reg": RIDGE},
    "ease-content": {
        "reg": RIDGE,
        "content": Range(1.0, 1000.0, log=True),
        "share": Range(0.0, 1.0),
        "content_reg": Range(1.0, 1000.0, log=True),
    },
    "l3ae": {"reg": RIDGE, "content_reg": Range(1.0, 1000.0, log=True), "guide": RIDGE},
    "slim": {"l1": Range(0.1, 20.0, log=True), "l2": Range(1.0, 1000.0, log=True)},
    "rp3beta": {
        "alpha": Range(0.3, 2.0),
        "beta": Range(0.0, 1.0),
        "neighbours": Range(20, 500, log=True),
    },
    "graph-filter": {"rank": Range(32, 512, log=True), "ideal": Range(0.0, 1.0)},
    "ials": {
        "dim": (32, 64, 128),
        "confidence": Range(1.0, 200.0, log=True),
        "reg": Range(1.0, 1000.0, log=True),
    },
    "bpr": {**LR_ALONE, "reg": Range(1e-3, 1.0, log=True, few=(0.01, 0.03, 0.1))},
    "vbpr": {
        **LR_ALONE,
        "reg": Range(1e-3, 1.0, log=True, few=(0.01, 0.03, 0.1)),
        "content_reg": Range(1e-3, 1.0, log=True, few=(0.003, 0.03, 0.3)),
    },
    "lightgcn": LR | LAYERS | REG,
    "layergcn": LR | {"layers": Range(1, 5), "pruned": DROPPED} | REG,
    "lattice": LR | NEIGHBOURS | REG | {"frozen": Range(0.5, 1.0)},
    "freedom": LR | LAYERS | NEIGHBOURS
    | {"pruned": Range(0.3, 0.95), "content_weight": Range(1e-5, 1e-1, log=True)},
    "bm3": LR | LAYERS | {
        "dropout": DROPPED,
        "content_weight": Range(0.1, 10.0, log=True),
        "reg": Range(1e-2, 100.0, log=True, few=(0.1, 1.0)),
    },
    "mmgcn": LR | LAYERS | REG,
    "grcn": LR | LAYERS | REG | {"routings": Range(1, 5)},
    "dualgnn": LR | LAYERS | REG | {"user_neighbours": Range(10, 80, log=True)},
    "mmgcf": LR | LAYERS | REG | {"pruned": DROPPED},
    "mmgcl": LR | SSL | TEMPERATURE | {"edge_dropout": DROPPED},
    "slmrec": LR | SSL | {
        "ssl_temperature": TEMPERATURE["temperature"],
        "reg": Range(1e-5, 1e-1, log=True, few=(1e-3, 3e-3)),
    },
    "ugnn": LR | TEMPERATURE | {
        "ssl_weight": Range(1e-3, 10.0, log=True),
        "edge_dropout": DROPPED,
        "reg": Range(1e-6, 1e-2, log=True, few=(1e-4, 3e-4)),
    },
    "mgcn": LR | SSL | TEMPERATURE | REG,
    "smore": LR | SSL | TEMPERATURE | REG,
    "gume": LR | REG | {
        "behaviour_weight": Range(1e-4, 1.0, log=True),
        "user_weight": Range(1e-4, 1.0, log=True),
        "align_weight": Range(1e-4, 1.0, log=True),
    },
    "lgmrec": LR | TEMPERATURE | {
        "ssl_weight": Range(1e-6, 1e-2, log=True),
        "global_weight": Range(0.0, 1.0),
        "hyperedges": Range(4, 64, log=True),
    },
    "dragon": LR | LAYERS | REG | {"user_neighbours": Range(10, 80, log=True)},
    "mentor": LR | TEMPERATURE | REG | {
        "align_weight": Range(1e-3, 10.0, log=True),
        "noise_weight": Range(1e-6, 1e-2, log=True),
    },
    "cohesion": LR | LAYERS | REG | {
        "pruned": DROPPED,
        "user_neighbours": Range(10, 80, log=True),
    },
    "pgl": LR | SSL | TEMPERATURE | {"pruned": Range(0.3, 0.95), "dropout": DROPPED},
    "alpharec": LR | LAYERS | TEMPERATURE | {"hidden": (256, 512, 1024)},
}  # fmt: skip


def default_space(record: ModelRecord) -> Space:
    """Of a model. One that is not mmx's has its learning rate alone, or nothing to search."""
    return SPACES.get(record.name, {} if record.closed_form else LR_ALONE)


def few_points(model: str) -> dict[str, list[float]]:
    """The points that ``benchmarks/defaults.py`` measures; none where no range has any."""
    space = SPACES.get(model, {})
    return {k: list(v.few) for k, v in space.items() if isinstance(v, Range) and v.few}
