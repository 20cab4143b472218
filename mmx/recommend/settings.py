"""A model's Config from ``--set NAME=VALUE``."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from mmx.errors import OptionError, suggestion
from mmx.recommend.records import ModelRecord


def parse_settings(record: ModelRecord, settings: Sequence[str]) -> Any:
    """``NAME=VALUE`` strings to the model's Config. Raises OptionError on anything else."""
    kind = record.load().Config
    types = typing.get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise OptionError(f"--set {setting}: NAME=VALUE is expected")
        if name not in known:
            raise OptionError(f"--set {name}: {record.name} has no such setting"
                              f"{suggestion(name, known)}")  # fmt: skip
        if name in values:
            raise OptionError(f"--set {name} is given twice; drop one")
        values[name] = _parsed(name, text, types[name])
    return replace(kind(), **values)


def _parsed(name: str, text: str, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError) as error:
        raise OptionError(f"--set {name}={text[:80]}: {kind.__name__} is expected") from error
