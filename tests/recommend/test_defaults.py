"""Settings read from source are those of the class itself."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import pytest

from mmx.errors import RunError
from mmx.recommend.defaults import defaults_of
from mmx.recommend.models import MODELS, ModelRecord

OTHER = """
from __future__ import annotations
import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar
from listed_base import Base as Common, NARROW

@dataclass(frozen=True)
class Config(Common):
    kind: ClassVar[str] = "x"
    low: float = -1.5
    dim: int = 3
    names: tuple[str, ...] = ("a", "b")
    width: int = NARROW
    reg: float = field(default=0.25, metadata={"unit": "users"})
    other = 4

    def method(self) -> None:
        local: int = 5
"""
BASE = """
import dataclasses
NARROW = 8

class Plain:
    plain: int = 1

@dataclasses.dataclass(frozen=True)
class Base(Plain):
    dim: int = 64
    last: str | None = None
"""


@pytest.mark.parametrize("record", MODELS.values(), ids=MODELS)
def test_they_are_those_of_the_class(record: ModelRecord) -> None:
    expected = [(f.name, f.default) for f in fields(record.load().Config)]
    assert list(record.defaults().items()) == expected
    assert [type(v) for v in record.defaults().values()] == [type(v) for _, v in expected]


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "listed_base.py").write_text(BASE)
    (tmp_path / "listed_model.py").write_text(OTHER)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_module_of_another_shape(other: Path) -> None:
    """Fields of a base that is a dataclass come first; class variables are no fields."""
    assert list(defaults_of("listed_model").items()) == [
        ("dim", 3), ("last", None), ("low", -1.5), ("names", ("a", "b")), ("width", "NARROW"),
        ("reg", 0.25),
    ]  # fmt: skip
    assert "listed_model" not in sys.modules


def test_what_has_no_config(other: Path) -> None:
    (other / "listed_empty.py").write_text("x = 1\n")
    with pytest.raises(RunError, match="listed_empty has no class Config"):
        defaults_of("listed_empty")


def test_what_has_no_source() -> None:
    for name in ("listed_absent", "listed_absent.model", "itertools"):
        with pytest.raises(RunError, match=f"no source file of the module {name}"):
            defaults_of(name)
