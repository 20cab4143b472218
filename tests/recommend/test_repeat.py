"""A run trained again from its config.json, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.data.splits import SplitRule
from mmx.errors import MmxError, OptionError, RunError
from mmx.extract.encode import encode
from mmx.recommend.end_to_end import EndToEndJob, EndToEndOptions
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.new_items import with_new_items
from mmx.recommend.options import TrainOptions
from mmx.recommend.repeat import repeat
from mmx.recommend.run import Run
from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.own.packages import MODEL, written
from tests.recommend.changed_data import (
    copied,
    fewer_items,
    more_interactions,
    other_interactions,
    other_times,
    reversed_rows,
    weighted,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, a store and runs of several kinds, none of which is changed."""
    path = tmp_path_factory.mktemp("made")
    plain_catalogue(path / "data", items=24)
    write_interactions(path / "data", random_log(20, 24, 9), timestamp=list(range(180)))
    encode(path / "data", "toy", path / "toy.parquet")
    few = TrainOptions(epochs=2, batch_size=64, lr=0.02, clip=1.5, seed=3, device="cpu")
    store = f"{path / 'toy.parquet'}:text,image"
    jobs = {
        "vbpr": TrainJob(path / "data", features=store, training=few, control="shuffle",
                         settings=["dim=8", "reg=0.012345"],
                         split=SplitRule("random", k_core=1, seed=7)),
        "bpr": TrainJob(path / "data", "bpr", training=few, settings=["item_bias=false"],
                        split=SplitRule("temporal", at=0.8, targets="first")),
        "plain": TrainJob(path / "data", features=store, training=few),
        "cbf": TrainJob(path / "data", "itemknn-cbf", features=store, control="drop:0.3",
                        training=TrainOptions(seed=11)),
        "ease": TrainJob(path / "data", "ease", split=SplitRule("random", folds=3, fold=1)),
        "ials": TrainJob(path / "data", "ials", training=TrainOptions(seed=4)),
        "end": TrainJob(path / "data", training=few, end_to_end=EndToEndJob(
            "clip:mini", pixels=path / "pixels", options=EndToEndOptions(refresh="epoch"))),
    }  # fmt: skip
    for name, job in jobs.items():
        fit(job, path / name)
    return path


def again(run: Path, out: Path, **given: Any) -> tuple[Run, list[str]]:
    """The run of the same job, and the lines that are said of it before the training."""
    said: list[str] = []
    job = repeat(run / "config.json", log=said.append, **given)
    if job.end_to_end is not None:  # decoded pictures go next to the program
        object.__setattr__(job.end_to_end, "pixels", run.parent / "pixels")
    return fit(job, out), said


def config_of(run: Path) -> dict[str, Any]:
    """config.json, without what is of a moment."""
    config: dict[str, Any] = json.loads((run / "config.json").read_text())
    config.pop("cost", None)
    return config


@pytest.mark.parametrize("name", ["vbpr", "bpr", "cbf", "ease", "ials", "end"])
def test_it_becomes_the_same_bytes(made: Path, tmp_path: Path, name: str) -> None:
    run, said = again(made / name, tmp_path / "again")
    assert said == []
    files = ["metrics.json", "model.safetensors", "per_user.parquet", "users.parquet"]
    for file in [*files, *(["encoder/model.safetensors"] if name == "end" else [])]:
        assert (run.path / file).read_bytes() == (made / name / file).read_bytes(), file
    assert config_of(run.path) == config_of(made / name)


def test_options_given_count_instead_and_are_said(made: Path, tmp_path: Path) -> None:
    run, said = again(
        made / "vbpr", tmp_path / "again", seed=1, lr=0.01, settings=["reg=0.1"], clip=None
    )
    assert said[1:] == ["--seed 1 instead of 3", "--lr 0.01 instead of 0.02"]
    assert said[0].startswith("--set dim=8 content_dim=64 content_reg=0.003")
    config = run.config
    assert (config["training"]["seed"], config["split"]["seed"]) == (1, 1)
    assert (config["training"]["clip"], config["settings"]["dim"]) == (1.5, 8)
    assert config["settings"]["reg"] == 0.1
    assert config["control"] == {"arm": "shuffle", "seed": 1}


