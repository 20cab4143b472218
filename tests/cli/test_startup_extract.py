"""An ``extract`` with nothing to do opens no encoder, and notices when there is something to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from mmx.extract.encoders.records import MINI
from tests.catalogue import plain_catalogue, write_items

pytestmark = pytest.mark.slow

HEAVY = ("torch", "torchvision", "open_clip", "transformers", "timm")
PROGRAM = f"""
import json, sys
from mmx.cli import main
try:
    main()
    code = 0
except SystemExit as left:
    code = left.code
print(json.dumps([code, [name for name in {HEAVY} if name in sys.modules]]))
"""


@dataclass(frozen=True)
class Ran:
    code: int
    loaded: list[str]  # of HEAVY
    said: str
    report: dict[str, object]


@dataclass(frozen=True)
class Place:
    """A folder with data/, model/ (a copy of clip:mini) and a user's cache of its own."""

    path: Path

    def extract(self, *options: str, model: str = "clip:local-dir:model") -> Ran:
        arguments = ["extract", "--model", model, "--data", "data", "--out", "x.parquet", "--json"]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments, "--device", "cpu", *options],
            cwd=self.path, capture_output=True, text=True, timeout=180, check=True,
            env=os.environ | {"XDG_CACHE_HOME": str(self.path / "user")},
        )  # fmt: skip
        *printed, last = done.stdout.splitlines()
        code, loaded = json.loads(last)
        return Ran(code, loaded, done.stderr, json.loads("\n".join(printed) or "{}"))

    def items(self) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = pq.read_table(self.path / "data/items.parquet").to_pylist()
        return rows

    def write(self, items: list[dict[str, str]]) -> None:
        write_items(self.path / "data", items)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Ran]:
    place = Place(tmp_path_factory.mktemp("startup") / "shop")
    plain_catalogue(place.path / "data", 6)
    shutil.copytree(MINI, place.path / "model")
    return place, place.extract()


@pytest.fixture
def place(encoded: tuple[Place, Ran]) -> Iterator[Place]:
    """The encoded folder, as it was at first when the test ends."""
    first, kept = encoded[0].path, encoded[0].path.with_name("kept")
    subprocess.run(["cp", "-a", str(first), str(kept)], check=True)
    yield encoded[0]
    shutil.rmtree(first / "data")
    shutil.rmtree(first / "user")
    (first / "x.parquet").unlink()
    for name in ("data", "user", "x.parquet"):
        (kept / name).rename(first / name)
    shutil.rmtree(kept)


def test_what_encodes_says_on_which_device(encoded: tuple[Place, Ran]) -> None:
    _, ran = encoded
    assert (ran.code, ran.report["encoded"]) == (0, 6)
    (line,) = [line for line in ran.said.splitlines() if " on cpu (" in line]
    assert line.startswith("clip:local-dir:model on cpu (")
    assert line.endswith(f", {ran.report['precision']}")


def test_the_same_command_again_loads_nothing(place: Place) -> None:
    before = (place.path / "x.parquet").read_bytes()
    ran = place.extract()
    assert (ran.code, ran.loaded) == (0, [])
    assert (ran.report["encoded"], ran.report["reused"]) == (0, 6)
    assert " on cpu" not in ran.said
    assert (place.path / "x.parquet").read_bytes() == before


def test_rows_that_move_need_no_encoder(place: Place) -> None:
    place.write(place.items()[::-1])
    ran = place.extract()
    assert (ran.code, ran.loaded, ran.report["encoded"]) == (0, [], 0)
    ids = pq.read_table(place.path / "x.parquet")["item_id"].to_pylist()
    assert ids == [item["item_id"] for item in place.items()]


def test_removed_rows_need_no_encoder(place: Place) -> None:
    place.write(place.items()[:4])
    ran = place.extract("--prune")
    assert (ran.code, ran.loaded, ran.report["removed"]) == (0, [], 2)
    assert pq.read_metadata(place.path / "x.parquet").num_rows == 4


def test_nothing_failed_so_nothing_is_tried_again(place: Place) -> None:
    ran = place.extract("--retry-failed")
    assert (ran.code, ran.loaded, ran.report["encoded"]) == (0, [], 0)


def test_a_changed_text_is_encoded(place: Place) -> None:
    first, *others = place.items()
    place.write([{**first, "text": "something else"}, *others])
    ran = place.extract()
    assert (ran.code, ran.report["encoded"], ran.report["reused"]) == (0, 1, 5)
    assert "torch" in ran.loaded
    assert " on cpu (" in ran.said


def test_a_failed_picture_is_tried_again(place: Place) -> None:
    first, *others = place.items()
    place.write([{**first, "image": "gone.png"}, *others])
    assert place.extract().report["encoded"] == 1
    assert place.extract().loaded == []
    ran = place.extract("--retry-failed")
    assert (ran.report["encoded"], "torch" in ran.loaded) == (1, True)


def test_overwrite_encodes_everything(place: Place) -> None:
    ran = place.extract("--overwrite")
    assert (ran.code, ran.report["encoded"], "torch" in ran.loaded) == (0, 6, True)


def test_the_precision_of_the_store_is_no_reason_to_open(
    place: Place, encoded: tuple[Place, Ran]
) -> None:
    ran = place.extract("--precision", str(encoded[1].report["precision"]))
    assert (ran.code, ran.loaded, ran.report["encoded"]) == (0, [], 0)


def test_another_precision_is_another_store(place: Place) -> None:
    ran = place.extract("--precision", "float16")
    assert (ran.code, "torch" in ran.loaded) == (1, True)
    assert "differs in precision" in ran.said


def test_another_way_to_decode_is_another_store(place: Place) -> None:
    ran = place.extract("--exact")
    assert (ran.code, "torch" in ran.loaded) == (1, True)
    assert "differs in image_rule" in ran.said


def test_other_weights_are_noticed(place: Place) -> None:
    """Also where size and time of the file are the same."""
    (file,) = (place.path / "model").glob("*.safetensors")
    facts, old = file.stat(), file.read_bytes()
    numbers = load_file(file)
    save_file({name: np.asarray(value * 1.5, value.dtype) for name, value in numbers.items()}, file)
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    ran = place.extract()
    file.write_bytes(old)
    assert (ran.code, "torch" in ran.loaded) == (1, True)
    assert "differs in parameters_sha256" in ran.said


def test_without_the_hint_it_opens_as_before(place: Place) -> None:
    shutil.rmtree(place.path / "user")
    ran = place.extract()
    assert (ran.code, ran.report["encoded"], "torch" in ran.loaded) == (0, 0, True)
    assert place.extract().loaded == []


def test_unfinished_parts_are_merged_by_the_encoder(place: Place) -> None:
    (place.path / "x.parquet.parts").mkdir()
    ran = place.extract()
    assert (ran.code, ran.report["encoded"], "torch" in ran.loaded) == (0, 0, True)
