"""From YAML to dataclasses, strictly: what is unknown, missing or of another kind is an error."""

from __future__ import annotations

import os
import reprlib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from mmx.errors import OptionError, suggestion


class _Loader(yaml.SafeLoader):
    """YAML in which a key that occurs twice is an error, not the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                line = node.value[place][0].start_mark.line + 1
                raise OptionError(f"line {line}: '{key}' is there twice; rename one")
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises OptionError when there is none."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a SafeLoader
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}; give a plan's path") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} is not UTF-8 ({error.reason}); save it as UTF-8") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:  # the last two for 2020-99-99 …
        raise OptionError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise OptionError(f"{path} is nested too deeply for a plan") from error


def placed(base: Path, text: str) -> Path:
    """A path of a plan: relative to ``base``, and without its dots."""
    return Path(os.path.normpath(base / Path(text).expanduser()))


def _short(value: Any) -> str:
    """A value as an error shows it, whatever its size: aliases make endless ones in a few lines."""
    return reprlib.repr(value)


@dataclass(frozen=True)
class Reader:
    """Builds dataclasses; paths are relative to ``base``."""

    base: Path

    def build(self, kind: type, value: Any, where: str) -> Any:
        """A ``kind`` from a mapping.

        A class with a field ``options`` that is a dataclass takes that one's keys besides its
        own. Raises OptionError that says where and what is known.
        """
        value = {} if value is None else value
        if not isinstance(value, Mapping):
            raise OptionError(f"{where}: keys and values are expected, not {_short(value)}")
        hints = typing.get_type_hints(kind)
        inner = hints.pop("options", None)
        names = [*hints, *(f.name for f in fields(inner))] if inner else list(hints)
        for key in value:
            if key not in names:
                named = str(key)[:40]
                raise OptionError(f"{where}: unknown key '{named}'{suggestion(named, names)}")
        for f in fields(kind):
            required = f.default is MISSING and f.default_factory is MISSING
            if required and f.name in hints and f.name not in value:
                raise OptionError(f"{where}: '{f.name}' is missing")
        given = {
            k: self.convert(hints[k], v, f"{where}.{k}") for k, v in value.items() if k in hints
        }
        if inner:
            rest = {key: v for key, v in value.items() if key not in hints}
            given["options"] = self.build(inner, rest, where)
        try:
            return kind(**given)
        except OptionError as error:  # what the class itself refuses
            raise OptionError(f"{where}: {error}") from error

    def convert(self, hint: Any, value: Any, where: str) -> Any:
        """``value`` as the type hint says it."""
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        if origin in (types.UnionType, typing.Union):
            if value is None:
                return None
            (hint,) = (kind for kind in inner if kind is not type(None))
            return self.convert(hint, value, where)
        if is_dataclass(hint):
            return self.build(typing.cast(type, hint), value, where)
        if origin is tuple:
            if not isinstance(value, list):
                raise OptionError(f"{where}: a list is expected, not {_short(value)}")
            return tuple(self.convert(inner[0], v, f"{where}[{n}]") for n, v in enumerate(value))
        if origin is dict:
            if not isinstance(value, Mapping):
                raise OptionError(f"{where}: keys and values are expected, not {_short(value)}")
            return {str(k): self.convert(inner[1], v, f"{where}.{k}") for k, v in value.items()}
        return value if hint is Any else self._plain(hint, value, where)

    def _plain(self, kind: type, value: Any, where: str) -> Any:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind is Path and isinstance(value, str):
            return placed(self.base, value)
        if kind is float and (number or isinstance(value, str)):  # YAML takes 1e-3 for a word
            try:
                return float(value)
            except ValueError:
                pass
        elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        raise OptionError(f"{where}: {kind.__name__} is expected, not {_short(value)}")
