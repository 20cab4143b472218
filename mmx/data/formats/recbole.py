"""RecBole's atomic files: cells divided by tabs, names with their types in the first line.

    NAME.inter   user_id:token, item_id:token, rating:float, timestamp:float, weight:float
    NAME.item    item_id:token, and what else is known of an item

NAME.train.inter, NAME.valid.inter and NAME.test.inter are a given split.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmx.data.formats.cells import NUMBERS, cell, header, log_layout, place_of
from mmx.data.formats.options import ImportSource
from mmx.data.formats.workspace import Column, Layout
from mmx.data.quoting import quoted
from mmx.errors import DataError, first_few

TEXT = ""
COLUMNS = ()  # not known before the files are read
KINDS = ("token", "token_seq", "float", "float_seq")
MEMBERS = ("*.inter", "*.inter.gz", "*.item", "*.item.gz")
PARTS = ("train", "valid", "test")
LOG = {name: name for name in ("user_id", "item_id", *NUMBERS)}


def load(source: ImportSource) -> None:
    """Read the files of interactions, and of items where there are some. Raises DataError."""
    files = source.files(*MEMBERS)
    logs = [path for path in files if _kind(path) == "inter"]
    items = [path for path in files if _kind(path) == "item"]
    others = [path for path in files if path not in logs + items]
    if others:
        raise DataError(f"{first_few(others)}: a .inter or .item file is expected")
    parts = {path: _part(path) for path in logs}
    if all(parts.values()) != any(parts.values()):
        raise DataError(
            f"{first_few(p.name for p in logs)} are a whole log and parts of one; name either"
        )
    columns = source.renamed({})
    for path in logs:
        _read_log(source, path, parts[path], columns)
    for path in items:
        _read_items(source, path, columns)


def _kind(path: Path) -> str:
    return path.name.removesuffix(".gz").rpartition(".")[2]


def _part(path: Path) -> str | None:
    """train, valid or test where the name of a file says so."""
    part = path.name.removesuffix(".gz").removesuffix(".inter").rpartition(".")[2]
    return part if part in PARTS else None


def _fields(source: ImportSource, path: Path) -> tuple[int, dict[str, str]]:
    """The line of the header, and the type of each field by its name."""
    number, names = header(path, source.reader, "\t")
    fields = {name: kind for name, _, kind in (name.rpartition(":") for name in names)}
    odd = [name for name in names if name.rpartition(":")[2] not in KINDS]
    if odd or len(fields) < len(names):
        raise DataError(
            f"{path}: line {number}: the header has {first_few(odd or names)}; NAME:TYPE is "
            f"expected, with a type of {', '.join(KINDS)}"
        )
    return number, fields


def _read_log(
    source: ImportSource, path: Path, part: str | None, columns: Mapping[str, str]
) -> None:
    number, fields = _fields(source, path)
    wanted = {ours: columns.get(ours, theirs) for ours, theirs in LOG.items()}
    layout = log_layout(path, list(fields), wanted, "\t")
    if part is not None:
        layout = Layout([*layout.columns, Column("split", quoted(part))], "\t", len(fields))
    source.work.fill("log", source.using(path), layout, source.reader, number)


def _read_items(source: ImportSource, path: Path, columns: Mapping[str, str]) -> None:
    """Every field under its own name, or the one that ``--columns`` gives it."""
    number, fields = _fields(source, path)
    ours = {theirs: name for name, theirs in columns.items() if name not in ("user_id", *LOG)}
    ident = columns.get("item_id", "item_id")
    place = place_of(ident, list(fields), path, "--columns item_id")
    found = [Column("item_id", cell(place), needed=f"{ident} is missing")]
    for at, (name, kind) in enumerate(fields.items()):
        if name != ident:
            ours_kind = "DOUBLE" if kind == "float" else "VARCHAR"
            found.append(Column(ours.get(name, name), cell(at), ours_kind))
    layout = Layout(found, "\t", len(fields))
    source.work.fill("meta", source.using(path), layout, source.reader, number)
