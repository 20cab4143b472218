"""Amazon's reviews and metadata: the dumps of 2014, 2018 and 2023, told apart by their keys.

    2014  reviews_X_5.json.gz   {"reviewerID": …, "asin": …, "overall": 5.0, "unixReviewTime": …}
          meta_X.json.gz        {'asin': …, 'imUrl': …, 'categories': [[…]], …}, a Python dict
    2018  X.json.gz             as in 2014
          meta_X.json.gz        {"asin": …, "imageURLHighRes": […], "category": […], …}
          ratings_X.csv         ratings alone, in all three (see amazon_ratings)
    2023  X.jsonl.gz            {"user_id": …, "parent_asin": …, "rating": …, "timestamp": ms}
          meta_X.jsonl.gz       {"parent_asin": …, "images": […], "categories": […], …}

Times are in seconds in the first two and in milliseconds in the last, and stay so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmx.data.formats import amazon_ratings
from mmx.data.formats.literals import as_json
from mmx.data.formats.options import ImportSource
from mmx.data.formats.workspace import Column, Layout
from mmx.errors import DataError, first_few, first_line

TEXT = "{title}. {brand}. {categories}. {description}"
REVIEW = {"reviewerID", "user_id", "overall", "rating", "unixReviewTime", "reviewText"}
COLUMNS = ("title", "brand", "categories", "description", "features", "price", "image")
PATTERNS = ("*.json", "*.json.gz", "*.jsonl", "*.jsonl.gz", *amazon_ratings.PATTERNS)
MEMBERS = PATTERNS


def load(source: ImportSource) -> None:
    """Read all files. Raises DataError where one is neither reviews nor metadata."""
    reviews: dict[str, Path] = {}
    for path in source.files(*PATTERNS):
        number, line = source.reader.first(path)
        if not line:
            raise DataError(f"{path} is empty; download it again")
        if amazon_ratings.is_ratings(line):
            amazon_ratings.load(source, _noted(reviews, "ratings", path))
            continue
        old = line.lstrip().startswith("{'")
        keys = _keys(path, number, line, old)
        is_review = bool(REVIEW & keys.keys())
        values = _Values()
        columns = _reviews(values, keys) if is_review else _items(values, path, keys)
        if is_review:
            _noted(reviews, "reviews", path)
        layout = Layout(columns, paths=values.paths, prepare=as_json if old else None)
        source.work.fill("log" if is_review else "meta", source.using(path), layout, source.reader)
    if not reviews:
        raise DataError(
            "there are no reviews among the files, only metadata; name the file of the reviews, too"
        )


def _noted(reviews: dict[str, Path], kind: str, path: Path) -> Path:
    """Raises DataError where there are reviews and ratings: one is made of the other."""
    reviews.setdefault(kind, path)
    if len(reviews) > 1:
        listed = first_few(p.name for p in reviews.values())
        raise DataError(f"{listed} are reviews and ratings alone; name the files of one kind")
    return path


def _keys(path: Path, number: int, line: str, old: bool) -> dict[str, Any]:
    """The first line as a dict."""
    try:
        found = json.loads(as_json(line) if old else line)
    except (ValueError, RecursionError) as error:
        reason = first_line(error) if old else "it is not JSON"
        raise DataError(
            f"{path}: line {number}: {reason}; a JSON object a line is expected, as in "
            "the dumps, or user,item,rating,timestamp"
        ) from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: line {number}: a JSON object is expected, as in the dumps")
    return found


class _Values:
    """The paths of an object whose values are used: each is called by its place among them."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def __call__(self, path: str) -> str:
        """The value at a path as text; NULL for an empty one. Lists are JSON."""
        if path not in self.paths:
            self.paths.append(path)
        return f"nullif(mmx_v[{self.paths.index(path) + 1}], '')"

    def first(self, *paths: str) -> str:
        """The first that there is."""
        return f"coalesce({', '.join(map(self, paths))})"

    def joined(self, path: str, between: str) -> str:
        """A text as it is, a list of texts as one."""
        value = self(path)
        parts = f"array_to_string(json_extract_string({value}, '$[*]'), '{between}')"
        return f"case when starts_with({value}, '[') then nullif({parts}, '') else {value} end"


def _reviews(value: _Values, keys: dict[str, Any]) -> list[Column]:
    recent = bool({"user_id", "parent_asin"} & keys.keys())
    user, item = ("user_id", "parent_asin") if recent else ("reviewerID", "asin")
    rating, time = ("rating", "timestamp") if recent else ("overall", "unixReviewTime")
    return [
        Column("user_id", value(user), needed=f"there is no {user}"),
        Column("item_id", value(item), needed=f"there is no {item}"),
        Column("rating", value(rating), "DOUBLE", f"{rating} is missing or not a number"),
        Column("timestamp", value(time), "BIGINT", f"{time} is missing or not a whole number"),
    ]


def _items(value: _Values, path: Path, keys: dict[str, Any]) -> list[Column]:
    item = next((name for name in ("parent_asin", "asin") if name in keys), None)
    if item is None:
        raise DataError(
            f"{path}: line 1 has neither asin nor parent_asin; reviews or metadata of Amazon are "
            "expected"
        )
    paths = [value.joined(name, " > ") for name in ("categories[0]", "categories", "category")]
    lists = f"case when starts_with({value('categories[0]')}, '[') then {paths[0]} end"
    categories = f"coalesce({lists}, {', '.join(paths[1:])}, {value.first(*MAIN)})"
    features = f"coalesce({value.joined('features', ' ')}, {value.joined('feature', ' ')})"
    return [
        Column("item_id", value(item), needed=f"there is no {item}"),
        Column("image", value.first(*IMAGES)),
        Column("title", value("title")),
        Column("brand", value.first("brand", "store")),
        Column("categories", categories),  # of 2014 the first of several paths
        Column("description", value.joined("description", " ")),
        Column("features", features),
        Column("price", f"replace(ltrim({value('price')}, '$ '), ',', '')", "DOUBLE"),
    ]


MAIN = ("main_category", "main_cat")
IMAGES = (
    "imUrl", "imageURLHighRes[0]", "imageURL[0]",
    "images[0].hi_res", "images[0].large", "images[0].thumb", "images.hi_res[0]",
    "images.large[0]", "image[0]",
)  # fmt: skip
