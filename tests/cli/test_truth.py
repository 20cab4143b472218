"""Training says what it does: whom validation judges, what items have, what is left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.cli.conftest import Shop

pytestmark = pytest.mark.slow

LOG = random_log(30, 40, 12)


def dataset(shop: Shop, name: str, log: Sequence[tuple[str, str]] = LOG, **columns: list) -> str:
    """The shop's items with another log."""
    plain_catalogue(shop.path / name, items=40)
    write_interactions(shop.path / name, list(log), **columns)
    return name


def config(shop: Shop, run: str) -> dict:
    return json.loads((shop.path / run / "config.json").read_text())


def strange_split() -> list[str]:
    """The last five users have validation interactions alone."""
    return [
        "valid" if int(user[1:]) >= 25 else "test" if n % 4 == 0 else "train"
        for n, (user, _) in enumerate(LOG)
    ]


def test_strangers_validate_nothing_and_it_is_said(shop: Shop) -> None:
    train = ("train", "--data", dataset(shop, "strange", split=strange_split()), "--model", "bpr")
    done = shop.mmx(*train, "--epochs", "4", "--patience", "1", "--out", "runs/strange")
    said = "none of the 5 validation users has training interactions: early stopping is off, all 4"
    assert done.stderr.count(said) == 1
    assert "last epoch 4" in done.stderr
    assert config(shop, "runs/strange")["best_epoch"] == 4
    assert pq.read_table(shop.path / "runs/strange/history.parquet").num_rows == 4
    shop.mmx(*train, "--epochs", "1", "--out", "runs/once")
    once, trained = (load_file(shop.path / f"runs/{n}/model.safetensors")["user"]
                     for n in ("once", "strange"))  # fmt: skip
    assert (once != trained).any()
    done = shop.mmx("train", "--data", "strange", "--model", "ease", "--out", "runs/strange-ease")
    assert "training interactions: validation metrics are NaN" in done.stderr
    done = shop.mmx("fuse", "runs/strange", "runs/strange-ease", "--out", "runs/strange-both")
    assert (
        "no validation user has training interactions: all runs get the same weight" in done.stderr
    )


def test_several_processes_say_it_once(shop: Shop) -> None:
    train = ["-m", "mmx", "train", "--data", dataset(shop, "shared", split=strange_split())]
    train += ["--model", "bpr", "--epochs", "3", "--patience", "1", "--out", "runs/shared"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"]
    done = subprocess.run(
        [*launcher, *train], cwd=shop.path, capture_output=True, text=True, timeout=180,
        check=False, env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("early stopping is off, all 3 epochs run") == 1
    assert config(shop, "runs/shared")["best_epoch"] == 3


def test_no_validation_at_all_is_said(shop: Shop) -> None:
    data = dataset(shop, "unvalidated", split=["train"] * 300 + ["test"] * 60)
    train = ("train", "--data", data, "--model", "bpr", "--epochs", "2", "--out", "runs/u")
    done = shop.mmx(*train)
    assert "there are no validation interactions: early stopping is off" in done.stderr
    assert "none of the 5 test users has training interactions: test metrics" in done.stderr


def test_how_many_items_have_a_vector_is_said(shop: Shop) -> None:
    half = plain_catalogue(shop.path / "half", items=40)
    table = pq.read_table(half / "items.parquet")
    texts = pa.array([text if n < 10 else None for n, text in enumerate(table["text"].to_pylist())])
    table = table.set_column(table.column_names.index("text"), "text", texts).slice(0, 20)
    pq.write_table(table, half / "items.parquet")
    shop.mmx("extract", "--model", "toy", "--data", "half", "--out", "cache/half.parquet")
    done = shop.mmx("train", "--data", "data", "--features", "cache/half.parquet",
                    "--epochs", "1", "--out", "runs/half")  # fmt: skip
    assert "image: 20 of 40 items have a vector" in done.stderr
    assert "text: 10 of 40 items have a vector" in done.stderr
    kept = config(shop, "runs/half")["features"]
    assert [(one["items_with_vector"], one["items"]) for one in kept] == [(20, 40), (10, 40)]


def test_what_the_filters_leave_out_is_said(shop: Shop) -> None:
    log = LOG + LOG[:7]
    data = dataset(shop, "rated", log, rating=[1.0 + n % 5 for n in range(len(log))])
    done = shop.mmx("train", "--data", data, "--model", "popularity", "--min-rating", "3",
                    "--k-core", "2", "--out", "runs/rated")  # fmt: skip
    left = config(shop, "runs/rated")["left_out"]
    assert [one["why"] for one in left] == [
        "--min-rating 3", "pairs of user and item that repeat", "--k-core 2"
    ]  # fmt: skip
    assert left[0]["of"] == 367
    assert left[0]["interactions"] == sum(n % 5 < 2 for n in range(367))
    assert left[1]["of"] == 367 - left[0]["interactions"]
    for one in left:
        assert f"{one['why']}: {one['interactions']} of {one['of']} inter" in done.stderr


SHORT = random_log(30, 40, 2)


@pytest.mark.parametrize(
    ("name", "log", "columns", "options", "said"),
    [
        ("none-marked", LOG, {"split": ["train"] * 360}, (), "the column split marks none as such"),
        ("short", SHORT, {}, (), "with at least 3 interactions, the most of any is 2; mark some"),
        ("poor", LOG, {"rating": [5.0 if n % 12 < 2 else 1.0 for n in range(360)]},
         ("--min-rating", "4"), "is 2 after --min-rating 4: 300 of 360 interactions left out; low"),
        ("rated-away", LOG, {"rating": [5.0] * 350 + [1.0] * 10, "split": ["train"] * 350
         + ["test"] * 10}, ("--min-rating", "4"),
         "--min-rating 4 leave out all 10 that the column split marks as such"),
        ("at-once", LOG, {"timestamp": [7] * 360}, ("--split", "temporal"),
         "no train interactions: too many of the rest have the earliest timestamp"),
    ],
)  # fmt: skip
def test_a_split_without_a_part_says_why(
    shop: Shop, name: str, log: list, columns: dict, options: tuple[str, ...], said: str
) -> None:
    data = dataset(shop, name, log, **columns)
    line = shop.refused("train", "--data", data, "--model", "popularity", *options)
    assert said in line
    assert "--k-core" not in line or "--k-core" in options


TRAIN = ("train", "--data", "data", "--epochs", "1", "--out", "runs/never")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "bpr", "--set", "reg=-5"), "--set reg=-5: at least 0 is expected"),
        (("--model", "bpr", "--set", "dim=1000000000"), "--set dim=1000000000: at most 65536"),
        (("--model", "lightgcn", "--set", "layers=-1"), "--set layers=-1: 0 to 64 is expected"),
        (("--model", "bpr", "--seed", "-1"), "--seed -1: 0 to 9223372036854775807 is expected"),
        (
            ("--model", "bpr", "--device", "gpu"),
            "--device gpu is unknown to torch; here: auto, cpu",
        ),
        (("--model", "bpr", "--lr", "nan"), "--lr nan: above 0 is expected"),
    ],
)
def test_bounds_are_one_line(shop: Shop, options: tuple[str, ...], said: str) -> None:
    assert said in shop.refused(*TRAIN, *options, code=2)
    assert not (shop.path / "runs/never").exists()


