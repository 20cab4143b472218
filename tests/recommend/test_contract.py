"""A model that breaks its contract ends in one line that names its class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mmx.errors import RunError
from mmx.recommend.end_to_end import EndToEndJob
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.models import MODELS, ModelRecord
from mmx.recommend.options import TrainOptions
from mmx.recommend.protocol import GradientModel
from mmx.sample.catalogue import write_sample
from tests.recommend.minimal import Config, Model


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sample")
    write_sample(directory, items=24, users=20, seed=3)
    return directory


class Record(ModelRecord):
    """A model of this file, which no module holds."""

    def load(self) -> Any:
        return SimpleNamespace(Model=self.module, Config=self.citation)


@dataclass(frozen=True)
class Plain:
    """A Config of no class of mmx's."""

    dim: int = 4


def trained(
    data: Path, out: Path, monkeypatch: pytest.MonkeyPatch, kind: type, config: type = Config,
    *, along: bool = False,
) -> Any:  # fmt: skip
    record = Record("odd", "odd", kind, "none", config, end_to_end=along)  # type: ignore[arg-type]
    monkeypatch.setitem(MODELS, "odd", record)
    joint = EndToEndJob("clip:mini", pixels=data / "pixels") if along else None
    training = TrainOptions(epochs=1, batch_size=64)
    return fit(TrainJob(data, "odd", training=training, end_to_end=joint), out / "run")


def model(**methods: Any) -> type:
    return type("Odd", (Model,), methods)


def loss_of(value: Any) -> type:
    return model(loss=lambda self, users, positives, negatives: value)


BROKEN: dict[str, tuple[type, str]] = {
    "no loss": (model(loss=GradientModel.loss), "Odd defines no method loss"),
    "no factors": (model(factors=GradientModel.factors), "Odd defines no method factors"),
    "a number": (loss_of(1.0), r"Odd\.loss gave a float"),
    "nothing": (loss_of(None), r"Odd\.loss gave a NoneType"),
    "rows": (loss_of(torch.zeros(3)), r"Odd\.loss gave shape \(3,\)"),
    "constant": (loss_of(torch.zeros(())), r"Odd\.loss gave a tensor without gradient"),
    "swapped": (model(factors=lambda self: (self.item, self.user)), "of 24 users and 20 items"),
    "widths": (model(factors=lambda self: (self.user, self.item[:, :3])), r"\(24, 3\)"),
    "one": (model(factors=lambda self: self.user), r"Odd\.factors gave a Parameter"),
    "numpy": (
        model(factors=lambda self: [one.detach().numpy() for one in (self.user, self.item)]),
        r"Odd\.factors gave a list",
    ),
    "no groups": (model(parameter_groups=lambda self, lr: []), "names no parameter"),
    "no model": (dict, "dict is not a GradientModel"),
}


@pytest.mark.parametrize(("kind", "words"), BROKEN.values(), ids=BROKEN)
def test_one_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type, words: str
) -> None:
    if kind is dict:
        kind = type("dict", (), {"__init__": lambda self, *given: None})
    with pytest.raises(RunError, match=words) as caught:
        trained(data, tmp_path, monkeypatch, kind)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_config_of_its_own(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="Plain is not a ModelConfig"):
        trained(data, tmp_path, monkeypatch, Model, Plain, along=True)


@pytest.mark.parametrize("found", [None, [torch.zeros(3, 3)]], ids=["none", "a tensor"])
def test_tables_that_are_none(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Any
) -> None:
    kind = model(feature_tables=lambda self, modality: found)
    with pytest.raises(RunError, match=r"Odd\.feature_tables gave"):
        trained(data, tmp_path, monkeypatch, kind, along=True)


def test_tied_weights_are_kept_under_both_names(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tied(Model):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.other = self.user

    run = trained(data, tmp_path, monkeypatch, Tied)
    kept = load_file(run.path / "model.safetensors")
    assert torch.equal(kept["user"], kept["other"])


@pytest.mark.parametrize(
    "groups",
    [
        lambda self, lr: ({"params": list(self.parameters()), "lr": lr},),
        lambda self, lr: [{"params": self.user, "lr": lr}, {"params": iter([self.item])}],
    ],
    ids=["a tuple", "one parameter, an iterator"],
)
def test_groups_in_every_form_that_torch_takes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: Any
) -> None:
    trained(data, tmp_path, monkeypatch, model(parameter_groups=groups))


def test_groups_that_are_none_of_torchs(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = model(parameter_groups=lambda self, lr: list(self.parameters()))
    with pytest.raises(RunError, match=r"Odd\.parameter_groups gave a list; dictionaries with"):
        trained(data, tmp_path, monkeypatch, kind)
