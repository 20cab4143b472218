"""MovieLens in its three layouts: the archive, or the folder that it unpacks to.

100k        u.data, u.item              tabs and |, Latin-1
1m, 10m     ratings.dat, movies.dat     ::, Latin-1 and UTF-8
20m and up  ratings.csv, movies.csv     CSV with a header, UTF-8
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmx.data.csvs.reader import view_of
from mmx.data.formats.options import ImportSource
from mmx.data.formats.workspace import Column, Layout
from mmx.errors import DataError

TEXT = "{title}. {genres}"
COLUMNS = ("title", "genres", "year")
MEMBERS = ("u.data", "u.item", "ratings.dat", "movies.dat", "ratings.csv", "movies.csv")
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
NONE = "(no genres listed)"
YEAR = r"regexp_extract({}, '\((\d{{4}})\)\s*$', 1)"


def load(source: ImportSource) -> None:
    """Read the ratings and the movies. Raises DataError where the folder has neither layout."""
    folder = source.folder("u.data, ratings.dat or ratings.csv")
    for name, read in (("u.data", _first), ("ratings.dat", _second), ("ratings.csv", _third)):
        if (folder / name).is_file():
            read(source, folder)
            return
    raise DataError(
        f"{folder} has no u.data, ratings.dat or ratings.csv; name the archive, or the folder that "
        "it unpacks to"
    )


def _first(source: ImportSource, folder: Path) -> None:
    source.work.fill("log", source.using(folder / "u.data"), _ratings("\t"), source.reader)
    flags = [f"case when mmx_c[{n}] = '1' then '{_sql(g)}' end" for n, g in enumerate(GENRES, 6)]
    genres = f"array_to_string([{', '.join(flags)}], ', ')"
    _movies(source, folder / "u.item", Layout(_of_movies("mmx_c[1]", "mmx_c[2]", genres), "|", 24))


def _second(source: ImportSource, folder: Path) -> None:
    source.work.fill("log", source.using(folder / "ratings.dat"), _ratings("::"), source.reader)
    genres = f"nullif(replace(mmx_c[3], '|', ', '), '{NONE}')"
    _movies(
        source, folder / "movies.dat", Layout(_of_movies("mmx_c[1]", "mmx_c[2]", genres), "::", 3)
    )


def _third(source: ImportSource, folder: Path) -> None:
    work, path = source.work, folder / "movies.csv"
    ratings = _view(source, folder / "ratings.csv", ("userId", "movieId", "rating", "timestamp"))
    work.query(
        "log",
        "select userId as user_id, movieId as item_id, rating::double as rating, "
        f"timestamp::bigint as timestamp from ({ratings})",
    )
    if not path.is_file():
        return
    movies = _view(source, path, ("movieId", "title", "genres"))
    work.query(
        "meta",
        f"select movieId as item_id, title, nullif(replace(genres, '|', ', '), '{NONE}') "
        f"as genres, try_cast({YEAR.format('title')} as bigint) as year "
        f"from ({movies})",
    )


def _view(source: ImportSource, path: Path, names: tuple[str, ...]) -> str:
    """A query over a file. Raises DataError where it lacks a column."""
    sql = view_of(source.using(path), text=("userId", "movieId", "title", "genres")).sql
    there = source.work.db.sql(sql).columns
    lacks = [name for name in names if name not in there]
    if lacks:
        raise DataError(f"{path} has no column {lacks[0]}; {', '.join(names)} are expected")
    return sql


def _ratings(separator: str) -> Layout:
    return Layout(
        [
            Column("user_id", "mmx_c[1]", needed="the user is missing"),
            Column("item_id", "mmx_c[2]", needed="the movie is missing"),
            Column("rating", "mmx_c[3]", "DOUBLE", "the rating is not a number"),
            Column("timestamp", "mmx_c[4]", "BIGINT", "the time is not a whole number"),
        ],
        separator, 4,
    )  # fmt: skip


def _of_movies(ident: str, title: str, genres: str) -> list[Column]:
    return [
        Column("item_id", ident, needed="the movie is missing"),
        Column("title", title),
        Column("genres", genres),
        Column("year", YEAR.format(title), "BIGINT"),
    ]


def _movies(source: ImportSource, path: Path, layout: Layout) -> None:
    """Read the movies where they are there, in the encoding that the file is in."""
    if not path.is_file():
        return
    reader = source.reader
    if source.options.csv.encoding is None and not _is_utf8(path):
        reader = replace(reader, encoding="latin-1")
    source.work.fill("meta", source.using(path), layout, reader)


def _is_utf8(path: Path) -> bool:
    """Of a small file."""
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _sql(text: str) -> str:
    return text.replace("'", "''")
