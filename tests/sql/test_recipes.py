"""Every recipe of docs/sql.md is run, at both levels, and answers its question."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.cache.card import EncoderCard
from mmx.cache.parts import write_vectors
from mmx.cache.schema import metadata, store_schema
from mmx.sql import Sql, open_sql

PAGE = (Path(__file__).parents[2] / "docs/sql.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^### (.+?)\n.*?^```sql\n(.*?);\n^```", PAGE, re.MULTILINE | re.DOTALL))
CARD = EncoderCard("fake", "mmx", "fake", "none", {"image": 2, "text": 2}, False, "float32")
IMAGES = [[1, 0], [1, 0], None, [0, 1], [1, 1], None, [0, 0], [1, 0.5]]
TEXTS = [[1, 0], [0, 1], [0, 1], [0, 2], None, [1, 0], [1, 0], [-1, 0]]
TAKEN = [("u1", "i0", "train"), ("u1", "i1", "train"), ("u1", "i3", "test"),
         *(("u2", f"i{number}", "train") for number in range(5)), ("u2", "i0", "test")]  # fmt: skip


@pytest.fixture(scope="module", params=["local", "served"])
def opened(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Sql]:
    folder = tmp_path_factory.mktemp("recipes")
    _store(folder / "cache")
    items = [
        {
            "item_id": f"i{n}",
            "text": f"mug {n}",
            "price": 5.0 * n,
            "brand": "Acme" if n else "Other",
        }
        for n in range(8)
    ]
    log = [{"user_id": user, "item_id": item, "split": split} for user, item, split in TAKEN]
    _write(folder / "data", items=items, interactions=log)
    for name, recalls in (("vbpr-clip", [0.5, 0.25]), ("bpr", [0.1, 0.5])):
        users = [
            {"user_id": f"u{n + 1}", "recall@20": r, "ndcg@20": r / 2}
            for n, r in enumerate(recalls)
        ]
        run = [{**item, "embedding": [float(n), 1.0]} for n, item in enumerate(items)]
        own = [
            {"user_id": "u1", "embedding": [1.0, 0.0]},
            {"user_id": "u2", "embedding": [0.0, 1.0]},
        ]
        _write(folder / "runs" / name, items=run, users=own, per_user=users, interactions=log)
        (folder / "runs" / name / "config.json").write_text("{}")
    with open_sql(
        folder / "cache", folder / "runs", folder / "data", level=request.param
    ) as opened:
        assert opened.notes == []
        yield opened


def _store(cache: Path) -> None:
    cache.mkdir()
    columns: dict[str, list[Any]] = {
        "item_id": [f"i{number}" for number in range(8)], "image": IMAGES, "text": TEXTS,
        "image_status": ["file not found" if row is None else "ok" for row in IMAGES],
        "text_status": ["missing" if row is None else "ok" for row in TEXTS],
        "text_tokens": [1] * 8, "text_truncated": [False] * 8, "content_hash": ["1"] * 8,
    }  # fmt: skip
    schema = store_schema(CARD, "float32").with_metadata(metadata(CARD, "float32", "f"))
    write_vectors(pa.table(columns, schema=schema), cache / "clip.parquet")


def _write(folder: Path, **tables: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")


FOUND = {  # question → some columns of its answer
    "Which items have no vector, and why?": {"image_status": ["file not found"], "items": [2]},
    "What is similar to an item?": {"item_id": ["i4", "i0", "i1", "i3"]},
    "What is similar, costs less than 20 and is of one brand?": {"item_id": ["i1", "i3"]},
    "Which items have the same picture?": {"items": [["i0", "i1"]]},
    "Which pictures do not fit their text?": {"item_id": ["i7", "i1", "i0", "i3"]},
    "How much of the interactions do the most popular items have?": {
        "interactions": [3, 2, 2, 1, 1, 0, 0, 0],
        "percent": [33.3, 22.2, 22.2, 11.1, 11.1, 0, 0, 0],
        "never_taken": [0, 0, 0, 0, 0, 1, 1, 1],
    },
    "What did a user take, and what was held out?": {
        "split": ["train", "train", "test"], "item_id": ["i0", "i1", "i3"],
    },
    "What does a run recommend to that user?": {"item_id": ["i7", "i6", "i5", "i4", "i2"]},
    "For which users is one run better than another?": {
        "user_id": ["u1", "u2"], "gain": [pytest.approx(0.4), -0.25],
    },
    "How good is a run for users with a short history?": {
        "items_at_least": [2, 4], "users": [1, 1], "recall": [0.5, 0.25],
    },
}  # fmt: skip


def test_the_page_answers_ten_questions() -> None:
    assert list(RECIPES) == list(FOUND)
    assert len(FOUND) == 10


@pytest.mark.parametrize("question", FOUND)
def test_a_recipe(opened: Sql, question: str) -> None:
    found = opened.ask(RECIPES[question])
    for column, expected in FOUND[question].items():
        assert found[column].to_pylist() == expected, found.to_pylist()
