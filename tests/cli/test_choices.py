"""A misspelt choice is an error wherever one is taken; options add up; what is dropped is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mmx.data.dataset import load_items
from mmx.data.vocabulary import Vocabulary
from mmx.errors import OptionError, one_of
from mmx.experiments.datasets import Dataset
from mmx.experiments.plan import Extraction
from mmx.extract.encoders import open_encoder
from mmx.extract.encoders.request import Request
from mmx.extract.finetune import FinetuneOptions
from mmx.extract.options import ExtractOptions
from mmx.extract.pictures.images import ImageRule
from mmx.extract.pipeline import extract
from mmx.recommend.end_to_end import EndToEndOptions
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions
from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.cli.conftest import Shop

pytestmark = pytest.mark.slow

HALF = (0.5, 0.5, 0.5)


def test_one_of() -> None:
    one_of("--seen", "all", ("all", "none"))
    with pytest.raises(OptionError, match=r"^--seen al is unknown; did you mean 'all'\?$"):
        one_of("--seen", "al", ("all", "none"))
    with pytest.raises(OptionError, match=r"^--seen 7 is unknown; known: all, none$"):
        one_of("--seen", "7", iter(("all", "none")))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TrainJob("d", unknown_items="eror"), "--unknown-items eror .* 'error'"),
        (lambda: TrainOptions(negatives="popularty"), "--negatives popularty .* 'popularity'"),
        (lambda: TrainOptions(precision="bfloat"), "--precision bfloat .* 'bfloat16'"),
        (lambda: TrainOptions(device="cdua"), "--device cdua is unknown to torch"),
        (lambda: ExtractOptions(dtype="flaot16"), "--dtype flaot16 .* 'float16'"),
        (lambda: FinetuneOptions(tune="ful"), "--tune ful .* 'full'"),
        (lambda: FinetuneOptions(tune="last:x"), "--tune last:x: last:N takes a number"),
        (lambda: FinetuneOptions(objectives=("itcc",)), "--objective itcc .* 'itc'"),
        (lambda: FinetuneOptions(objectives=("itc", "itc")), "--objective: one is given twice"),
        (lambda: EndToEndOptions(refresh="epoc"), "--refresh epoc .* 'epoch'"),
        (lambda: EndToEndOptions(tune="last:"), "--tune last:: last:N takes"),
        (lambda: Dataset(data=Path(), unknown_items="dorp"), "unknown_items dorp .* 'drop'"),
        (lambda: Extraction("clip", dtype="float61"), "dtype float61 .* 'float16'"),
        (lambda: Extraction("clip", precision="auto"), "precision auto is unknown"),
        (lambda: Extraction("clip", resize_mode="corp"), "resize_mode corp .* 'crop'"),
        (lambda: Vocabulary(["a"]).numbers(["a"], missing="negativ"), "missing negativ"),  # type: ignore[arg-type]
        (lambda: ImageRule(8, 8, "squish", "bicubic", HALF, HALF), "mode squish .* 'squash'"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_where_a_choice_is_taken(make: object, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        make()  # type: ignore[operator]


def test_picture_options_of_an_encoder_that_sees_none() -> None:
    request = Request("clip", "", modalities=("text",), options={"resize_mode": "crop"})
    with pytest.raises(OptionError, match="--resize-mode is of pictures; drop it"):
        request.wanted(("image", "text"))
    assert replace(request, modalities=("image",)).wanted(("image", "text")) == ("image",)


TRAIN = (
    "train",
    "--data",
    "data",
    "--features",
    "cache/toy.parquet",
    "--epochs",
    "1",
    "--out",
    "x",
)
FINETUNE = ("finetune", "--model", "clip:mini", "--data", "data", "--out", "x")
EXTRACT = ("extract", "--model", "toy", "--data", "data", "--out", "x.parquet")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*TRAIN, "--unknown-items", "eror"), "did you mean 'error'"),
        ((*TRAIN, "--device", "cdua"), "--device cdua"),
        ((*TRAIN, "--set", "dim=8", "--set", "dim=4"), "--set dim is given twice"),
        ((*FINETUNE, "--unknown-items", "drop"), "goes with --objective co-interaction"),
        ((*EXTRACT, "--modalities", ""), "--modalities "),
        ((*EXTRACT, "--device", "cuda"), "drop --device"),
        (("recommend", "runs/vbpr-toy", "--user", "u1", "--seen", "non"), "did you mean 'none'"),
        (("evaluate", "runs/vbpr-toy", "--split", "tets"), "did you mean 'test'"),
        (("evaluate", "runs/vbpr-toy", "--device", "cdua"), "--device cdua"),
        (("recommend", "runs/vbpr-toy", "--user", "u1", "--device", "cuda:99"), "no such device"),
        (("similar", "i7", "--store", "cache/toy.parquet", "--device", "cpu"), "goes with --all"),
    ],
)  # fmt: skip
def test_a_misspelt_choice_is_one_line(shop: Shop, arguments: tuple[str, ...], said: str) -> None:
    assert said in shop.refused(*arguments, code=2)
    assert not (shop.path / "x").exists()
    assert not (shop.path / "x.parquet").exists()


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A log of 360 interactions with 40 items, of which the catalogue has 37."""
    place = Shop(tmp_path_factory.mktemp("foreign"))
    plain_catalogue(place.path / "data", items=37)
    write_interactions(place.path / "data", random_log(30, 40, 12))
    store = place.path / "cache/toy.parquet"
    extract(load_items(place.path / "data"), open_encoder("toy"), store)
    return place


def test_what_is_dropped_is_told_and_kept(foreign: Shop) -> None:
    lost = sum(item in ("i37", "i38", "i39") for _, item in random_log(30, 40, 12))
    run = ("train", "--data", "data", "--features", "cache/toy.parquet", "--epochs", "1")
    done = foreign.mmx(*run, "--out", "runs/a", "--unknown-items", "drop")
    assert f"dropped {lost} of 360 interactions with 3 unknown items" in done.stderr
    config = json.loads((foreign.path / "runs/a/config.json").read_text())
    assert config["dropped"] == {"interactions": lost, "of": 360, "items": 3}
    facts = foreign.json("info", "data")
    assert facts["interactions with unknown items"] == lost
    assert facts["interactions"] == 360 - lost


def test_what_a_list_names_too_much_is_told(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("i3\ni4\nnone\n")
    out = ("--items", str(tmp_path / "few.txt"), "--out", str(tmp_path / "few.parquet"))
    filtered = ("store", "filter", "cache/toy.parquet", *out, "--overwrite")
    assert "did you mean 'drop'" in shop.refused(*filtered, "--unknown-items", "dorp", code=2)
    done = shop.mmx(*filtered, "--unknown-items", "drop")
    assert "2 rows, 1 items of the list are not in the store" in done.stderr
    assert shop.json(*filtered, "--unknown-items", "drop")["unknown_items_dropped"] == 1


def test_repeated_options_add_up(shop: Shop, tmp_path: Path) -> None:
    wide = ("--where", "text_tokens > 3", "--where", "text_tokens < 7")
    out = ("--out", str(tmp_path / "few.parquet"))
    assert shop.json("store", "filter", "cache/toy.parquet", *wide, *out)["rows"] == 3
    both = ("--modalities", "image", "--modalities", "text")
    done = shop.json(
        "extract", "--model", "toy", "--data", "data", "--out", str(tmp_path / "b"), *both
    )
    assert done["statuses"] == {"image": {"ok": 40}, "text": {"ok": 40}}
