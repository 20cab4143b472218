"""The dataset directory that an import leaves: two tables, and import.json, which says where from.

import.json has the format, the sources with their sizes and SHA-256, the options and the counts,
and the names of the files, by which ``--overwrite`` knows that nothing else is in the folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmx.atomic import Kind
from mmx.data.checks.card import NAMES as CARDS
from mmx.data.checks.card import is_card
from mmx.data.formats.workspace import Workspace
from mmx.data.quoting import quoted_name
from mmx.data.templates import TextTemplate
from mmx.files import parse_json

RECORD = "import.json"
PICTURES = "pictures"  # the folder of pictures that were downloaded later
TRIED = "pictures.parquet"  # what became of each of their URLs
PICTURE = re.compile(PICTURES + r"/[0-9a-f]{2}/\.?[0-9a-f]{40}\.[a-z0-9]+(\.tmp)?")
FIRST = ("item_id", "image", "text")
LATE = 1 << 62  # added to the place of an item of which only interactions are known


def write_interactions(work: Workspace, folder: Path) -> None:
    """interactions.parquet, in the order of the source."""
    schema, batches = work.batches("select * exclude (mmx_n) from log order by mmx_n")
    _write(folder / "interactions.parquet", schema, batches)


def write_items(work: Workspace, folder: Path, text: TextTemplate | None, *, every: bool) -> int:
    """items.parquet: items with interactions, or ``every`` one that is known; how many.

    In the order of the source, those of which nothing but interactions is known last.
    """
    _complete(work)
    wanted = "" if every else " where item_id in (select item_id from log)"
    names = [name for name in FIRST if name in work.columns("meta")]
    names += [name for name in work.columns("meta") if name not in names]
    listed = ", ".join(map(quoted_name, names))
    schema, batches = work.batches(f"select {listed} from meta{wanted} order by mmx_n")
    if text is not None:
        schema, batches = _with_text(schema, batches, text)
    return _write(folder / "items.parquet", schema, batches)


def _complete(work: Workspace) -> None:
    """Have a row in ``meta`` for each item of ``log``."""
    if not work.columns("meta"):
        work.db.execute("create table meta (item_id varchar, mmx_n bigint)")
    work.db.execute(
        f"insert into meta by name select item_id, {LATE} + min(mmx_n) as mmx_n from log "
        "where item_id not in (select item_id from meta) group by item_id"
    )


def _with_text(
    schema: pa.Schema, batches: Iterator[pa.RecordBatch], text: TextTemplate
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The same with the column ``text`` made by the template."""
    names = [name for name in schema.names if name != "text"]
    names.insert(2 if "image" in names else 1, "text")
    fields = {f.name: f for f in schema} | {"text": pa.field("text", pa.string())}
    whole = pa.schema([fields[name] for name in names])

    def made() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = {name: batch[name] for name in batch.schema.names}
            found["text"] = text.column(batch)
            yield pa.record_batch([found[name] for name in names], schema=whole)

    return whole, made()


def _write(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> int:
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def write_record(folder: Path, name: str, facts: dict[str, Any]) -> None:
    """The record ``name`` in JSON, with the names of all files in the folder."""
    files = sorted(_files(folder))
    text = json.dumps({**facts, "files": [*files, name]}, indent=2, ensure_ascii=False)
    (folder / name).write_text(text + "\n", encoding="utf-8")


def _files(folder: Path) -> Iterator[str]:
    """All but the pictures: there may be a million of them."""
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())
    return (name for name in names if not PICTURE.fullmatch(name))


def only_recorded(folder: Path, name: str) -> bool:
    """Whether a folder holds only files that its record names, pictures that were downloaded, and
    a card of ours."""
    try:
        written = parse_json((folder / name).read_bytes())["files"]
        there = set(_files(folder))
        there -= {card for card in CARDS if card in there and is_card(folder / card)}
        return there <= {*written, TRIED}
    except (OSError, ValueError, KeyError, TypeError):
        return False


IMPORT = Kind("a dataset of `mmx import`", lambda folder: only_recorded(folder, RECORD))
