"""Whole extractions that decode JPEGs on a device (here a CPU), and their options."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mmx.cache.store import open_store
from mmx.cli.app import app
from mmx.data.dataset import load_items
from mmx.errors import EncoderError, OptionError, StoreError
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pictures import jpegs
from mmx.extract.pictures.decoding import decode_jpegs
from mmx.extract.pipeline import extract
from mmx.extract.planning import Block, with_rows
from mmx.extract.sources import source_for
from mmx.extract.stages.progress import Progress
from mmx.extract.workers import job as jobs
from mmx.extract.workers.job import JobSpec, Recipe, Worker, loader_for
from tests.catalogue import write_items
from tests.extract.odd_jpegs import BROKEN, brighter, catalogue, spied
from tests.extract.photographs import COSINE

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")

OPTIONS = ExtractOptions(batch_size=8, part_size=16, decode_threads=2)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return spied(monkeypatch)


def test_a_whole_extraction(tmp_path: Path, calls: list[int]) -> None:
    items = load_items(catalogue(tmp_path / "d"))
    stores = {}
    for way in ("fast", "gpu"):
        encoder = open_encoder("clip:mini", modalities=("image",), decode=way)
        calls.clear()
        extract(items, encoder, tmp_path / way, OPTIONS)
        stores[way] = open_store(tmp_path / way)
    assert max(calls) == OPTIONS.batch_size  # a list as long as can be
    assert sum(n for n in calls if n > 1) >= 20
    assert [store.card.image_rule["decode"] for store in stores.values()] == ["fast", "gpu"]  # type: ignore[index]
    fast, gpu = (pq.read_table(tmp_path / way) for way in stores)
    for column in ("item_id", "image_status", "content_hash"):
        assert fast[column].to_pylist() == gpu[column].to_pylist()
    assert fast["image"].null_count == gpu["image"].null_count == len(BROKEN)
    one, two = (np.stack(table["image"].drop_null().to_numpy()) for table in (fast, gpu))
    assert (one * two).sum(axis=1).min() >= COSINE
    assert (one != two).any()


def test_a_decoder_that_is_off_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = load_items(catalogue(tmp_path / "d"))
    encoder = open_encoder("clip:mini", modalities=("image",), decode="gpu")
    monkeypatch.setattr(jpegs, "decode_jpegs", brighter)
    with pytest.raises(EncoderError, match="drop --gpu-decode"):
        extract(items, encoder, tmp_path / "out.parquet", OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_worker_decodes_as_the_coordinator(tmp_path: Path, calls: list[int]) -> None:
    items = load_items(catalogue(tmp_path / "d"))
    recipe = Recipe("clip:mini", {"modalities": ("image",), "decode": "gpu"})
    encoder = recipe.open("cpu")
    extract(items, encoder, tmp_path / "one.parquet", OPTIONS)
    whole = pq.read_table(tmp_path / "one.parquet")
    calls.clear()
    job = JobSpec.of(encoder.card, OPTIONS, source_for(items), 8)
    worker, found = Worker(recipe, job, "cpu", 1, 1), {}
    assert calls == [1]  # whether it can decode at all
    blocks = [Block(n, np.arange(16 * n, min(16 * n + 16, len(items)))) for n in range(3)]
    worker.run(with_rows(items.table, blocks), found.__setitem__, Progress())
    assert sum(calls) > 20
    rows = pa.concat_tables([found[n] for n in range(3)])
    assert rows["image"].to_pylist() == whole["image"].to_pylist()
    fast = Recipe("clip:mini", {"modalities": ("image",), "decode": "fast"})
    with pytest.raises(EncoderError, match="differs in image_rule"):
        Worker(fast, job, "cpu", 1, 1)


def test_other_ways_do_not_ask_the_device(calls: list[int]) -> None:
    for way in ("exact", "fast"):
        encoder = open_encoder("clip:mini", modalities=("image",), decode=way)
        assert loader_for(encoder, lambda name: b"").jpegs is None
    assert calls == []


@pytest.mark.parametrize(
    ("spec", "options", "said"),
    [
        ("toy", {}, "toy decodes no pictures on a GPU; drop --gpu-decode"),
        ("clip:mini", {"modalities": ("text",)}, "clip:mini decodes no pictures on a GPU; drop"),
        ("clip:mini", {"interpolation": "lanczos"}, "no lanczos filter on a GPU; drop"),
    ],
)
def test_encoders_that_have_no_use_for_it(spec: str, options: dict, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        open_encoder(spec, decode="gpu", **options)


@pytest.mark.parametrize("error", [ImportError("no decoder"), RuntimeError("no nvJPEG\nsupport")])
def test_a_device_that_cannot_decode(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(jpegs, "decode_jpegs", broken)
    said = r"cpu decodes no JPEGs \(no (decoder|nvJPEG)\); drop --gpu-decode"
    with pytest.raises(OptionError, match=said):
        open_encoder("clip:mini", decode="gpu")
    monkeypatch.setattr(jpegs, "decode_jpegs", decode_jpegs)
    monkeypatch.setattr(jpegs, "resized_together", broken)
    with pytest.raises(OptionError, match=said):
        open_encoder("clip:mini", decode="gpu")


def mmx(data: Path, *arguments: str) -> None:
    command = ["extract", "--model", "clip:mini", "--modalities", "image", "--data", str(data)]
    CliRunner().invoke(app, [*command, "--quiet", *arguments], catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--exact", "--device", "cuda"), "drop it, or --exact"),
        ((), "--gpu-decode: there is no GPU here that torch can use; drop it"),
        (("--device", "cpu"), "--gpu-decode with --device cpu: --device cuda, or drop it"),
        (("--device", "cuda:0,cpu"), "with --device cuda:0,cpu"),
    ],
)
def test_options_that_contradict(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    data = write_items(tmp_path, [{"item_id": "a"}])
    with pytest.raises(OptionError, match=said):
        mmx(data, "--gpu-decode", *arguments)


def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[int]
) -> None:
    """As far as the encoder's device, here a CPU."""

    def on_cpu(spec: str, *, device: str, **options: object) -> object:
        devices.append(device)
        return open_encoder(spec, device="cpu", **options)  # type: ignore[arg-type]

    devices: list[str] = []
    monkeypatch.setattr(jobs, "open_encoder", on_cpu)
    data, out = catalogue(tmp_path / "d"), tmp_path / "s.parquet"
    mmx(data, "--gpu-decode", "--device", "cuda", "--out", str(out))
    assert devices == ["cuda"]
    assert sum(calls) > 20
    assert (open_store(out).card.image_rule or {})["decode"] == "gpu"
    for arguments, hint in (
        ((), "image_rule; its pictures were decoded with --gpu-decode; set"),
        (("--exact",), "image_rule; its pictures were decoded with --gpu-decode; set"),
    ):
        with pytest.raises(StoreError, match=hint):
            mmx(data, "--out", str(out), *arguments)
    mmx(data, "--overwrite", "--out", str(out))
    with pytest.raises(
        StoreError,
        match="image_rule; its pictures were decoded without --exact and --gpu-decode; set",
    ):
        mmx(data, "--gpu-decode", "--device", "cuda", "--out", str(out))
