"""The contracts of an encoder and of a source: every hook has a default, and it is used."""

from __future__ import annotations

import inspect
import pickle
import re
from pathlib import Path

import pytest

import mmx
from mmx.errors import OptionError
from mmx.extract import encoder as contract
from mmx.extract.encoder import Device, Encoder, Plain
from mmx.extract.encoders.records import EncoderRecord
from mmx.extract.encoders.toy import Toy
from mmx.extract.pipeline import extract
from mmx.extract.sources.paths import Paths
from mmx.extract.sources.source import Source, as_source
from mmx.extract.sources.web import Web
from mmx.extract.stages.read import Readers
from tests.catalogue import plain_catalogue

ROOM = Path(contract.__file__).parents[1]
LOOKED_FOR = re.compile(r"(has|get)attr\(\s*(self\.)?(encoder|source)\b")


def test_no_hook_is_looked_for_by_its_name() -> None:
    found = {path for path in ROOM.rglob("*.py") if LOOKED_FOR.search(path.read_text())}
    assert found == set()


def test_the_defaults_of_an_encoder() -> None:
    toy = Toy()
    assert isinstance(toy.hardware, Plain)
    assert toy.in_precision("bfloat16") is None
    with pytest.raises(OptionError, match=r"toy cannot be compiled; drop --compile"):
        toy.compiled()
    for run, what in (
        (Encoder.encode_image, "image pass"),
        (Encoder.tokenize, "tokenizer"),
        (Encoder.encode_text, "text pass"),
    ):
        with pytest.raises(NotImplementedError, match=f"toy has no {what}"):
            run(toy, None)
    with pytest.raises(NotImplementedError, match="toy has no fused pass"):
        Encoder.encode_fused(toy, None, None)


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path / "d", 3)
    expected = r"a \w+ is not an encoder; a name such as 'clip' is expected, or a sub"
    for run in (mmx.encode, extract):
        with pytest.raises(OptionError, match=expected):
            run(mmx.load_items(data), tmp_path, tmp_path / "x.parquet")


def test_plain_has_all_that_a_device_has() -> None:
    names = {name for name in vars(Device) if not name.startswith("_")}
    assert {"lanes", "batch_sizes", "fast_precision", "device", "session"} <= names
    assert names <= set(dir(Plain))


def test_the_defaults_of_a_source() -> None:
    source = Source()
    assert (source.readers, source.has_hosts, source.per_host) == (4, False, None)
    assert source.host("a") is source.identity("a") is None
    assert source.share(3) is source
    with pytest.raises(NotImplementedError):
        source("a")
    with Readers(source) as readers:
        assert readers.each == readers.count == 4


def test_a_function_is_a_source() -> None:
    source = as_source(str.encode)
    assert source("a") == b"a"
    assert as_source(source) is source
    assert pickle.loads(pickle.dumps(source))("b") == b"b"


def test_what_paths_say_of_hosts() -> None:
    web, folder = Web(connections=8, per_host=2), Path("pictures")
    here, elsewhere = Paths(folder, web, remote=False), Paths(folder, web)
    assert (here.readers, here.has_hosts) == (4, False)
    assert (elsewhere.readers, elsewhere.has_hosts, elsewhere.per_host) == (8, True, 2)
    assert elsewhere.host("https://shop.example/1.png") == "shop.example"
    assert elsewhere.host("1.png") is elsewhere.host("s3://bucket/1.png") is None
    assert elsewhere.share(2).per_host == 1


def test_records_are_written_by_keyword() -> None:
    parameters = inspect.signature(EncoderRecord).parameters.values()
    assert {each.kind for each in parameters} == {inspect.Parameter.KEYWORD_ONLY}


class OldSource:
    """It has what a Source has, and is none."""

    readers = 32

    def __call__(self, image: str) -> bytes:
        return b""


@pytest.mark.parametrize("source", [OldSource(), 5])
def test_a_source_whose_hooks_would_be_ignored_is_refused(tmp_path: Path, source: object) -> None:
    items = mmx.load_items(plain_catalogue(tmp_path / "d", 3))
    with pytest.raises(OptionError, match=r"readers but is not a Source|source is a int"):
        extract(items, Toy(), tmp_path / "x.parquet", source=source)  # type: ignore[arg-type]
    assert not (tmp_path / "x.parquet").exists()
