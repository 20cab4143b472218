"""Vectors that are neither of images nor of texts, through every command that takes a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.cli.conftest import Shop

pytestmark = pytest.mark.slow

ITEMS = 40
CONVERT = ("store", "convert", "vectors", "--from", "npy", "--encoder", "vggish")


def write_vectors(folder: Path, **dimensions: int) -> None:
    """NAME.npy of each name and ids.txt; the fourth item has no vector."""
    folder.mkdir(exist_ok=True)
    for seed, (name, d) in enumerate(dimensions.items()):
        vectors = np.random.default_rng(seed).normal(size=(ITEMS, d)).astype(np.float32)
        vectors[3] = np.nan
        np.save(folder / f"{name}.npy", vectors)
    (folder / "ids.txt").write_text("".join(f"i{n}\n" for n in range(ITEMS)))


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Items, interactions, and cache/av.parquet with audio and review."""
    studio = Shop(tmp_path_factory.mktemp("studio"))
    plain_catalogue(studio.path / "data", items=ITEMS)
    write_interactions(studio.path / "data", random_log(30, ITEMS, 12))
    write_vectors(studio.path / "vectors", audio=5, review=4)
    said = studio.mmx(*CONVERT, "--out", "cache/av.parquet").stderr
    assert "cache/av.parquet: 40 rows, 1 without audio, 1 without review" in said
    return studio


def test_info_and_sql_know_them_by_name(studio: Shop) -> None:
    facts = studio.json("info", "cache/av.parquet", "--verify")
    assert facts["card"]["dimensions"] == {"audio": 5, "review": 4}
    assert facts["statuses"] == {name: {"ok": 39, "missing": 1} for name in ("audio", "review")}
    assert facts["verified"] is True
    query = (
        "select count(audio) as a, count(review) as r, any_value(audio_status) as s, "
        "max(array_cosine_similarity(audio, audio)) > 0.99 as same from av where item_id <> 'i1'"
    )
    assert studio.json("sql", query) == [{"a": 38, "r": 38, "s": "ok", "same": True}]


def test_filter_merge_and_diff(studio: Shop) -> None:
    filtered = ("store", "filter", "cache/av.parquet", "--out", "cache/some.parquet")
    assert studio.json(*filtered, "--where", "audio_status = 'ok'")["rows"] == 39
    both = ("cache/some.parquet", "cache/av.parquet")
    assert studio.json("store", "merge", *both, "--out", "cache/all.parquet")["rows"] == 40
    pair = ("store", "diff", "cache/av.parquet")
    assert studio.json(*pair, "cache/all.parquet", "--exit-code")["equal"] is True
    studio.mmx("extract", "--model", "toy", "--data", "data")
    other = studio.json(*pair, "cache/toy.parquet")
    assert {"audio", "review", "image"} <= set(other["incomparable"])
    said = studio.refused("store", "merge", "cache/av.parquet", "cache/toy.parquet", "--out", "x")
    assert "holds audio, review" in said


@pytest.mark.parametrize("layout", ["npy", "safetensors", "embeddings"])
def test_there_and_back(studio: Shop, layout: str) -> None:
    folder, back = f"as-{layout}", f"cache/of-{layout}.parquet"
    studio.mmx("store", "convert", "cache/av.parquet", "--to", layout, "--out", folder)
    studio.mmx("store", "convert", folder, "--from", layout, "--out", back)
    found = studio.json("store", "diff", "cache/av.parquet", back, "--exit-code")
    assert (found["equal"], found["same_order"], found["card"]) == (True, True, {})
    assert studio.json("info", back)["statuses"]["review"] == {"ok": 39, "missing": 1}


def test_mmrec_keeps_its_own_names(studio: Shop) -> None:
    said = studio.refused("store", "convert", "cache/av.parquet", "--to", "mmrec", "--out", "x")
    assert "holds audio, review; MMRec takes image, text" in said
    write_vectors(studio.path / "mixed", image=3, audio=5)
    mixed = ("store", "convert", "mixed", "--from", "npy", "--encoder", "two")
    studio.mmx(*mixed, "--out", "cache/mixed.parquet")
    to = ("store", "convert", "cache/mixed.parquet", "--to", "mmrec", "--out", "baby")
    assert studio.json(*to)["left_out"] == ["audio"]


def trained(studio: Shop, model: str, *options: str, features: str = "cache/av.parquet") -> Any:
    """The config of a run of one epoch; its directory is runs/MODEL."""
    epochs = () if model in ("itemknn-cbf", "ease-content") else ("--epochs", "1")
    studio.mmx("train", "--model", model, "--features", features, "--data", "data", *epochs,
               "--out", f"runs/{model}", "--overwrite", *options)  # fmt: skip
    return json.loads((studio.path / f"runs/{model}/config.json").read_text())


