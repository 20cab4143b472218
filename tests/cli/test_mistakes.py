"""Every mistake is one clear line that names the mending option; nothing is overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.catalogue import write_interactions, write_items
from tests.cli.conftest import Shop
from tests.fork_server import run_mmx

pytestmark = pytest.mark.slow

TRAIN = ("train", "--features", "cache/toy.parquet", "--epochs", "1", "--data")


def test_no_such_dataset(shop: Shop) -> None:
    assert "no dataset at nowhere" in shop.refused("extract", "--model", "toy", "--data", "nowhere")


def test_duplicate_item_ids(shop: Shop) -> None:
    write_items(shop.path / "twice", [{"item_id": "a"}, {"item_id": "a"}])
    said = shop.refused("extract", "--model", "toy", "--data", "twice", "--out", "x.parquet")
    assert "not unique" in said
    assert not (shop.path / "x.parquet").exists()


def test_unknown_items_in_interactions(shop: Shop) -> None:
    data = write_items(shop.path / "few", [{"item_id": "i0"}, {"item_id": "i1"}])
    write_interactions(data, [("u", "i0"), ("u", "i7")])
    assert "--unknown-items drop" in shop.refused(*TRAIN, "few")


def test_a_store_of_other_items(shop: Shop) -> None:
    data = write_items(shop.path / "other", [{"item_id": f"x{n}"} for n in range(9)])
    write_interactions(data, [("u", f"x{n}") for n in range(9)])
    assert "made from other items" in shop.refused(*TRAIN, "other")


def test_two_stores_of_one_modality(shop: Shop) -> None:
    said = shop.refused(*TRAIN, "data", "--features", "cache/toy.parquet")
    assert "both bring image vectors" in said


def test_truncated_parquet(shop: Shop) -> None:
    whole = (shop.path / "cache/toy.parquet").read_bytes()
    (shop.path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    said = shop.refused("train", "--data", "data", "--features", "cut.parquet", "--epochs", "1")
    assert "cut.parquet is damaged (its end is missing)" in said
    said = shop.refused("extract", "--model", "toy", "--data", "data", "--out", "cut.parquet")
    assert "--overwrite" in said
    assert (shop.path / "cut.parquet").stat().st_size == len(whole) // 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "--data", "data"), "vbpr needs item features"),
        ((*TRAIN, "data", "--model", "bpr"), "bpr uses no features"),
        ((*TRAIN, "data", "--model", "vbrp"), "did you mean 'vbpr'"),
        ((*TRAIN, "data", "--set", "dimm=3"), "did you mean 'dim'"),
        ((*TRAIN, "data", "--set", "dim=x"), "int is expected"),
        (("recommend", "runs/vbpr-toy"), "give one of --user ID"),
        (("recommend", "runs/vbpr-toy", "--all"), "--all needs --out"),
    ],
)
def test_options_are_never_silently_ignored(
    shop: Shop, arguments: tuple[str, ...], said: str
) -> None:
    assert said in shop.refused(*arguments, code=2)


def test_unknown_ids(shop: Shop) -> None:
    assert "unknown user: u99" in shop.refused("recommend", "runs/vbpr-toy", "--user", "u99")
    said = shop.refused("recommend", "runs/vbpr-toy", "--user", "u3", "--only", "i0,zzz")
    assert "unknown item: zzz" in said


def test_an_existing_run_is_not_overwritten(shop: Shop) -> None:
    before = (shop.path / "runs/vbpr-toy/config.json").read_bytes()
    said = shop.refused(*TRAIN, "data", "--out", "runs/vbpr-toy")
    assert "--overwrite" in said
    assert (shop.path / "runs/vbpr-toy/config.json").read_bytes() == before


def test_sql_mistake_names_the_views(shop: Shop) -> None:
    assert "views: " in shop.refused("sql", "select * from nothing")


def test_debug_shows_the_traceback(shop: Shop) -> None:
    assert "Traceback" in shop.mmx("info", "nowhere.parquet", "--debug", code=1).stderr


def test_a_misspelt_encoder(shop: Shop) -> None:
    said = shop.refused("extract", "--model", "toi", "--data", "data")
    assert "did you mean 'toy'" in said


def test_no_run_there(shop: Shop) -> None:
    assert "make one with `mmx train`" in shop.refused("evaluate", "runs/none")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['mmx', '--help']\n"
        "from mmx.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'faiss', 'pyarrow', 'duckdb', 'numpy')\n"
        "print([m for m in heavy if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "extract" in done.stdout
    assert done.stderr.strip() == "[]"


def test_what_duckdb_makes_of_ctrl_c_is_ctrl_c() -> None:
    """It may come while a catalogue is opened, as an error like any other."""
    for said, code in (("Query interrupted", 130), ("another fault", 1)):
        program = (
            "import mmx.cli.app, sys\n"
            "def app(): raise RuntimeError(sys.argv[1])\n"
            "mmx.cli.app.app = app\n"
            "from mmx.cli import main; main()"
        )
        command = [sys.executable, "-c", program, said]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert ("interrupted" if code == 130 else "unexpected RuntimeError") in done.stderr
        assert "Query" not in done.stderr


def test_read_only_target(shop: Shop, tmp_path: Path) -> None:
    said = shop.refused("extract", "--model", "toy", "--data", "data", "--out", "/proc/x.parquet")
    assert "cannot write" in said
    assert "--out elsewhere" in said


@pytest.mark.parametrize(
    "line",
    [
        "train --data data --model freedom",
        "train --data data --model ials --set red=3",
        "train --data data --features cache/toy.parquet --out runs/vbpr-toy",
        "finetune --data data --model clip:mini --out runs/vbpr-toy",
        "extract --data data/nowhere --model toy",
        "store merge cache/toy.parquet nowhere.parquet --out merged.parquet",
    ],
)
def test_a_refusal_shows_no_progress_bar(shop: Shop, line: str) -> None:
    done = run_mmx(line.split(), shop.path)
    assert done.returncode in (1, 2)
    (error,) = done.stderr.splitlines()
    assert error.startswith("mmx: error: ")
