"""MicroLens: pairs and titles as CSV; the covers are in a folder, named by item.

MicroLens-50k_pairs.csv              user, item, timestamp (ms)
MicroLens-50k_pairs.tsv              user ⇥ item item item, in order; read where there is no CSV
MicroLens-50k_titles.csv             item, title
MicroLens-50k_likes_and_views.txt    item ⇥ likes ⇥ views
"""

from __future__ import annotations

from pathlib import Path

from mmx.data.csvs.reader import view_of
from mmx.data.formats.options import ImportSource
from mmx.data.formats.workspace import Column, Layout
from mmx.errors import DataError, first_few

TEXT = "{title}"
COLUMNS = ("title", "likes", "views")
PATTERNS = ("*_pairs.csv", "*_pairs.tsv", "*_title*.csv", "*_likes_and_views.txt")
MEMBERS = PATTERNS


def load(source: ImportSource) -> None:
    """Read the pairs, and the titles and counts where they are there. Raises DataError."""
    files = source.files(*PATTERNS)
    pairs = [path for path in files if path.name.endswith("pairs.csv")]
    sequences = [path for path in files if path.name.endswith("pairs.tsv")]
    titles = [path for path in files if "title" in path.name and path.suffix == ".csv"]
    counts = [path for path in files if path.name.endswith("likes_and_views.txt")]
    if len(pairs or sequences) != 1 or len(titles) > 1 or len(counts) > 1:
        raise DataError(
            f"{first_few(p.name for p in files)}: one file of pairs and at most one of titles are "
            "expected; name the files"
        )
    if pairs:
        _table(source, "log", pairs[0], {"user_id": "user", "item_id": "item"}, "timestamp")
    else:
        _sequences(source, sequences[0])
    if titles:
        _table(source, "meta", titles[0], {"item_id": "item", "title": "title"})
    if counts:
        _counts(source, counts[0])


def _table(
    source: ImportSource, table: str, path: Path, names: dict[str, str], time: str | None = None
) -> None:
    """The columns of a CSV file as text, and a time as a whole number."""
    sql = view_of(source.using(path), source.options.csv, tuple(names.values())).sql
    there = source.work.db.sql(sql).columns
    lacks = [name for name in (*names.values(), time) if name and name not in there]
    if lacks:
        raise DataError(f"{path} has no column {lacks[0]}; it has {first_few(there, 8)}")
    listed = [f'"{theirs}" as {ours}' for ours, theirs in names.items()]
    listed += [f'"{time}"::bigint as timestamp'] if time else []
    source.work.query(table, f"select {', '.join(listed)} from ({sql})")


def _sequences(source: ImportSource, path: Path) -> None:
    """A line a user, the items in order: the place is the time."""
    layout = Layout(
        [
            Column("user_id", "mmx_c[1]", needed="the user is missing"),
            Column("items", "mmx_c[2]", needed="the items are missing"),
        ],
        "\t", 2,
    )  # fmt: skip
    source.work.fill("sequences", source.using(path), layout, source.reader)
    source.work.query(
        "log",
        "select user_id, unnest(items) as item_id, generate_subscripts(items, 1) as timestamp from "
        r"(select user_id, regexp_split_to_array(trim(items), '\s+') as items from sequences)",
    )


def _counts(source: ImportSource, path: Path) -> None:
    """Likes and views of the items that have a title."""
    layout = Layout(
        [
            Column("item_id", "mmx_c[1]", needed="the item is missing"),
            Column("likes", "mmx_c[2]", "BIGINT"),
            Column("views", "mmx_c[3]", "BIGINT"),
        ],
        "\t", 3,
    )  # fmt: skip
    work = source.work
    work.fill("counts", source.using(path), layout, source.reader)
    if work.columns("meta"):
        counts = "(select item_id, any_value(likes) as likes, any_value(views) as views from counts"
        work.replace(
            "meta",
            f"select meta.*, likes, views from meta left join {counts} group by item_id) as found "
            "using (item_id)",
        )
