"""Amazon's reviews and metadata: the dumps of 2014, 2018 and 2023, told apart by their keys.

    2014  reviews_X_5.json.gz   {"reviewerID": …, "asin": …, "overall": 5.0, "unixReviewTime": …}
          meta_X.json.gz        {'asin': …, 'imUrl': …, 'categories': [[…]], …}, a Python dict
    2018  X.json.gz             as in 2014
          meta_X.json.gz        {"asin": …, "imageURLHighRes": […], "category": […], …}
    2023  X.jsonl.gz            {"user_id": …, "parent_asin": …, "rating": …, "timestamp": ms}
          meta_X.jsonl.gz       {"parent_asin": …, "images": […], "categories": […], …}

Times are in seconds in the first two and in milliseconds in the last, and stay so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmx.data.formats.literals import as_json
from mmx.data.formats.options import Source
from mmx.data.formats.workspace import Column, Layout
from mmx.errors import DataError

TEXT = "{title}. {brand}. {categories}. {description}"
PATTERNS = ("*.json", "*.json.gz", "*.jsonl", "*.jsonl.gz")


def load(source: Source) -> None:
    """Read all files. Raises DataError where one is neither reviews nor metadata."""
    reviews = 0
    for path in source.files(*PATTERNS):
        _, line = source.reader.first(path)
        if not line:
            raise DataError(f"{path} is empty; download it again")
        old = line.lstrip().startswith("{'")
        keys = _keys(path, line, old)
        is_review = bool({"reviewerID", "user_id"} & keys.keys())
        columns = _reviews(keys) if is_review else _items(path, keys)
        reviews += is_review
        layout = Layout(columns, prepare=as_json if old else None)
        source.work.fill("log" if is_review else "meta", source.using(path), layout, source.reader)
    if not reviews:
        raise DataError(
            "there are no reviews among the files, only metadata; name the file of the reviews, too"
        )


def _keys(path: Path, line: str, old: bool) -> dict[str, Any]:
    """The first line as a dict."""
    try:
        found = json.loads(as_json(line) if old else line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: line 1: it is not JSON; a JSON object a line is expected, as in the dumps"
        ) from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: line 1: a JSON object is expected, as in the dumps")
    return found


def _key(name: str) -> str:
    return f"json_extract_string(doc, '$.{name}')"


def _reviews(keys: dict[str, Any]) -> list[Column]:
    recent = "user_id" in keys
    user, item = ("user_id", "parent_asin") if recent else ("reviewerID", "asin")
    rating, time = ("rating", "timestamp") if recent else ("overall", "unixReviewTime")
    return [
        Column("user_id", _key(user), needed=f"there is no {user}"),
        Column("item_id", _key(item), needed=f"there is no {item}"),
        Column("rating", _key(rating), "DOUBLE", f"{rating} is missing or not a number"),
        Column("timestamp", _key(time), "BIGINT", f"{time} is missing or not a whole number"),
    ]


def _items(path: Path, keys: dict[str, Any]) -> list[Column]:
    item = next((name for name in ("parent_asin", "asin") if name in keys), None)
    if item is None:
        raise DataError(
            f"{path}: line 1 has neither asin nor parent_asin; reviews or metadata of Amazon are "
            "expected"
        )
    return [
        Column("item_id", _key(item), needed=f"there is no {item}"),
        Column("image", _first_of(IMAGES)),
        Column("title", _key("title")),
        Column("brand", f"coalesce(nullif({_key('brand')}, ''), {_key('store')})"),
        Column("categories", CATEGORIES),
        Column("description", _joined("description")),
        Column("features", f"coalesce({_joined('features')}, {_joined('feature')})"),
        Column("price", f"replace(ltrim({_key('price')}, '$ '), ',', '')", "DOUBLE"),
    ]


IMAGES = (
    "imUrl", "imageURLHighRes[0]", "imageURL[0]",
    "images[0].hi_res", "images[0].large", "images[0].thumb", "images.hi_res[0]",
    "images.large[0]", "image[0]",
)  # fmt: skip


def _first_of(paths: tuple[str, ...]) -> str:
    found = [f"nullif({_key(path)}, '')" for path in paths]
    return f"coalesce({', '.join(found)})"


def _joined(name: str) -> str:
    """A text, or several as one."""
    whole, parts = f"json_extract(doc, '$.{name}')", f"json_extract_string(doc, '$.{name}[*]')"
    return (
        f"case when json_type({whole}) = 'ARRAY' then array_to_string({parts}, ' ') "
        f"else {_key(name)} end"
    )


def _path(name: str) -> str:
    return f"array_to_string(json_extract_string(doc, '$.{name}[*]'), ' > ')"


CATEGORIES = (  # of 2014 several paths, of which the first is taken
    f"coalesce(nullif({_path('categories[0]')}, ''), nullif({_path('categories')}, ''), "
    f"nullif({_path('category')}, ''), {_key('main_category')}, {_key('main_cat')})"
)