@pytest.mark.parametrize(
    ("name", "given", "left"),
    [
        ("vbpr", {"model": "bpr"}, {"settings", "features", "control"}),
        ("vbpr", {"model": "ease", "settings": ["reg=5"]}, {"features", "control", "lr", "epochs"}),
        ("vbpr", {"model": "bm3"}, {"settings", "lr"}),
        ("vbpr", {"end_to_end": True, "encoder": "clip:mini"}, {"features", "control"}),
        ("end", {"features": ["S"]}, {"end-to-end", "encoder", "refresh", "chunk"}),
        ("bpr", {"split": "random"}, {"at", "targets"}),
        ("ease", {"split": "random"}, {"folds", "fold"}),
        ("ease", {"split": "users", "at": 0.7}, {"folds", "fold"}),
    ],
)
def test_what_no_longer_applies_is_left_out(
    made: Path, name: str, given: dict[str, Any], left: set[str]
) -> None:
    said: list[str] = []
    job = repeat(made / name, log=said.append, **given)
    gone = {line.split()[0][2:].replace("set", "settings") for line in said if "left out" in line}
    assert left <= gone
    assert "seed" not in gone
    if given.get("model") == "bm3":
        assert job.training.lr is None  # of the model itself
        assert job.control == "shuffle"
        assert job.settings == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (more_interactions, "interactions: 181 instead of 180"),
        (other_interactions, "interactions: as many as then (180), with other contents"),
        (other_times, "interactions: other values of timestamp"),
        (fewer_items, "items: 25 instead of 24"),
        (weighted, "interactions: weights where there were none, or none where there were"),
        (reversed_rows, None),
    ],
)
def test_data_that_changed_is_refused(
    made: Path, tmp_path: Path, change: Callable[[Path], None], said: str | None
) -> None:
    data = shutil.copytree(made / "data", tmp_path / "data")
    change(data)
    run = copied(made, "bpr", tmp_path / "run", data=str(data))
    if said is None:  # the same rows in another order are the same data
        assert again(run, tmp_path / "again")[1] == []
        return
    with pytest.raises(RunError, match="cannot be repeated: ") as refused:
        again(run, tmp_path / "again")
    assert f"{said}; give what it was trained on, or train on this by --data" in str(refused.value)
    lines: list[str] = []
    fit(repeat(run, data=data), tmp_path / "again", log=lines.append)
    assert f"not those of {run / 'config.json'}: {said}" in lines


def test_weights_that_were_ignored_are_ignored_again(made: Path, tmp_path: Path) -> None:
    data = shutil.copytree(made / "data", tmp_path / "data")
    weighted(data)
    run = copied(made, "bpr", tmp_path / "run", data=str(data))
    first = fit(repeat(run, ignore_weights=True), tmp_path / "first")
    assert first.config["weights"] == "ignored"
    assert again(first.path, tmp_path / "again")[1] == []
    bytes_of = [(path / "model.safetensors").read_bytes() for path in (run, first.path)]
    assert bytes_of[0] == bytes_of[1]