def pictures_apart(shop: Shop) -> None:
    """Items without the column image; their pictures lie in ``pictures``, called by id."""
    data = plain_catalogue(shop.path / "apart", items=20)
    table = pq.read_table(data / "items.parquet").drop_columns(["image"])
    pq.write_table(table, data / "items.parquet")
    (shop.path / "pictures").mkdir()
    for n in range(20):
        (data / f"images/{n}.png").rename(shop.path / f"pictures/i{n}.png")
    write_interactions(data, random_log(20, 20, 10))


def test_end_to_end_with_pictures_elsewhere(shop: Shop) -> None:
    pictures_apart(shop)
    along = ("train", "--data", "apart", "--end-to-end", "--encoder", "clip:mini", "--epochs", "1")
    line = shop.refused(*along, "--out", "runs/apart")
    assert "no item has a picture that can be read; set --images" in line
    done = shop.mmx(*along, "--out", "runs/apart", "--images", "pictures")
    assert "image: 20 of 20 items have a vector" in done.stderr
    assert config(shop, "runs/apart")["images"] == "pictures"
    line = shop.refused(
        "train", "--data", "apart", "--model", "bpr", "--images", "pictures", code=2
    )
    assert "--images needs --end-to-end" in line


def test_end_to_end_without_texts(shop: Shop) -> None:
    data = plain_catalogue(shop.path / "silent", items=20)
    table = pq.read_table(data / "items.parquet")
    place = table.column_names.index("text")
    table = table.set_column(place, "text", pa.nulls(20, pa.string()))
    pq.write_table(table, data / "items.parquet")
    write_interactions(data, random_log(20, 20, 10))
    line = shop.refused("train", "--data", "silent", "--end-to-end", "--encoder", "clip:mini",
                        "--epochs", "1", "--out", "runs/silent")  # fmt: skip
    assert "silent/items.parquet: no item has a text; fill its column text" in line


def test_a_garbage_checkpoint_of_finetune(shop: Shop, tmp_path: Path) -> None:
    tune = ("finetune", "--model", "clip:mini", "--data", "data", "--out", str(tmp_path / "tuned"),
            "--epochs", "1")  # fmt: skip
    code = (
        "import sys; from mmx.extract.finetune.keeper import Keeper\n"
        "def load(keeper, state):\n"
        "    keeper.folder.mkdir(parents=True)\n"
        "    (keeper.folder / 'checkpoint.pt').write_bytes(b'garbage')\n"
        "    sys.exit()\n"
        "Keeper.load = load\n"
        "from mmx.cli import main; main()"
    )
    subprocess.run([sys.executable, "-c", code, *tune], cwd=shop.path, check=True, timeout=180)
    line = shop.refused(*tune)
    assert "checkpoint.pt is damaged; delete the folder" in line
    assert "to start over" in line
