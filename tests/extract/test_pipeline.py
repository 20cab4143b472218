"""Extraction into a store: one row an item, whatever the items are, and never work done twice."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from typer.testing import CliRunner

from mmx.atomic import claimed
from mmx.cache.kind import STORE
from mmx.cache.store import open_store
from mmx.cli.app import app
from mmx.data.dataset import load_items
from mmx.errors import EncoderError, OptionError, StoreError, TargetError
from mmx.extract.options import ExtractOptions
from tests.catalogue import plain_catalogue, write_items
from tests.extract.counting import Counting, content, run

SMALL = ExtractOptions(batch_size=4, part_size=10)


def test_one_row_an_item_in_table_order(tmp_path: Path) -> None:
    data, out = plain_catalogue(tmp_path / "d", 37), tmp_path / "toy.parquet"
    report = run(data, out)
    table = content(out)
    assert table["item_id"].to_pylist() == [f"i{n}" for n in range(37)]
    assert (report.items, report.encoded, report.reused) == (37, 37, 0)
    assert report.failures == {}
    assert table["text_tokens"].to_pylist() == [n + 1 for n in range(37)]
    for n in (0, 17, 36):  # the toy's first three numbers are the mean colour
        colour = np.array([5 * n, 255 - 5 * n, 128]) / 255
        np.testing.assert_allclose(table["image"][n].as_py()[:3], colour, atol=1e-6)
    assert [p.name for p in tmp_path.iterdir() if p.name != "d"] == ["toy.parquet"]


def test_batches_do_not_change_the_vectors(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path / "d", 33)
    run(data, tmp_path / "a.parquet")
    run(data, tmp_path / "b.parquet", batch_size=7, part_size=13, decode_threads=3)
    assert content(tmp_path / "a.parquet").equals(content(tmp_path / "b.parquet"))


def test_the_same_command_again_encodes_nothing(tmp_path: Path) -> None:
    data, out = plain_catalogue(tmp_path / "d", 12), tmp_path / "toy.parquet"
    run(data, out)
    before = out.read_bytes()
    encoder = Counting()
    report = run(data, out, encoder)
    assert (encoder.images, encoder.texts, report.reused) == (0, 0, 12)
    assert out.read_bytes() == before


def test_only_new_and_changed_items_are_encoded(tmp_path: Path) -> None:
    data, out = plain_catalogue(tmp_path / "d", 20), tmp_path / "toy.parquet"
    run(data, out)
    rows = load_items(data).table.select(["item_id", "image", "text"]).to_pylist()
    rows[3]["text"] = "changed"
    Image.new("RGB", (9, 9), "red").save(data / "images/5.png")
    rows.insert(0, {"item_id": "new", "image": None, "text": "a new item"})
    write_items(data, rows)
    encoder = Counting()
    report = run(data, out, encoder)
    assert (report.encoded, report.reused) == (3, 18)
    assert (encoder.images, encoder.texts) == (2, 3)
    run(data, tmp_path / "fresh.parquet")
    assert content(out).equals(content(tmp_path / "fresh.parquet"))


def test_an_interrupted_run_goes_on_and_ends_in_the_same_bytes(tmp_path: Path) -> None:
    data, out = plain_catalogue(tmp_path / "d", 40), tmp_path / "toy.parquet"
    run(data, tmp_path / "whole.parquet")
    with pytest.raises(KeyboardInterrupt):
        run(data, out, Counting(fail_after=25))
    assert not out.exists()
    with pytest.raises(StoreError, match="finish it by the same"):
        open_store(out)
    encoder = Counting()
    report = run(data, out, encoder)
    assert (report.reused, encoder.images) == (20, 20)  # two parts of ten were finished
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not out.with_name("toy.parquet.parts").exists()


def broken_catalogue(directory: Path) -> Path:
    (directory / "folder.jpg").mkdir(parents=True)
    (directory / "empty.jpg").touch()
    (directory / "text.jpg").write_text("not a picture")
    picture = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(picture, "JPEG")
    (directory / "cut.jpg").write_bytes(picture.getvalue()[:900])
    (directory / "good.jpg").write_bytes(picture.getvalue())
    names = ["folder.jpg", "empty.jpg", "text.jpg", "cut.jpg", "good.jpg", "gone.jpg", None]
    odd = [None, "", " \n", "two\x00words", "word " * 10_000, "\u202eشمس 🦔\u200b", "fine"]
    rows = [
        {"item_id": f"{n}", "image": image, "text": text}
        for n, (image, text) in enumerate(zip(names, odd, strict=True))
    ]
    return write_items(directory, rows)


def test_every_broken_input_is_a_row_with_a_reason(tmp_path: Path) -> None:
    out = tmp_path / "toy.parquet"
    report = run(broken_catalogue(tmp_path / "d"), out)
    rows = content(out).to_pylist()
    assert len(rows) == 7
    reasons = [row["image_status"] for row in rows]
    assert reasons[:3] == ["a directory, not a file", "empty file", "not an image"]
    assert "truncated" in reasons[3]
    assert reasons[4:] == ["ok", "file not found", "missing"]
    assert [row["image"] is None for row in rows] == [True] * 4 + [False, True, True]
    assert [row["text_status"] for row in rows] == ["missing"] * 3 + ["ok"] * 4
    assert [row["text"] is None for row in rows] == [True] * 3 + [False] * 4
    assert [row["text_tokens"] for row in rows][:5] == [None, None, None, 2, 64]
    assert [row["text_truncated"] for row in rows][3:] == [False, True, False, False]
    assert sum(report.failures.values()) == 5
    assert open_store(out).verify() == []


def test_retry_failed_encodes_only_failures(tmp_path: Path) -> None:
    data, out = broken_catalogue(tmp_path / "d"), tmp_path / "toy.parquet"
    run(data, out)
    assert run(data, out).encoded == 0
    assert run(data, out, retry_failed=True).encoded == 5
    (data / "empty.jpg").write_bytes((data / "good.jpg").read_bytes())
    assert run(data, out).encoded == 1  # a mended file is a changed input
    assert content(out)["image_status"][1].as_py() == "ok"


def test_removed_items_need_prune(tmp_path: Path) -> None:
    data, out = plain_catalogue(tmp_path / "d", 10), tmp_path / "toy.parquet"
    run(data, out)
    rows = load_items(data).table.select(["item_id", "image", "text"]).to_pylist()
    write_items(data, rows[2:])
    before = out.read_bytes()
    with pytest.raises(StoreError, match=r"holds 2 items that .* --prune"):
        run(data, out)
    assert out.read_bytes() == before
    report = run(data, out, prune=True)
    assert (report.removed, report.reused) == (2, 8)
    assert content(out)["item_id"].to_pylist() == [f"i{n}" for n in range(2, 10)]


def test_a_store_of_other_items_is_not_touched(tmp_path: Path) -> None:
    out = tmp_path / "toy.parquet"
    run(plain_catalogue(tmp_path / "d", 5), out)
    before = out.read_bytes()
    other = write_items(tmp_path / "e", [{"item_id": "x", "text": "other"}])
    with pytest.raises(StoreError, match="of other items"):
        run(other, out)
    assert out.read_bytes() == before
    assert not out.with_name("toy.parquet.parts").exists()
    assert run(other, out, overwrite=True).encoded == 1


class Foreign(Counting):
    """An encoder whose card differs."""

    def __init__(self) -> None:
        super().__init__()
        from dataclasses import replace

        self.card = replace(self.card, architecture="another", normalised=not self.card.normalised)


def test_stores_of_two_encoders_are_never_mixed(tmp_path: Path) -> None:
    data, out = plain_catalogue(tmp_path / "d", 30), tmp_path / "toy.parquet"
    with pytest.raises(KeyboardInterrupt):
        run(data, out, Counting(fail_after=15))
    with pytest.raises(StoreError, match="unfinished extraction that differs in architecture"):
        run(data, out, Foreign())
    run(data, out)
    before = out.read_bytes()
    with pytest.raises(StoreError, match=r"differs in architecture, normalised; .*--overwrite"):
        run(data, out, Foreign())
    with pytest.raises(StoreError, match="holds float32"):
        run(data, out, dtype="float16")
    assert out.read_bytes() == before


def test_two_processes_do_not_write_one_store(tmp_path: Path) -> None:
    data, out = plain_catalogue(tmp_path / "d", 5), tmp_path / "toy.parquet"
    with (
        claimed(out, STORE),
        pytest.raises(TargetError, match="another process"),
    ):
        run(data, out)


class Wrong(Counting):
    """Returns what no encoder may."""

    def __init__(self, result: np.ndarray) -> None:
        super().__init__()
        self.result = result

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        return np.repeat(self.result, len(pixels), axis=0)


@pytest.mark.parametrize(("result", "message"), [(np.ones((1, 3)), "shape"),
                                                 (np.full((1, 8), np.nan), "NaN")])  # fmt: skip
def test_an_encoder_that_returns_rubbish_stops_the_job(
    tmp_path: Path, result: np.ndarray, message: str
) -> None:
    data = plain_catalogue(tmp_path / "d", 5)
    with pytest.raises(EncoderError, match=message):
        run(data, tmp_path / "toy.parquet", Wrong(result))
    assert not (tmp_path / "toy.parquet").exists()


def test_a_store_of_several_files(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path / "d", 20)
    run(data, tmp_path / "one.parquet")
    words = ["extract", "--model", "toy", "--data", str(data), "--quiet", "--max-file-rows", "8"]
    words += ["--out", str(tmp_path / "several.parquet")]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    several, one = (open_store(tmp_path / f"{name}.parquet") for name in ("several", "one"))
    assert several.file_rows == (8, 8, 4)
    assert pa.Table.from_batches(several.batches()).equals(pa.Table.from_batches(one.batches()))
    with pytest.raises(OptionError, match="--max-file-rows 0: at least 1 is expected"):
        run(data, tmp_path / "x.parquet", max_file_rows=0)
    with pytest.raises(OptionError, match=r"s3://b/x\.parquet .* drop --max-file-rows"):
        run(data, "s3://b/x.parquet", max_file_rows=8)  # type: ignore[arg-type]


def test_an_empty_catalogue_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no rows"):
        run(write_items(tmp_path / "d", []), tmp_path / "toy.parquet")


def test_contradictory_options() -> None:
    with pytest.raises(OptionError, match="--retry-failed"):
        ExtractOptions(overwrite=True, retry_failed=True)
    with pytest.raises(OptionError, match="--batch-size 0: at least 1"):
        ExtractOptions(batch_size=0)
