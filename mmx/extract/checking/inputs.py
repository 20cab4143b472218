"""The inputs of all items, each picture decoded once: what is missing, and what is there twice.

Hashes are kept in a DuckDB file, so that memory does not grow with the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from mmx.cache.schema import MISSING, OK
from mmx.data.dataset import Items
from mmx.extract.checking.alike import SQUARE, Alike, look_of
from mmx.extract.sources import source_for
from mmx.extract.stages.load import Loaded, Loader, clean_text
from mmx.files import is_url

AHEAD = 64  # pictures that are read ahead
ROWS = 4096  # items that are written at once
SHOWN = 3  # groups, and items of a group, that are listed
REMOTE = "on the web"
UNSEEN = "not looked at"
KINDS = {
    "n": pa.int64(), "item_id": pa.string(), "image_status": pa.string(), "picture": pa.string(),
    "shade": pa.uint64(), "r": pa.int16(), "g": pa.int16(), "b": pa.int16(), "plain": pa.bool_(),
    "text_status": pa.string(), "text": pa.string(),
}  # fmt: skip


def check_inputs(
    items: Items,
    *,
    pictures: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """``pictures`` and ``texts``: statuses, duplicates, and pictures that look alike.

    Pictures on the web are counted and not fetched; without ``pictures`` none is read.
    """
    with TemporaryDirectory(prefix="mmx-check-") as folder:
        db = duckdb.connect(
            str(Path(folder) / "check.duckdb"),
            config={"memory_limit": "200MB", "threads": 2, "temp_directory": folder,
                    "autoinstall_known_extensions": False},
        )  # fmt: skip
        try:
            _fill(db, items, pictures, progress)
            return _found(db)
        finally:
            db.close()


def _fill(
    db: duckdb.DuckDBPyConnection,
    items: Items,
    pictures: bool,
    progress: Callable[[int, int], None],
) -> None:
    rows, written = _rows(items, pictures), 0
    while batch := list(islice(rows, ROWS)):
        db.register("batch", pa.Table.from_pylist(batch, pa.schema(list(KINDS.items()))))
        made = "insert into seen" if written else "create table seen as"
        db.execute(f"{made} select * from batch")
        db.unregister("batch")
        written += len(batch)
        progress(written, len(items))
    if not written:
        db.register("batch", pa.schema(list(KINDS.items())).empty_table())
        db.execute("create table seen as select * from batch")


def _rows(items: Items, pictures: bool) -> Iterator[dict[str, Any]]:
    """What is known of each item."""
    loader = Loader(source_for(items), SQUARE, takes_text=False)
    looked = loader.load_ahead(((image, None) for image in _local(items, pictures)), AHEAD)
    for n, (item, image, text) in enumerate(_inputs(items)):
        row: dict[str, Any] = {"n": n, "item_id": item}
        clean, status = clean_text(text)
        row |= {"text_status": status, "text": None if clean is None else _hash(clean)}
        if _is_local(image, pictures):
            row |= _of_picture(next(looked))
        else:
            row["image_status"] = REMOTE if is_url(str(image)) else UNSEEN
        yield row


def _inputs(items: Items) -> Iterator[tuple[str, str | None, str | None]]:
    for block in items.blocks(ROWS):
        yield from zip(*(block[n].to_pylist() for n in ("item_id", "image", "text")), strict=True)


def _local(items: Items, pictures: bool) -> Iterator[str | None]:
    return (image for _, image, _ in _inputs(items) if _is_local(image, pictures))


def _is_local(image: str | None, pictures: bool) -> bool:
    """Whether it is looked at: nothing there, or of this machine."""
    return image is None or (pictures and not is_url(image))


def _of_picture(loaded: Loaded) -> dict[str, Any]:
    if loaded.pixels is None:
        return {"image_status": loaded.image_status}
    return {"image_status": OK, "picture": loaded.hash, **look_of(loaded.pixels)}


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _found(db: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    statuses = dict(
        db.execute(
            "select image_status, count(*) from seen group by 1 order by 2 desc, 1"
        ).fetchall()
    )
    plain = db.execute("select count(*) from seen where plain").fetchall()[0][0]
    missing = db.execute("select count(*) from seen where text_status <> 'ok'").fetchall()[0][0]
    return {
        "pictures": {
            "ok": statuses.pop(OK, 0), "missing": statuses.pop(MISSING, 0),
            "not_looked_at": statuses.pop(REMOTE, 0) + statuses.pop(UNSEEN, 0),
            "unreadable": statuses, "plain": plain, "same_file": _same(db, "picture"),
            "look_alike": Alike(db).groups(SHOWN),
        },
        "texts": {"missing": missing, "same_text": _same(db, "text")},
    }  # fmt: skip


def _same(db: duckdb.DuckDBPyConnection, column: str) -> dict[str, Any]:
    """Groups of items with the same value."""
    groups = (
        f"select count(*) as size, min(n) as first, arg_min(item_id, n, {SHOWN}) as ids from seen "
        f"where {column} is not null group by {column} having count(*) > 1"
    )
    counted = db.execute(f"select count(*), coalesce(sum(size), 0)::bigint from ({groups})")
    number, items = counted.fetchall()[0]
    shown = db.execute(f"select ids from ({groups}) order by size desc, first limit {SHOWN}")
    return {"groups": number, "items": items, "examples": [ids for (ids,) in shown.fetchall()]}
