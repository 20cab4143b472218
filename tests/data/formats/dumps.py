"""Small files in the layouts in which the public sets are published."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from mmx.data.formats.importing import Imported, import_dataset
from mmx.data.formats.options import ImportOptions


def imported(name: str, sources: Path | list[Path], out: Path, **options: Any) -> Imported:
    """Import with the options given."""
    places = sources if isinstance(sources, list) else [sources]
    return import_dataset(name, places, out, ImportOptions(**options))


def rows(folder: Path, table: str = "interactions", columns: str = "*") -> list[tuple[Any, ...]]:
    """The rows of a table of a dataset, in order."""
    return duckdb.sql(f"select {columns} from '{folder / table}.parquet'").fetchall()


def packed(path: Path, lines: Iterable[str]) -> Path:
    """Lines in gzip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return path


def review(user: str, item: str, rating: float = 5.0, time: int = 1_400_000_000) -> dict[str, Any]:
    """A line of reviews_X_5.json.gz as of 2014."""
    return {
        "reviewerID": user, "asin": item, "reviewerName": 'J. "Doc" Ø', "helpful": [0, 0],
        "reviewText": "Line one\nand \\ two é", "overall": rating, "summary": "it's {good}",
        "unixReviewTime": time, "reviewTime": "05 13, 2014",
    }  # fmt: skip


REVIEWS = [
    review("A1", "0001", 5.0, 30),
    review("A2", "0001", 2.0, 20),
    review("A1", "0002", 4.0, 10),
    review("A1", "0001", 1.0, 5),  # again, and earlier
    review("A3", "0009", 3.0, 50),  # not in the metadata
]
META = [
    {
        "asin": "0001", "title": "Tom's \"27\\\" Mug\" &amp; Co", "price": 9.99,
        "imUrl": "http://images.example/1.jpg", "brand": "Acmé", "salesRank": {"Home": 7},
        "related": {"also_bought": ["0002"]}, "categories": [["Home", "Mugs"], ["Gifts"]],
    },
    {"asin": "0002", "imUrl": None, "categories": [["Home"]], "description": "Line\none"},
    {"asin": "0001", "title": "the same again"},
    {"asin": "0003", "title": "never reviewed"},
]  # fmt: skip


def amazon_2014(folder: Path) -> list[Path]:
    """Reviews in JSON, metadata as Python dicts."""
    reviews = packed(folder / "reviews_X_5.json.gz", map(json.dumps, REVIEWS))
    return [reviews, packed(folder / "meta_X.json.gz", map(repr, META))]


def amazon_2018(folder: Path) -> list[Path]:
    """Strict JSON; an item may be there twice, lists may be empty."""
    meta = [
        {
            "category": ["Sports", "Yoga"], "tech1": "", "description": ["One &lt;b&gt;.", "Two."],
            "title": "Mat", "brand": "Gaiam", "feature": ["soft", "green"], "asin": "B01",
            "imageURL": ["https://i.example/s.jpg"], "price": "$1,012.50",
            "imageURLHighRes": ["https://i.example/l.jpg"],
        },
        {"category": [], "description": [], "title": "", "asin": "B02", "price": "$5 - $9"},
    ]  # fmt: skip
    reviews = [
        {
            "overall": 5.0, "verified": True, "reviewTime": "05 13, 2014", "reviewerID": "A1",
            "asin": item, "style": {"Size:": " L"}, "reviewText": "ok", "unixReviewTime": 7,
            "vote": "3", "image": ["https://i.example/r.jpg"],
        }
        for item in ("B01", "B02")
    ]  # fmt: skip
    return [
        packed(folder / "X.json.gz", map(json.dumps, reviews)),
        packed(folder / "meta_X.json.gz", map(json.dumps, meta)),
    ]


def amazon_2023(folder: Path) -> list[Path]:
    """Keys of their own, times in milliseconds."""
    review = {
        "rating": 4.0, "title": "t", "text": "x", "images": [], "asin": "B0A", "parent_asin": "B0P",
        "user_id": "AU", "timestamp": 1588687728923, "helpful_vote": 0, "verified_purchase": True,
    }  # fmt: skip
    picture = {"thumb": "https://i/t.jpg", "large": "https://i/l.jpg", "hi_res": None}
    meta = {
        "main_category": "All Beauty", "title": "Soap", "average_rating": 4.8, "rating_number": 10,
        "features": ["a", "b"], "description": [], "price": None, "images": [picture],
        "videos": [], "store": "Howard", "categories": [], "details": {"UPC": "6"},
        "parent_asin": "B0P", "bought_together": None,
    }  # fmt: skip
    return [
        packed(folder / "X.jsonl.gz", [json.dumps(review)]),
        packed(folder / "meta_X.jsonl.gz", [json.dumps(meta)]),
    ]
