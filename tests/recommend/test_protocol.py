"""The contract of a model: two methods are enough, and nothing is looked for behind its back."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from mmx.errors import OptionError
from mmx.recommend import models
from mmx.recommend.end_to_end import EndToEndJob, EndToEndOptions
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.models import MODELS, ModelRecord
from mmx.recommend.protocol import ClosedForm, GradientForm, GradientModel, ModelConfig, World
from mmx.recommend.run import open_run
from mmx.recommend.training import TrainOptions
from mmx.sample.catalogue import write_sample
from tests.recommend.minimal import Config, Model, Reading
from tests.recommend.toy import TAKEN, toy_world

ROOM = Path(models.__file__).parents[1]
STEPPED = [record for record in MODELS.values() if not record.closed_form]
SOLVED = [record for record in MODELS.values() if record.closed_form]
LOOKED_FOR = re.compile(r"(has|get)attr\(\s*((self\.)?(model|inner)|config)\b")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sample")
    write_sample(directory, items=24, users=20, seed=3)
    return directory


@pytest.fixture(autouse=True)
def _records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models more: one that has the least, one that reads features besides."""
    for name, features in (("minimal", "none"), ("reading", "required")):
        module, along = f"tests.recommend.{name}", name == "reading"
        record = ModelRecord(name, name, module, features, "none", end_to_end=along)
        monkeypatch.setitem(MODELS, name, record)


def job(data: Path, model: str, along: bool) -> TrainJob:
    joint = EndToEndJob("clip:mini", pixels=data / "pixels", options=EndToEndOptions(chunk=16))
    training = TrainOptions(epochs=2, lr=0.01, batch_size=64)
    return TrainJob(data, model, training=training, end_to_end=joint if along else None)


def test_nothing_is_looked_for_on_a_model() -> None:
    found = [str(path) for path in ROOM.rglob("*.py") if LOOKED_FOR.search(path.read_text())]
    assert found == []
    assert LOOKED_FOR.search("if hasattr(self.inner, 'x')")
    assert LOOKED_FOR.search("getattr(model, 'x', 0)")


def test_loss_and_factors_are_enough(data: Path, tmp_path: Path) -> None:
    run = fit(job(data, "minimal", along=False), tmp_path / "run")
    assert pq.read_table(run.path / "history.parquet").num_rows == 2
    assert np.array_equal(open_run(run.path).scorer.items, run.scorer.items)  # type: ignore[attr-defined]


def test_a_model_that_only_adds_its_tables_trains_an_encoder(data: Path, tmp_path: Path) -> None:
    run = fit(job(data, "reading", along=True), tmp_path / "run")
    assert pq.read_table(run.path / "history.parquet").num_rows == 2
    assert (run.path / "encoder" / "model.safetensors").exists()


def test_the_message_lists_the_models_whose_records_say_so(data: Path, tmp_path: Path) -> None:
    able = [name for name, record in MODELS.items() if record.end_to_end]
    assert {"vbpr", "lattice", "reading"} <= set(able)
    assert "minimal" not in able
    said = f"minimal cannot train an encoder; --end-to-end takes {', '.join(able[:-1])} or reading"
    with pytest.raises(OptionError, match=f"{said}$"):
        fit(job(data, "minimal", along=True), tmp_path / "run")


@pytest.mark.parametrize("record", STEPPED, ids=lambda record: record.name)
def test_a_record_says_what_its_model_can(record: ModelRecord) -> None:
    module = record.load()
    assert issubclass(module.Model, GradientModel)
    assert issubclass(module.Config, ModelConfig)
    world = toy_world("image", "audio") if record.features == "required" else toy_world()
    model = module.Model(module.Config(dim=4), world, torch.Generator().manual_seed(0))
    tables = [table for name in world.features for table in model.feature_tables(name)]
    assert record.end_to_end == bool(tables)
    shapes = {tuple(table.matrix.shape) for table in tables}
    known = world.features.values() if record.end_to_end else ()
    assert shapes == {found.matrix.shape for found in known}
    assert all(name not in model.state_dict() for name in ("matrix", "generator"))


@pytest.mark.parametrize("record", MODELS.values(), ids=lambda record: record.name)
def test_a_module_is_of_the_form_that_its_record_says(record: ModelRecord) -> None:
    module = record.load()
    assert isinstance(module, ClosedForm) == record.closed_form
    assert isinstance(module, GradientForm) != record.closed_form


@pytest.mark.parametrize("record", SOLVED, ids=lambda record: record.name)
def test_a_closed_form_takes_its_config_and_a_world(record: ModelRecord) -> None:
    module = record.load()
    hints = get_type_hints(module.fit)
    assert list(inspect.signature(module.fit).parameters) == ["config", "world"]
    assert (hints["config"], hints["world"]) == (module.Config, World)
    assert {"n_items", "scores"} <= set(dir(hints["return"]))


def test_the_defaults_do_nothing() -> None:
    model = Model(Config(), toy_world(), torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.epoch_start(torch.Generator())
    model.after_backward()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (model.whole_batch, model.weight_decay) == (False, 0.0)
    assert model.generator is None
    assert not model.normalise
    assert len(model.feature_tables("image")) == 0
    (group,) = model.parameter_groups(0.1)
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.1, 0.0, 2)
    assert Config().end_to_end() == Config()
    assert len(model.factors()[0]) == len(TAKEN)


def test_a_model_may_have_tables_of_one_modality_alone() -> None:
    model = Reading(Config(), toy_world("image"), torch.Generator().manual_seed(0))
    assert [len(model.feature_tables(name)) for name in ("image", "text")] == [1, 0]