@pytest.mark.parametrize("model", ["vbpr", "lattice", "mmgcn"])
def test_models_take_them(studio: Shop, model: str) -> None:
    config = trained(studio, model)
    assert [f["modality"] for f in config["features"]] == ["audio", "review"]
    assert len(studio.json("recommend", f"runs/{model}", "--user", "u1", "--k", "3")) == 3


@pytest.mark.parametrize("model", ["itemknn-cbf", "ease-content"])
def test_weights_name_them(studio: Shop, model: str) -> None:
    config = trained(studio, model, "--set", "weights=audio:0.3,review:0.7")
    assert config["settings"]["weights"] == "audio:0.3,review:0.7"


def test_some_of_them_are_chosen(studio: Shop) -> None:
    config = trained(studio, "ease-content", features="cache/av.parquet:review")
    assert [f["modality"] for f in config["features"]] == ["review"]
    wrong = ("train", "--features", "cache/av.parquet:adio", "--data", "data", "--out", "runs/no")
    assert "no modality 'adio'; did you mean 'audio'?" in studio.refused(*wrong, code=2)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("item_id", "a store has such columns of its own"),
        ("Content_Hash", "a store has such columns of its own"),
        ("text_tokens", "a store has such columns of its own"),
        ("image_status", "a store has such columns of its own"),
        ("mmx_row", "a store has such columns of its own"),
        ("my audio", "letters, digits, _ and - after a letter are expected"),
        ("audio,review", "letters, digits, _ and - after a letter are expected"),
        ("a:b", "letters, digits, _ and - after a letter are expected"),
        ("a.b", "letters, digits, _ and - after a letter are expected"),
        ("1st", "letters, digits, _ and - after a letter are expected"),
    ],
)
def test_unfit_names_are_one_line(tmp_path: Path, name: str, said: str) -> None:
    shop = Shop(tmp_path)
    write_vectors(tmp_path / "vectors", **{name: 3})
    line = shop.refused(*CONVERT, "--out", "x.parquet")
    assert f"'{name}' cannot name vectors: {said}" in line
    assert "rename it, or move it elsewhere" in line
    assert not (tmp_path / "x.parquet").exists()


def test_what_else_may_lie_in_the_folder(tmp_path: Path) -> None:
    shop, folder = Shop(tmp_path), tmp_path / "vectors"
    write_vectors(folder, audio=3)
    np.save(folder / "labels.npy", np.arange(ITEMS))
    said = shop.refused(*CONVERT, "--out", "x.parquet")
    assert "labels.npy holds int64" in said
    assert "move other files elsewhere" in said
    (folder / "labels.npy").unlink()
    (folder / "._audio.npy").write_bytes(b"what macOS leaves on other disks")
    write_vectors(folder, Audio=3)
    assert "are one column in SQL" in shop.refused(*CONVERT, "--out", "x.parquet")
    (folder / "Audio.npy").unlink()
    shop.mmx(*CONVERT, "--out", "x.parquet")
    shop.mmx("store", "convert", "x.parquet", "--to", "npy", "--out", "back")
    write_vectors(tmp_path / "back", review=2)
    said = shop.refused("store", "convert", "back", "--from", "npy", "--out", "y.parquet")
    assert "back holds audio, review, but back/card.json names audio" in said


def test_tensors_of_safetensors(tmp_path: Path) -> None:
    """Matrices of floats are vectors by their names; others are left out."""
    shop, folder = Shop(tmp_path), tmp_path / "vectors"
    write_vectors(folder)
    convert = ("store", "convert", "vectors", "--from", "safetensors", "--encoder", "e", "--out")
    vectors = np.ones((ITEMS, 2), np.float32)
    save_file({"video": vectors, "labels": np.arange(ITEMS)}, folder / "v.safetensors")
    shop.mmx(*convert, "x.parquet")
    assert shop.json("info", "x.parquet")["card"]["dimensions"] == {"video": 2}
    save_file({"encoder.weight": vectors}, folder / "v.safetensors")
    assert "'encoder.weight' cannot name vectors" in shop.refused(*convert, "y.parquet")


def test_names_that_torch_has_too(tmp_path: Path) -> None:
    """Modules are kept by the modality's name, and have attributes of their own."""
    shop = Shop(tmp_path)
    plain_catalogue(tmp_path / "data", items=ITEMS)
    write_interactions(tmp_path / "data", random_log(30, ITEMS, 12))
    write_vectors(tmp_path / "vectors", keys=4, type=3)
    shop.mmx(*CONVERT, "--out", "cache/av.parquet")
    for model in ("vbpr", "slmrec"):
        config = trained(shop, model)
        assert [f["modality"] for f in config["features"]] == ["keys", "type"]


def test_img_is_what_embeddings_call_the_image(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    write_vectors(tmp_path / "vectors", img=3)
    shop.mmx(*CONVERT, "--out", "a.parquet")
    to = ("store", "convert", "a.parquet", "--to", "embeddings", "--out", "x")
    assert "a.parquet holds img; use another layout" in shop.refused(*to)
