"""A shop of six items and six users in which one column is of an odd type."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmx.cli.json_texts import json_texts
from mmx.data.dataset import load_interactions, load_items
from mmx.data.splits import SplitRule
from mmx.errors import MmxError
from mmx.extract.encoders import open_encoder
from mmx.extract.pipeline import extract
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.recommendation import recommend_all
from mmx.sql import open_sql
from tests.odd.arrow_kinds import WORDS

OF_ITEMS = ("item_id", "image", "text", "title")
OF_LOG = ("user_id", "rating", "timestamp", "split")
SPLIT = ["train", "train", "train", "test", "valid", "train"]


def items_table(**columns: pa.Array) -> pa.Table:
    """Six items with texts; ``columns`` replace theirs."""
    texts = [f"a text of {word}" for word in WORDS]
    return pa.table({"item_id": pa.array(WORDS), "text": pa.array(texts), **columns})


def log_table(**columns: pa.Array) -> pa.Table:
    """One interaction of each user; ``columns`` replace theirs."""
    users = [f"u{n}" for n in range(len(WORDS))]
    ids = {"user_id": pa.array(users), "item_id": pa.array(WORDS), "split": pa.array(SPLIT)}
    return pa.table({**ids, **columns})


def write_shop(folder: Path, items: pa.Table, log: pa.Table) -> Path:
    """The two tables as a dataset directory."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(items, folder / "items.parquet")
    pq.write_table(log, folder / "interactions.parquet")
    return folder


def shop_with(folder: Path, role: str, column: pa.Array) -> Path:
    """A shop whose column ``role`` is this one; of an item_id the log names the same."""
    of_items = {role: column} if role in OF_ITEMS else {}
    of_log = {role: column} if role in (*OF_LOG, "item_id") else {}
    return write_shop(folder, items_table(**of_items), log_table(**of_log))


def attempt(step: object) -> str:
    """What a step ends in: "done", or the one line of its MmxError. Anything else is a failure."""
    try:
        step()  # type: ignore[operator]
    except MmxError as error:
        said = str(error)
        assert said
        assert "\n" not in said.strip(), said
        return said
    return "done"


def read_both(data: Path) -> None:
    """Read the tables, every column of them."""
    load_interactions(data, load_items(data))


def all_commands(data: Path, out: Path) -> dict[str, str]:
    """What extract, train, recommend and sql end in."""

    def train() -> None:
        rule = SplitRule("given", min_rating=1.0 if with_rating else None)
        list(recommend_all(fit(TrainJob(data, "popularity", split=rule), out / "runs" / "run")))

    def ask() -> None:
        with open_sql(out / "cache", out / "runs", [data]) as opened:
            for view in opened.views:
                for batch in opened.ask(f"select * from {view}").to_batches():
                    json_texts(batch.to_struct_array())

    with_rating = "rating" in pq.read_schema(data / "interactions.parquet").names
    store = out / "cache" / "toy.parquet"
    return {
        "extract": attempt(lambda: extract(load_items(data), open_encoder("toy"), store)),
        "extract again": attempt(lambda: extract(load_items(data), open_encoder("toy"), store)),
        "train": attempt(train),
        "sql": attempt(ask),
    }
