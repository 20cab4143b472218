"""Encoders of the user's own: what their stores keep, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import mmx
from mmx.errors import EncoderError, OptionError, StoreError
from mmx.extract.encoders import code_of, listing, open_encoder
from mmx.extract.pipeline import extract
from mmx.own.code import Code
from mmx.testing import check_encoder
from tests.catalogue import plain_catalogue
from tests.own.packages import ENCODER, install


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(ENCODER)
    return tmp_path / "mine.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_catalogue(tmp_path_factory.mktemp("shop") / "data", 5)


def test_a_store_of_a_changed_file_is_not_continued(data: Path, file: Path) -> None:
    store, spec = file.with_name("s.parquet"), f"{file}:Letters"
    assert mmx.encode(data, spec, store, code=file).encoded == 5
    assert mmx.encode(data, spec, store, code=file).encoded == 0
    file.write_text(f"{ENCODER}\n# changed\n")
    said = (
        r"differs in extra; the code of mine\.py:Letters has changed \(its SHA-256 is another\); "
    )
    with pytest.raises(StoreError, match=said):
        mmx.encode(data, spec, store, code=file)
    assert mmx.encode(data, spec, store, mmx.ExtractOptions(overwrite=True), code=file).encoded == 5


def test_nor_are_its_parts(data: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, spec = file.with_name("s.parquet"), f"{file}:Letters"
    monkeypatch.setattr("mmx.extract.pipeline._Job.merge", lambda self, *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        mmx.encode(data, spec, store, code=file)
    file.write_text(f"{ENCODER}\n# changed\n")
    with pytest.raises(StoreError, match=r"unfinished .* the code of mine\.py:Letters has changed"):
        mmx.encode(data, spec, store, code=file)


def test_the_folder_is_not_in_the_card(data: Path, file: Path) -> None:
    other = file.parent / "other"
    other.mkdir()
    (other / "mine.py").write_text(ENCODER)
    one, two = (open_encoder(f"{f}:Letters", code=f).card for f in (file, other / "mine.py"))
    assert one == two
    assert str(file.parent) not in one.to_json()


def test_options_that_it_does_not_take_are_refused(file: Path) -> None:
    spec = f"{file}:Letters"
    for options, said in (
        ({"head": "x"}, "--head is not used by"),
        ({"weights": file}, r"--weights is not used by mine\.py:Letters"),
        ({"precision": "bfloat16"}, r"mine\.py:Letters computes in float32; drop --precision"),
        ({"modalities": ["image"]}, "--modalities image: mine.py:Letters encodes text; drop it"),
    ):
        with pytest.raises(OptionError, match=said):
            open_encoder(spec, code=file, **options)  # type: ignore[arg-type]
    taking = ENCODER.replace("image_rule = None", 'image_rule = None\n    takes = ("weights",)')
    file.write_text(taking.replace('weights="none"', "weights=request.weights.name"))
    assert open_encoder(spec, code=file, weights=file).card.weights == "mine.py"


def test_only_what_is_named_is_code(file: Path) -> None:
    with pytest.raises(OptionError, match=f"it: --code {file}"):
        open_encoder(f"{file}:Letters")
    assert [code_of(name) for name in ("clip:mini", "toy", "tim:resnet50", "vlmo")] == [()] * 4
    with pytest.raises(EncoderError, match="did you mean 'timm'"):
        open_encoder("tim:resnet50")
    assert code_of(f"{file}:Letters") == (Code.named(file),)
    with pytest.raises(OptionError, match="names a file and no class"):
        code_of(str(file))


def test_they_are_not_fine_tuned(data: Path, file: Path) -> None:
    for encoder in (f"{file}:Letters", open_encoder(f"{file}:Letters", code=file)):
        with pytest.raises(OptionError, match=r"mine\.py:Letters .*cannot be fine-tuned; clip"):
            mmx.finetune(data, encoder, file.with_name("run"))


def test_encoders_of_packages(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "ownletters", encoders={"letters": "ownletters.letters:Letters"})
    shown = {record.spec: record for record in listing()}["letters"]
    assert (shown.library, shown.dimensions) == ("ownletters 1.0", {})
    assert "ownletters" not in sys.modules
    mmx.encode(data, "letters", tmp_path / "s.parquet")
    card = json.loads(pq.read_schema(tmp_path / "s.parquet").metadata[b"mmx.card"])
    assert (card["name"], card["extra"]["code"]["package"]) == ("letters", "ownletters 1.0")
    by_module = open_encoder("ownletters.letters:Letters", code="ownletters.letters").card
    assert by_module.extra["code"]["sha256"] == card["extra"]["code"]["sha256"]


def test_the_kit_says_what_is_wrong(file: Path) -> None:
    check_encoder(f"{file}:Letters", code=file)
    check_encoder(type(open_encoder(f"{file}:Letters", code=file).inner))  # type: ignore[attr-defined]
    for old, new, said in (
        ("(len(text), text", "(len(batch.tokens), text", "text, in a batch and alone"),
        ("np.int32", "np.int64", "tokenize gives count of int64"),
        ("normalised=False", "normalised=True", "norms of text"),
        ('(len(text), text.count("e"))', "(3, 0)", "all text vectors are the same"),
    ):
        assert old in ENCODER
        file.write_text(ENCODER.replace(old, new))
        with pytest.raises(AssertionError, match=rf"^mine\.py:Letters: .*{said}"):
            check_encoder(f"{file}:Letters", code=file)


def test_an_open_one_goes_anywhere(data: Path, file: Path) -> None:
    encoder = open_encoder(f"{file}:Letters", code=file)
    report = extract(mmx.load_items(data), encoder, file.with_name("s.parquet"))
    assert report.encoded == 5
