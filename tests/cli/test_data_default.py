"""The lines people type without --data: which dataset is taken, and where it was looked for."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.fork_server import run_mmx

pytestmark = pytest.mark.slow

TRAIN = ("train", "--model", "itemknn")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "catalogue"
    plain_catalogue(folder, items=20)
    write_interactions(folder, random_log(15, 20, 8))
    return folder


def mmx(
    here: Path, *arguments: str, variable: Path | str | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run the CLI in a folder, with or without ``$MMX_DATA``."""
    environment = {name: value for name, value in os.environ.items() if name != "MMX_DATA"}
    environment |= {} if variable is None else {"MMX_DATA": str(variable)}
    done = run_mmx(arguments, here, environment)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def test_the_variable_names_it(dataset: Path, tmp_path: Path) -> None:
    done = mmx(tmp_path, "extract", "--model", "toy", variable=dataset)
    assert done.stderr.splitlines()[0] == f"dataset: {dataset} ($MMX_DATA)"
    assert (tmp_path / "cache/toy.parquet").exists()


def test_this_folder_where_it_holds_an_items_table(dataset: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.symlink_to(dataset)
    done = mmx(here, *TRAIN, "--out", str(tmp_path / "run"))
    assert done.stderr.splitlines()[0] == "dataset: this folder"


def test_the_folder_data(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(dataset)
    done = mmx(tmp_path, "extract", "--model", "toy")
    assert done.stderr.splitlines()[0] == "dataset: ./data"
    done = mmx(tmp_path, "train", "--features", "cache/toy.parquet", "--epochs", "1")
    assert done.stderr.splitlines()[0] == "dataset: ./data"
    assert (tmp_path / "runs/vbpr-toy/metrics.json").exists()


def test_the_option_comes_first(dataset: Path, tmp_path: Path) -> None:
    done = mmx(tmp_path, *TRAIN, "--data", str(dataset), variable=tmp_path / "absent")
    assert "dataset:" not in done.stderr


@pytest.mark.parametrize(
    "command", [("extract", "--model", "toy"), TRAIN, ("finetune", "--model", "clip:mini")]
)
def test_the_error_says_where_was_looked(command: tuple[str, ...], tmp_path: Path) -> None:
    (error,) = mmx(tmp_path, *command, code=2).stderr.splitlines()
    assert "--data" in error
    assert "$MMX_DATA is not set" in error
    assert "./data" in error


def test_a_variable_that_names_no_dataset_is_named_in_the_error(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    done = mmx(tmp_path, *TRAIN, variable=absent, code=1)
    assert str(absent) in done.stderr.splitlines()[-1]


def test_a_run_is_no_dataset_though_it_has_an_items_table(dataset: Path, tmp_path: Path) -> None:
    mmx(tmp_path, *TRAIN, "--data", str(dataset), "--out", "run")
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    (error,) = mmx(tmp_path / "run", "extract", "--model", "toy", code=2).stderr.splitlines()
    assert "--data" in error
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == before


def test_what_finetune_suggests_can_be_pasted(tmp_path: Path) -> None:
    """Pictures in another folder, a name with a space: the suggested line has them all."""
    folder, pictures = tmp_path / "my shop", tmp_path / "photos"
    plain_catalogue(folder, items=40)
    pictures.mkdir()
    (folder / "images").rename(pictures / "images")
    done = mmx(
        tmp_path, "finetune", "--model", "clip:mini", "--data", str(folder), "--images",
        str(pictures), "--epochs", "1", "--batch-size", "16", "--tune", "projection",
    )  # fmt: skip
    (line,) = [line for line in done.stderr.splitlines() if "next: mmx extract" in line]
    words = shlex.split(line.split("next: mmx ")[1])
    assert words[words.index("--images") + 1] == str(pictures)
    encoded = mmx(tmp_path, *words, "--out", "tuned.parquet")
    assert "40 encoded" in encoded.stderr
