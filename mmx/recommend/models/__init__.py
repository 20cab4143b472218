"""The recommenders by name. One paper, one file; this table only says where they are."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mmx.errors import OptionError, suggestion


@dataclass(frozen=True)
class ModelRecord:
    """What ``mmx models`` shows of a recommender."""

    name: str
    title: str
    module: str  # holds the classes Config and Model
    features: str  # "none" or "required"
    citation: str

    def load(self) -> Any:
        """The module with its ``Config`` and ``Model`` (imports torch)."""
        return import_module(self.module)


MODELS = {
    record.name: record
    for record in (
        ModelRecord(
            "bpr",
            "Matrix factorisation with BPR",
            "mmx.recommend.models.bpr",
            "none",
            "Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009",
        ),
        ModelRecord(
            "vbpr",
            "Visual BPR, for any modalities",
            "mmx.recommend.models.vbpr",
            "required",
            "He and McAuley, VBPR: Visual Bayesian Personalized Ranking, AAAI 2016",
        ),
    )
}


def find_model(name: str) -> ModelRecord:
    """The record of a model. Raises OptionError with a suggestion when there is none."""
    if name not in MODELS:
        raise OptionError(f"unknown --model '{name}'{suggestion(name, MODELS)}")
    return MODELS[name]
