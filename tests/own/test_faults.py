"""A file that raises, has a wrong signature or returns nonsense ends in one line that names it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mmx
from mmx.errors import EncoderError, MmxError, RunError
from mmx.extract.encoders import open_encoder
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions, TrainProgress
from tests.catalogue import plain_catalogue
from tests.own.packages import ENCODER, MODEL

RAISE = "raise KeyError('bad')"
BAD = "raised KeyError: 'bad'; --debug shows the traceback$"
HOOKS = """
    def {name}(self, *given):
        raise KeyError('bad')
"""


def also(name: str) -> str:
    """The model with one hook more, which raises."""
    return MODEL + HOOKS.format(name=name)


def model(old: str, new: str) -> str:
    """The model with a change."""
    assert old in MODEL
    return MODEL.replace(old, new)


MODELS = {
    "import": (f"import math\n{RAISE}\n", rf"^mine\.py:2: importing it {BAD}"),
    "exit": ("import sys\nsys.exit(3)\n", r"^mine\.py:2: importing it raised SystemExit: 3; --deb"),
    "syntax": ("import math\nx = (\n", r"^mine\.py:2: SyntaxError: '\(' was never closed$"),
    "nul": ("x = '\0'\n", r"^mine\.py:1: SyntaxError|raised (SyntaxError|ValueError): source code"),
    "constructor": (model("super().__init__()", RAISE), rf"^mine\.py:\d+: Model.__init__ {BAD}"),
    "arguments": (
        model("(self, config, world, generator)", "(self, config)"),
        r"^mine\.py:Model: calling it raised TypeError: Model.__init__\(\) takes 2 positional",
    ),
    "no super": (
        model("super().__init__()", "pass"),
        r"^mine\.py:\d+: Model.__init__ raised AttributeError: cannot assign parameters before",
    ),
    "loss": (model("return F.soft", f"{RAISE}\n        return F.soft"), rf"Model.loss {BAD}"),
    "loss arguments": (
        model("loss(self, users, positives, negatives)", "loss(self, users)"),
        r"^mine\.py:Model: calling it raised TypeError: Model.loss\(\) takes 2 positional",
    ),
    "loss nan": (
        model("return F.soft", "return float('nan') * F.soft"),
        r"^mine\.py:Model: Model.loss: the loss is nan in epoch 1",
    ),
    "loss shape": (
        model(".mean()", ""), r"^mine\.py:Model: Model.loss gave shape \(\d+,\)",
    ),
    "factors": (model("return self.user, self.item", RAISE), rf"Model.factors {BAD}"),
    "factors nan": (
        model("return self.user, self.item", "return self.user * float('nan'), self.item"),
        r"^mine\.py:Model: Model.factors: embeddings are not finite after epoch 1",
    ),
    "factors of one": (
        model("self.user, self.item\n", "self.user\n"),
        r"^mine\.py:Model: Model.factors gave a Parameter; \(users, k\) and \(items, k\)",
    ),
    "backward": (
        model("return F.soft", "users = self.user.detach().requires_grad_(); u = users.exp(); "
              "u += users.sum(); return (u.sqrt() * u.mul_(2)).sum()  # F.soft"),
        r"^mine\.py:(Model: calling it|\d+: Model.loss) raised RuntimeError: one of the variables",
    ),
    "epoch_start": (also("epoch_start"), rf"Model.epoch_start {BAD}"),
    "after_backward": (also("after_backward"), rf"Model.after_backward {BAD}"),
    "parameter_groups": (also("parameter_groups"), rf"Model.parameter_groups {BAD}"),
    "no config": (
        model("class Config(ModelConfig)", "class Settings(ModelConfig)"),
        r"^mine\.py:Model has no Config; a frozen dataclass",
    ),
    "config of another kind": (
        model("class Config(ModelConfig)", "class Config"),
        r"^mine\.py:Model: Config is not a ModelConfig",
    ),
    "config": (
        model("size: float = 1.0", f"size: float = 1.0\n    def __post_init__(self): {RAISE}"),
        rf"Config.__post_init__ {BAD}",
    ),
    "config without a default": (
        model("dim: int = 4\n    size: float = 1.0", "size: float"),
        r"^mine\.py:Model: calling it raised TypeError: Config.__init__\(\) missing 1 required",
    ),
}  # fmt: skip
SOLVED = """
from dataclasses import dataclass
import numpy as np
from mmx.recommend.protocol import ClosedModel
from mmx.recommend.scoring import Factors

@dataclass(frozen=True)
class Config:
    reg: float = 1.0

class Model(ClosedModel):
    def fit(self, config, world):
        users, items = (np.ones((n, 2), dtype=np.float32) for n in (world.n_users, world.n_items))
        return Factors(users, items)
"""
CLOSED = {
    "raises": ("return Factors(users, items)", RAISE, rf"^mine\.py:\d+: Model.fit {BAD}"),
    "arguments": ("(self, config, world)", "(self)", r"^mine\.py:Model: .* Model.fit\(\) takes 1"),
    "nothing": ("return Factors(users, items)", "return None", "Model: fit gave a NoneType; Fact"),
    "nan": ("Factors(users", "Factors(users * np.nan", "scorer that is broken: .* NaN or infinity"),
    "rows": ("Factors(users", "Factors(users[1:]", r"fit gave a scorer that is broken: .*users"),
    "constructor": ("    def fit", "    def __init__(self, x): pass\n    def fit",
                    r"^mine\.py:Model: Model raised TypeError: Model.__init__\(\) missing 1"),
}  # fmt: skip


def trained(text: str, sample: Path, folder: Path) -> MmxError:
    """The error that a model's file ends in; nothing is left of the run."""
    (folder / "mine.py").write_text(text)
    named = folder / "mine.py"
    training = TrainOptions(epochs=1, batch_size=64)
    job = TrainJob(sample, f"{named}:Model", code=named, training=training)
    with pytest.raises(RunError) as caught:
        fit(job, folder / "runs/run")
    assert "\n" not in str(caught.value)
    assert not (folder / "runs").exists() or not list((folder / "runs").iterdir())
    return caught.value


