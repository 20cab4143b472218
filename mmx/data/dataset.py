"""A dataset: ``items`` and ``interactions``, checked as they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.columns import id_column, rating_column, text_column, time_column, weight_column
from mmx.data.csvs.format import PLAIN, CsvFormat, is_csv, refuse_unused
from mmx.data.pictures import by_item_id, by_row, has_bytes
from mmx.data.shards import is_shards, read_shards, shards_folder
from mmx.data.splits import SplitRule
from mmx.data.tables import SUFFIXES, find_table, has_table, read_table, require
from mmx.data.templates import TextTemplate
from mmx.data.vocabulary import repeated
from mmx.errors import DataError, OptionError, first_few, one_of
from mmx.files import Place, as_place
from mmx.kinds import must_be

ROWS = 8192  # of items at once
ON_UNKNOWN = ("error", "drop")  # what to do about an item that the catalogue lacks


@dataclass(frozen=True)
class Dropped:
    """What was left out because its items are not in the catalogue."""

    interactions: int
    of: int  # interactions in the file
    items: int

    def __str__(self) -> str:
        return (
            f"dropped {self.interactions:,} of {self.of:,} interactions with {self.items:,} "
            "unknown items"
        )


@dataclass(frozen=True)
class Items:
    """The items table: ``item_id`` unique, ``image`` and ``text`` nullable, then the rest.

    What ``image`` says depends on ``form``: "paths" from the folder ``images`` (or URLs), "rows"
    of ``path`` that hold the bytes, or "members" of tar shards in ``images``.
    """

    directory: Place
    path: Place
    table: pa.Table
    images: Place
    form: str = "paths"
    left_out: str = ""  # what no row holds, in one line

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def ids(self) -> pa.ChunkedArray:
        """External item ids in table order."""
        return self.table["item_id"]

    def blocks(self, rows: int) -> Iterator[pa.Table]:
        """The table in slices of ``rows`` rows; the last may be shorter."""
        for start in range(0, len(self), rows):
            yield self.table.slice(start, rows)

    def fingerprint(self) -> str:
        """SHA-256 over item_id, image and text of all rows, in order."""
        digest = hashlib.sha256()
        for batch in self.table.select(["item_id", "image", "text"]).to_batches():
            for name in batch.schema.names:
                column = pc.fill_null(batch[name], "\0")
                digest.update(np.asarray(pc.binary_length(column)).tobytes())
                digest.update("".join(column.to_pylist()).encode())
        return digest.hexdigest()


def load_items(
    data: Place | str, images: Place | str | None = None, *, csv: CsvFormat = PLAIN
) -> Items:
    """Read a catalogue: ``DIR/items.parquet`` (or .csv), a table by its own name, or tar shards.

    ``images`` is the folder where relative picture paths start, by default the table's own. A
    table without the column ``image`` then gets the files that are called by its ids. Any
    place may be a URL. ``csv`` says how a CSV table is written. Raises DataError when there is
    no table, or it is unreadable, lacks ``item_id`` or repeats one.
    """
    must_be("csv", csv, CsvFormat)
    if is_shards(data):
        if images is not None:
            raise DataError(f"{data} holds its own pictures; drop --images")
        folder, table, left_out = read_shards(str(data))
        return _checked(Items(folder, folder, table, folder, "members", left_out))
    path = _items_table(as_place(data))
    embedded = images is None and has_bytes(path)
    table = read_table(path, leave_out=("image",) if embedded else (), csv=csv)
    require(table, ("item_id",), path)
    folder = path.parent if images is None else as_place(images)
    if embedded:
        table = table.append_column("image", by_row(len(table)))
    elif images is not None and "image" not in table.column_names:
        named = by_item_id(id_column(table, "item_id", path), folder)
        table = table.append_column("image", named)
    return _checked(Items(path.parent, path, table, folder, "rows" if embedded else "paths"))


def with_text(items: Items, template: str) -> Items:
    """The same with the column ``text`` made of others: ``"{title}. {brand}"``.

    Raises OptionError for a template that is not one, or that names a column it does not have.
    """
    made = TextTemplate.parse(template)
    made.check([name for name in items.table.column_names if name != "image"])
    batches = items.table.select(made.columns).to_batches(ROWS)
    texts = pa.chunked_array([made.column(batch) for batch in batches], pa.string())
    place = items.table.column_names.index("text")
    return replace(items, table=items.table.set_column(place, "text", texts))


def _checked(items: Items) -> Items:
    """The same with unique ids as text, and the three columns first."""
    table, path = items.table, items.path
    ids = id_column(table, "item_id", path)
    twice = repeated(ids)
    if twice:
        raise DataError(
            f"{path}: item_id is not unique ({first_few(twice)} occur more than once); "
            "keep one row per item"
        )
    rest = [n for n in table.column_names if n not in ("item_id", "image", "text")]
    columns = {"item_id": ids, "image": text_column(table, "image", path)}
    columns |= {"text": text_column(table, "text", path)} | {name: table[name] for name in rest}
    return replace(items, table=pa.table(columns))


def _items_table(data: Place) -> Place:
    """The table that ``--data`` means."""
    if data.suffix in SUFFIXES and data.is_file():
        return data
    if isinstance(data, Path):
        _must_be_directory(data)
    return find_table(data, "items")


def is_dataset(data: Place | str) -> bool:
    """Whether it looks like something ``load_items`` reads."""
    place = as_place(data)
    if is_shards(data) or is_csv(place):
        return True
    return has_table(place, "items")


def folder_of(data: Place | str) -> Place:
    """The dataset directory of ``--data``: the folder itself, or the one its files are in."""
    place = shards_folder(str(data)) if is_shards(data) else as_place(data)
    return place.parent if place.suffix in SUFFIXES and place.is_file() else place


def check_csv(csv: CsvFormat, data: Place | str, *, interactions: bool) -> None:
    """Raise OptionError when ``csv`` is given and no table of the dataset is CSV."""
    must_be("csv", csv, CsvFormat)
    if not csv.options():
        return
    tables = [] if is_shards(data) else [_items_table(as_place(data))]
    if interactions and has_table(folder_of(data), "interactions"):
        tables.append(find_table(folder_of(data), "interactions"))
    refuse_unused(csv, tables)


def load_interactions(
    data: Place | str,
    items: Items,
    *,
    unknown: str = "error",
    dropped: Callable[[Dropped], None] = lambda what: None,
    csv: CsvFormat = PLAIN,
    rule: SplitRule | None = None,
    weights: bool | None = None,
) -> pa.Table:
    """Read ``DIR/interactions.parquet`` (or .csv): user_id, item_id [, rating, timestamp, split].

    ``data`` is what ``load_items`` was given; the table is in its folder. Of rating, timestamp
    and split those are read and checked that the ``rule`` of the split uses, all three without a
    rule. A timestamp is always used: of a repeated pair the first counts. The column ``weight``
    is read with ``weights`` only; False says that there is one, to be ignored.

    ``unknown`` says what an interaction with an item that is not in ``items`` means: "error"
    or "drop"; ``dropped`` is called with their number where there are some. ``csv`` says how a
    CSV table is written. Raises DataError on unreadable tables, missing columns, null ids and
    bad splits; OptionError for another ``unknown``, or no weights to ignore.
    """
    one_of("--unknown-items", unknown, ON_UNKNOWN)
    must_be("items", items, Items)
    path = find_table(folder_of(data), "interactions")
    table = read_table(path, csv=csv)
    require(table, ("user_id", "item_id"), path)
    columns = {name: id_column(table, name, path) for name in ("user_id", "item_id")}
    there = _used_by(rule) & set(table.column_names)
    if "rating" in there:
        columns["rating"] = rating_column(table, path)
    if "timestamp" in there:
        columns["timestamp"] = time_column(table, path)
    if weights is not None and "weight" in table.column_names:
        columns |= {"weight": weight_column(table, path)} if weights else {}
    elif weights is False:
        raise OptionError(f"{path} has no column weight; drop --ignore-weights")
    if "split" in there:
        columns["split"] = _split(text_column(table, "split", path), path)
    table = pa.table(columns)
    foreign = pc.invert(pc.is_in(table["item_id"], value_set=items.ids.combine_chunks()))
    if pc.any(foreign).as_py():
        lost = table.filter(foreign)
        names = pc.unique(lost["item_id"])
        if unknown == "error":
            raise DataError(
                f"{path}: {lost.num_rows} interactions name items that {items.path.name} lacks "
                f"({first_few(names.to_pylist())}); add them, or "
                "--unknown-items drop"
            )
        dropped(Dropped(lost.num_rows, table.num_rows, len(names)))
        table = table.filter(pc.invert(foreign))
    if not table.num_rows:
        raise DataError(f"{path} holds no interactions with known items")
    return table


def _must_be_directory(directory: Path) -> None:
    if not directory.exists():
        raise DataError(f"no dataset at {directory}: --data takes an existing dataset directory")
    if not directory.is_dir():
        raise DataError(
            f"{directory} is a file; --data takes a directory with items.parquet, a table "
            "(.parquet, .csv, .tsv) or tar shards"
        )


def _used_by(rule: SplitRule | None) -> set[str]:
    """The columns other than ids that a rule uses."""
    used = {"timestamp"}
    if rule is None or rule.min_rating is not None:
        used.add("rating")
    if rule is None or rule.rule in ("auto", "given"):
        used.add("split")
    return used


def _split(column: pa.ChunkedArray, path: Place) -> pa.ChunkedArray:
    known = pa.array(["train", "valid", "test"])
    odd = pc.unique(column.filter(pc.invert(pc.is_in(column, value_set=known))))
    if len(odd):
        raise DataError(
            f"{path}: split holds {first_few(odd.to_pylist())}; known: train, valid, test"
        )
    return column
