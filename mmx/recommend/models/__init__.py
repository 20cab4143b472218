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
        ModelRecord(
            "lightgcn",
            "LightGCN: embeddings propagated over the user-item graph",
            "mmx.recommend.models.lightgcn",
            "none",
            "He et al., LightGCN: Simplifying and Powering Graph Convolution Network for "
            "Recommendation, SIGIR 2020",
        ),
        ModelRecord(
            "mmgcl",
            "Graph channels contrasted over two augmented views",
            "mmx.recommend.models.mmgcl",
            "required",
            "Yi et al., Multi-modal Graph Contrastive Learning for Micro-video Recommendation, "
            "SIGIR 2022",
        ),
        ModelRecord(
            "slmrec",
            "Graph channels with fine and coarse contrast",
            "mmx.recommend.models.slmrec",
            "required",
            "Tao et al., Self-supervised Learning for Multimedia Recommendation, TMM 2022",
        ),
    )
}


def find_model(name: str) -> ModelRecord:
    """The record of a model. Raises OptionError with a suggestion when there is none."""
    if name not in MODELS:
        raise OptionError(f"unknown --model '{name}'{suggestion(name, MODELS)}")
    return MODELS[name]
