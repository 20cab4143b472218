"""What an encoder may have besides its passes, and what holds where it has not."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from mmx.errors import OptionError
from mmx.extract import encoder as contract
from mmx.extract.encoder import Device, Plain, compiled, hardware_of, in_precision
from mmx.extract.encoders.records import EncoderRecord
from mmx.extract.encoders.toy import Toy

ROOM = Path(contract.__file__).parents[1]
LOOKED_FOR = re.compile(r"(has|get)attr\(\s*(self\.)?encoder\b")


class Able(Toy):
    """Has all that may be had."""

    hardware = Plain()

    def in_precision(self, precision: str) -> Able:
        """Itself, whatever the precision."""
        self.asked = precision
        return self

    def compiled(self) -> Able:
        """Itself."""
        self.asked = "compiled"
        return self


def test_nothing_is_looked_for_outside_the_contract() -> None:
    found = {path for path in ROOM.rglob("*.py") if LOOKED_FOR.search(path.read_text())}
    assert found == {Path(contract.__file__)}


def test_the_defaults() -> None:
    toy = Toy()
    assert isinstance(hardware_of(toy), Plain)
    assert in_precision(toy, "bfloat16") is None
    with pytest.raises(OptionError, match=r"toy cannot be compiled; drop --compile"):
        compiled(toy)


def test_what_an_encoder_has_is_used() -> None:
    able = Able()
    assert hardware_of(able) is Able.hardware
    assert in_precision(able, "float16") is able
    assert able.asked == "float16"
    assert compiled(able) is able
    assert able.asked == "compiled"


def test_plain_has_all_that_a_device_has() -> None:
    names = {name for name in vars(Device) if not name.startswith("_")}
    assert {"lanes", "batch_sizes", "fast_precision", "device", "session"} <= names
    assert names <= set(dir(Plain))


def test_records_are_written_by_keyword() -> None:
    parameters = inspect.signature(EncoderRecord).parameters.values()
    assert {each.kind for each in parameters} == {inspect.Parameter.KEYWORD_ONLY}