def test_vectors_that_changed_are_refused(made: Path, tmp_path: Path) -> None:
    table = pq.read_table(made / "toy.parquet")
    place = table.column_names.index("image")
    images = table["image"].to_pylist()
    images[0], images[1] = images[1], images[0]
    changed = table.set_column(place, table.schema.field("image"),
                               pa.array(images, table.schema.field("image").type))  # fmt: skip
    store = tmp_path / "other.parquet"
    pq.write_table(changed, store)
    features = [{**one, "store": str(store)} for one in config_of(made / "vbpr")["features"]]
    run = copied(made, "vbpr", tmp_path / "run", features=features)
    with pytest.raises(RunError, match=r"image vectors of .*: as many as then .* --features"):
        again(run, tmp_path / "again")
    again(run, tmp_path / "again", features=[f"{made / 'toy.parquet'}:text,image"])
    older = config_of(made / "vbpr")
    for one in older["features"]:
        one["parameters_sha256"] = "0" * 64
    run = copied(made, "vbpr", tmp_path / "older", features=older["features"], inputs={})
    lines: list[str] = []
    with pytest.raises(RunError, match=r"parameters_sha256 \w+ instead of 000"):
        fit(repeat(run), tmp_path / "other", log=lines.append)
    assert any("older mmx, which kept no digests" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("bpr", {"data": "gone"}, r"trained with --data gone, .* --data PATH"),
        ("bpr", {"data": "http://127.0.0.1:9/x"}, r"a URL is opened only .*: --data URL"),
        ("bpr", {"data": "s3://b/x"}, r"--data URL"),
        ("bpr", {"data": "x" * 5000}, r"which is not there; .* --data PATH"),
        ("bpr", {"model": ""}, "unknown --model ''"),
        ("end", {"images": "gone"}, r"--images gone, .* --images PATH"),
        ("plain", {"features": [{"modality": "image", "store": "gone"}]}, r"--features PATH"),
        ("plain", {"features": [{"modality": "image", "store": "ftp://x/y"}]}, r"--features URL"),
        ("plain", {"features": [{"modality": 3}]}, "features without a store"),
        ("bpr", {"model": "mine.py:Model"}, r"code of your own, .*--model mine\.py:Model"),
        ("bpr", {"model": "os:path"}, r"--model os:path"),
        ("bpr", {"model": "evil.py"}, "evil.py"),
        ("bpr", {"model": "no-such"}, "unknown --model 'no-such'"),
        ("bpr", {"settings": {"dim": [1]}}, "a setting that is a list"),
        ("bpr", {"settings": {"dims": 1}}, "no such setting"),
        ("bpr", {"settings": {"dim": "x" * 9999}}, "int is expected"),
        ("bpr", {"training": {"epochs": 1, "exec": "x"}}, "'exec', which this version cannot"),
        ("bpr", {"training": {"epochs": "many"}}, "--epochs"),
        ("bpr", {"split": {"rule": "random", "x": 1}}, "'x', which this version cannot"),
        ("bpr", {"split": {"rule": ["random"]}}, "--split"),
        ("end", {"end_to_end": {"encoder": "mine.py:Encoder"}}, "mine.py"),
        ("end", {"end_to_end": {"hook": "x"}}, "'hook', which this version cannot"),
        ("bpr", {"later": 1}, "'later', which this version cannot repeat"),
        ("bpr", {"csv": {"encoding": "no-such"}}, "--encoding no-such is unknown"),
        ("bpr", {"csv": [1]}, "csv"),
        ("bpr", {"inputs": {"items": 3}}, "is broken"),
        ("bpr", {"inputs": {"interactions": {"columns": 1}}}, "is broken"),
        ("bpr", {"versions": {"torch": "0.1"}}, None),
        ("bpr", {"format": 9}, "run format '9'"),
        ("bpr", {"lists": {"name": "x"}}, "measure them again: mmx evaluate --lists FILE"),
        ("bpr", {"parts": [{"run": "runs/a b"}, {"run": "c"}]}, r"again: mmx fuse 'runs/a b' c$"),
    ],
)
def test_a_config_of_anyone_is_one_line(
    made: Path, tmp_path: Path, name: str, changes: dict[str, Any], said: str | None
) -> None:
    run, lines = copied(made, name, tmp_path / "run", **changes), list[str]()
    if said is None:
        repeat(run, log=lines.append)
        assert "was trained with torch 0.1 (here " in lines[0]
        return
    with pytest.raises(MmxError, match=said) as refused:
        fit(repeat(run), tmp_path / "again")
    assert len(str(refused.value)) < 700
    assert "\n" not in str(refused.value)


def test_what_is_not_a_config(tmp_path: Path) -> None:
    for content, said in ((None, "give the config.json"), ("[" * 99999, "nested too deeply"),
                          ("[]", "not the record of a run"), ("{", "is broken"),
                          ('{"card": {}}', "a fine-tuned encoder")):  # fmt: skip
        file = tmp_path / "any.json"
        if content is not None:
            file.write_text(content)
        with pytest.raises(RunError, match=said):
            repeat(file)
    with pytest.raises(RunError, match="not a regular file"):
        repeat("/dev/zero")


def test_code_of_one_s_own_has_to_be_named_and_unchanged(made: Path, tmp_path: Path) -> None:
    file = written(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'a').write('x')\n{MODEL}")
    few = TrainOptions(epochs=1, seed=3, device="cpu")
    job = TrainJob(made / "data", f"{file}:Model", code=file, training=few)
    run = fit(job, tmp_path / "run").path
    (tmp_path / "ran").unlink()
    written(tmp_path / "elsewhere", f"open({str(tmp_path / 'ran')!r}, 'a').write('x')\n{MODEL}")
    moved = tmp_path / "elsewhere" / file.name
    with pytest.raises(OptionError, match=r"--model mine\.py:Model, with its path"):
        repeat(run)
    other = written(tmp_path / "changed", MODEL + "# changed\n")
    with pytest.raises(RunError, match=r"has changed since .* \(SHA-256 \w+ instead of"):
        repeat(run, model=f"{other}:Model", code=other)
    assert not (tmp_path / "ran").exists()
    assert repeat(run, model=f"{moved}:Model", code=moved).model == f"{moved}:Model"
    again = fit(repeat(run, code=moved), tmp_path / "again")
    same = (path / "model.safetensors" for path in (run, again.path))
    assert len({path.read_bytes() for path in same}) == 1


def test_a_repeated_run_takes_new_items(made: Path, tmp_path: Path) -> None:
    run, _ = again(made / "plain", tmp_path / "again")
    plain_catalogue(tmp_path / "more", items=26)
    encode(tmp_path / "more", "toy", tmp_path / "more.parquet")
    assert len(with_new_items(run, tmp_path / "more.parquet").items) == 26
