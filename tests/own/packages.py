"""A small model and a small encoder, and packages that offer them as if they were installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions

MODEL = '''
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from mmx.recommend.protocol import GradientModel, ModelConfig


@dataclass(frozen=True)
class Config(ModelConfig):
    dim: int = 4
    size: float = 1.0


class Model(GradientModel):
    """Tiny."""

    def __init__(self, config, world, generator):
        super().__init__()
        rows = (world.n_users, world.n_items)
        drawn = [torch.randn(n, config.dim, generator=generator) * config.size for n in rows]
        self.user, self.item = map(nn.Parameter, drawn)

    def loss(self, users, positives, negatives):
        better = self.item[negatives] - self.item[positives]
        return F.softplus((self.user[users] * better).sum(1)).mean()

    def factors(self):
        return self.user, self.item
'''
ENCODER = '''
import numpy as np

from mmx import Encoder, EncoderCard
from mmx.extract.encoder import TextBatch


class Letters(Encoder):
    """Counts of letters."""

    image_rule = None

    def __init__(self, request):
        self.card = EncoderCard(
            name="letters", library="numpy", architecture="counts", weights="none",
            dimensions={"text": 2}, normalised=False, precision="float32", tokenizer="none",
        )

    def tokenize(self, texts):
        count = np.array([len(text) for text in texts], dtype=np.int32)
        return TextBatch(texts, count, np.zeros(len(texts), dtype=bool))

    def encode_text(self, batch):
        rows = [(len(text), text.count("e")) for text in batch.tokens]
        return np.array(rows, dtype=np.float32)
'''


def install(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    *,
    models: dict[str, str] | None = None,
    encoders: dict[str, str] | None = None,
) -> None:
    """A package with the modules mf and letters, and its entry points, on ``sys.path``."""
    inner = folder / package / package
    inner.mkdir(parents=True)
    (inner / "__init__.py").write_text("")
    (inner / "mf.py").write_text(MODEL)
    (inner / "letters.py").write_text(ENCODER)
    facts = folder / package / f"{package}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [
        f"[mmx.{group}]\n" + "".join(f"{name} = {value}\n" for name, value in offers.items())
        for group, offers in (("models", models or {}), ("encoders", encoders or {}))
    ]
    (facts / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(folder / package)


def written(folder: Path, text: str = MODEL, name: str = "mine.py") -> Path:
    """A file of the user's own."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def job(data: Path, model: str | type, code: object = ()) -> TrainJob:
    """Four epochs."""
    training = TrainOptions(epochs=4, batch_size=64)
    return TrainJob(data, model, training=training, code=code)  # type: ignore[arg-type]


class KilledError(Exception):
    """Instead of a kill."""