@pytest.mark.parametrize(("text", "said"), MODELS.values(), ids=MODELS)
def test_a_model(sample: Path, tmp_path: Path, text: str, said: str) -> None:
    found = str(trained(text, sample, tmp_path))
    assert found.startswith("mine.py:")
    assert re.search(said, found), found


@pytest.mark.parametrize(("old", "new", "said"), CLOSED.values(), ids=CLOSED)
def test_a_closed_form(sample: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    found = str(trained(SOLVED.replace(old, new), sample, tmp_path))
    assert found.startswith("mine.py:")
    assert re.search(said, found), found


def test_an_error_of_other_code_stays_what_it_is(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODEL)
    job = TrainJob(sample, f"{tmp_path}/mine.py:Model", code=tmp_path / "mine.py")

    def progress(state: TrainProgress) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        fit(job, tmp_path / "run", progress=progress)


PICTURES = (
    ENCODER.replace('dimensions={"text": 2}', 'dimensions={"image": 3}')
    .replace("image_rule = None", 'image_rule = ImageRule(8, 8, "squash", "bilinear", Z, Z)')
    .replace("import TextBatch", "import TextBatch\n"
             "from mmx.extract.pictures.images import ImageRule\nZ = (1.0, 1.0, 1.0)")
    + "\n    def encode_image(self, pixels):\n"
    "        return pixels.mean((1, 2)).astype(np.float32)\n"
)  # fmt: skip
RETURN = "return np.array(rows, dtype=np.float32)"
TEXTS = {
    "import": ("import numpy as np", RAISE, rf"^mine\.py:2: importing it {BAD}"),
    "constructor": ("self.card =", f"{RAISE}\n        self.card =", rf"Letters.__init__ {BAD}"),
    "arguments": ("__init__(self, request)", "__init__(self)", r"Letters: __init__ raised TypeErr"),
    "no card": ("self.card = EncoderCard(", "print(", r"raised (AttributeError|TypeError)"),
    "card": ("self.card =", "self.card = 3; x =", "Letters.card gave a int; a EncoderCard is"),
    "dimension": ('{"text": 2}', '{"text": 0}', "Letters: its card is wrong: text has dimension"),
    "tokenize": ("count = np", f"{RAISE}\n        count = np", rf"Letters.tokenize {BAD}"),
    "tokens": ("return TextBatch(", "return (", "Letters.tokenize gave a tuple; a TextBatch is"),
    "count": ("np.zeros(len(texts)", "np.zeros(0", r"tokenize gave truncated of shape \(0,\)"),
    "encode_text": (RETURN, RAISE, rf"^mine\.py:\d+: Letters.encode_text {BAD}"),
    "list": (RETURN, "return rows", "Letters.encode_text gave a list; a ndarray is expected"),
    "whole numbers": ("dtype=np.float32)", "dtype=np.int64)", "encode_text gave int64; float32"),
    "shape": (RETURN, "return np.zeros((9, 2), np.float32)", r"Letters \(text\) returned shape"),
    "nan": (RETURN, "return np.array(rows, np.float32) * np.nan", r"\(text\) returned NaN"),
    "signature": ("encode_text(self, batch)", "encode_text(self)", "encode_text raised TypeError"),
    "not an encoder": ("class Letters(Encoder)", "class Letters", "is not a class of encoders"),
}


@pytest.mark.parametrize(("old", "new", "said"), TEXTS.values(), ids=TEXTS)
def test_an_encoder(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in ENCODER
    (tmp_path / "mine.py").write_text(ENCODER.replace(old, new))
    data, named = plain_catalogue(tmp_path / "data", 3), tmp_path / "mine.py"
    with pytest.raises(EncoderError) as caught:
        mmx.encode(data, f"{named}:Letters", tmp_path / "out/s.parquet", code=named)
    assert re.search(said, str(caught.value)), caught.value
    assert str(caught.value).startswith("mine.py:")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out/s.parquet").exists()


def test_memory_that_runs_out_halves_the_batch(tmp_path: Path) -> None:
    """As with any encoder: the error is not taken for a fault of the file."""
    head = "    def encode_text(self, batch):\n"
    short = f"{head}        if len(batch.tokens) > 1:\n            raise MemoryError\n"
    (tmp_path / "mine.py").write_text(ENCODER.replace(head, short))
    data, named = plain_catalogue(tmp_path / "data", 3), tmp_path / "mine.py"
    report = mmx.encode(data, f"{named}:Letters", tmp_path / "s.parquet", code=named)
    assert report.encoded == 3


def test_a_picture_pass(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PICTURES.replace("return pixels.mean", "return 1 / 0 * pix"))
    data, named = plain_catalogue(tmp_path / "data", 3), tmp_path / "mine.py"
    with pytest.raises(EncoderError, match=r"Letters.encode_image raised ZeroDivisionError"):
        mmx.encode(data, f"{named}:Letters", tmp_path / "s.parquet", code=named)
    (tmp_path / "mine.py").write_text(re.sub("image_rule = .*", "image_rule = None", PICTURES))
    with pytest.raises(EncoderError, match="Letters encodes images and has no image_rule"):
        open_encoder(f"{named}:Letters", code=named)
