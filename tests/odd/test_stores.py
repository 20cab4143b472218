"""Stores that another tool rewrote, parts without a sound job, lists of ids in odd files."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.cache.export import export
from mmx.cache.store import open_store
from mmx.cache.tools import Target, filter_store
from mmx.data.dataset import load_items
from mmx.data.id_lists import read_ids
from mmx.errors import DamagedError, DataError, StoreError
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.extract.settings import accuracy_of, read_settings
from mmx.recommend.features import FeatureSpec
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.sql import open_sql
from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.cli.conftest import Shop
from tests.odd.arrow_kinds import KINDS, WORDS
from tests.odd.shop import attempt, items_table, log_table, write_shop

ITEMS = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/ and toy.parquet."""
    folder = tmp_path_factory.mktemp("made")
    data = plain_catalogue(folder / "data", items=ITEMS)
    write_interactions(data, random_log(5, ITEMS, 5))
    extract(load_items(data), open_encoder("toy"), folder / "toy.parquet")
    return folder


def rewritten(made: Path, out: Path, table: pa.Table | None = None, **facts: str | bytes) -> Path:
    """The store as another tool writes it, with other columns or other metadata (mmx_card …)."""
    whole = pq.read_table(made / "toy.parquet")
    table = whole if table is None else table
    more = {name.replace("mmx_", "mmx.").encode(): value for name, value in facts.items()}
    pq.write_table(table.replace_schema_metadata({**whole.schema.metadata, **more}), out)
    return out


def uses(made: Path, store: Path, out: Path) -> dict[str, str]:
    """What everything that reads a store ends in."""

    def ask() -> None:
        with open_sql(out / "none", out / "none", [], [store]) as opened:
            opened.ask(f"select * from {opened.views[0]}")

    job = TrainJob(made / "data", "itemknn-cbf", features=[FeatureSpec(store)])
    items = load_items(made / "data")
    return {
        "status": attempt(lambda: open_store(store).status_counts()),
        "verify": attempt(lambda: open_store(store).verify()),
        "accuracy": attempt(lambda: accuracy_of(store)),
        "filter": attempt(lambda: filter_store(store, Target(out / "f.parquet"), where="true")),
        "export": attempt(lambda: export(store, "npy", out / "npy")),
        "train": attempt(lambda: fit(job, out / "run")),
        "extract": attempt(lambda: extract(items, open_encoder("toy"), store)),
        "sql": attempt(ask),
    }


def card_with(made: Path, **fields: Any) -> str:
    card = json.loads(pq.read_schema(made / "toy.parquet").metadata[b"mmx.card"])
    return json.dumps({**card, **fields})


BAD_FIELDS: list[dict[str, Any]] = [
    {"dimensions": value}
    for value in (
        ["image"], 3, None, {}, {"image": "8"}, {"image": -8}, {"image": 0}, {"image": 10**12},
        {"image": 8.5}, {"image": True}, {"item_id": 8}, {"image_status": 8}, {"": 8}, {"a\nb": 8},
    )
] + [
    {"name": 3}, {"name": None}, {"normalised": "yes"}, {"image_rule": [1]}, {"image_rule": "x"},
    {"precision": None}, {"extra": []}, {"text_limit": "a"}, {"tokenizer": 5},
]  # fmt: skip
BAD_CARDS = ["[]", "null", "1", '"x"', "{}", '{"name":', b"\xff\xfe", "[" * 100_000]


@pytest.mark.parametrize("number", range(len(BAD_CARDS) + len(BAD_FIELDS)))
def test_a_card_of_another_shape(made: Path, tmp_path: Path, number: int) -> None:
    bad = [*BAD_CARDS, *(card_with(made, **f) for f in BAD_FIELDS)][number]
    store = rewritten(made, tmp_path / "a.parquet", mmx_card=bad)
    with pytest.raises(DamagedError, match="the encoder card in the file is unreadable"):
        open_store(store)


def test_a_modality_is_quoted(made: Path, tmp_path: Path) -> None:
    """Its name comes from the file, and is used in SQL."""
    name = "image)::text, (select 'secret"
    table = pq.read_table(made / "toy.parquet")
    renamed = table.rename_columns({"image": name})
    dimensions = {name: 8, "text": 8}
    missing = pa.array(["missing"] * ITEMS)
    renamed = renamed.append_column(f"{name}_status", missing)
    card = card_with(made, dimensions=dimensions)
    store = open_store(rewritten(made, tmp_path / "a.parquet", renamed, mmx_card=card))
    with open_sql(tmp_path / "none", tmp_path / "none", [], [store.path]) as opened:
        assert name in opened.ask("select * from a").column_names


@pytest.mark.parametrize(
    "facts",
    [
        {"mmx_versions": "[]"},
        {"mmx_versions": "1"},
        {"mmx_versions": "null"},
        {"mmx_versions": '{"a": 1}'},
        {"mmx_versions": '{"a": [1]}'},
        {"mmx_versions": "{"},
        {"mmx_versions": "[" * 100_000},
        {"mmx_dtype": "x"},
        {"mmx_rows": "x"},
        {"mmx_rows": "[]"},
    ],
)
def test_other_metadata(made: Path, tmp_path: Path, facts: dict[str, str]) -> None:
    with pytest.raises(DamagedError, match="is damaged"):
        open_store(rewritten(made, tmp_path / "a.parquet", **facts))


@pytest.mark.parametrize("text", ["[]", "1", '"x"', "{", "[" * 100_000])
def test_an_accuracy_of_another_shape(made: Path, tmp_path: Path, text: str) -> None:
    store = rewritten(made, tmp_path / "a.parquet", mmx_accuracy=text)
    with pytest.raises(DamagedError, match="is damaged"):
        accuracy_of(store)


def test_a_column_twice(made: Path, tmp_path: Path) -> None:
    table = pq.read_table(made / "toy.parquet")
    for name in table.column_names:
        twice = table.append_column(name, table[name])
        store = rewritten(made, tmp_path / "a.parquet", twice)
        with pytest.raises(StoreError, match=rf"has the columns {name} twice; extract it again"):
            fit(TrainJob(made / "data", features=[FeatureSpec(store)]), tmp_path / "run")


TYPES = ("string", "string_view", "dictionary of string", "large_string", "nulls of string", "null",
         "uuid", "binary latin-1", "int64", "double", "bool", "half null int64", "timestamp[us]",
         "list", "fixed list", "struct", "map")  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
def test_columns_of_other_types(made: Path, tmp_path: Path, kind: str) -> None:
    """Whatever reads it ends well or in one line."""
    table = pq.read_table(made / "toy.parquet")
    for place, name in enumerate(table.column_names):
        store = tmp_path / name / "a.parquet"
        store.parent.mkdir()
        rewritten(made, store, table.set_column(place, name, KINDS[kind]))
        uses(made, store, store.parent)


def test_texts_as_other_tools_write_them(made: Path, tmp_path: Path) -> None:
    table = pq.read_table(made / "toy.parquet")
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        columns = {name: table[name] for name in table.column_names}
        changed = pa.table(
            {n: c.cast(kind) if c.type == pa.string() else c for n, c in columns.items()}
        )
        folder = tmp_path / str(kind).partition("<")[0]
        folder.mkdir()
        store = rewritten(made, folder / "a.parquet", changed)
        assert open_store(store).verify() == []
        assert open_store(store).status_counts() == open_store(made / "toy.parquet").status_counts()


BAD_JOBS = [
    b"", b"[]", b"{}", b"null", b"3", b'{"card": {}, "dtype": "float32"}', b"\xff\xfe", b'{"card":',
    b'{"card": 3, "dtype": "float32"}', b'{"card": [], "dtype": []}', b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("job", [*BAD_JOBS, "dtype", "anew", "dimensions"])
def test_a_broken_job(made: Path, tmp_path: Path, job: bytes | str) -> None:
    """In the folder of parts: one line, and nothing is lost; --overwrite starts from scratch."""
    parts = tmp_path / "a.parquet.parts"
    parts.mkdir()
    card = json.loads(card_with(made, **({"dimensions": []} if job == "dimensions" else {})))
    sound: dict[str, Any] = {"card": card, "dtype": "float32", "anew": False}
    text = json.dumps({**sound, job: 3}) if job in ("dtype", "anew") else json.dumps(sound)
    (parts / "job.json").write_bytes(text.encode() if isinstance(job, str) else job)
    (parts / "part-000000.parquet").write_bytes((made / "toy.parquet").read_bytes())
    items, out = load_items(made / "data"), tmp_path / "a.parquet"
    with pytest.raises(DamagedError, match=r"job.json is damaged or lost; delete the folder"):
        extract(items, open_encoder("toy"), out)
    assert (parts / "part-000000.parquet").exists()
    assert extract(items, open_encoder("toy"), out, ExtractOptions(overwrite=True)).encoded == ITEMS


@pytest.mark.parametrize(
    "settings",
    [b"[]", b"", b"null", b"\xff", b'{"batch_size": "a", "part_size": 3}', b"[" * 100_000,
     b'{"batch_size": 0, "part_size": 3}', b'{"batch_size": 3, "part_size": 3, "accuracy": [1]}',
     b'{"batch_size": true, "part_size": 3}', b'{"batch_size": 2.5, "part_size": 3}'],
)  # fmt: skip
def test_broken_settings(tmp_path: Path, settings: bytes) -> None:
    """What was measured is measured again."""
    (tmp_path / "settings.json").write_bytes(settings)
    assert read_settings(tmp_path) is None


def test_a_broken_job_on_the_command_line(tmp_path: Path) -> None:
    write_shop(tmp_path / "data", items_table(), log_table())
    parts = tmp_path / "cache" / "toy.parquet.parts"
    parts.mkdir(parents=True)
    (parts / "job.json").write_text("[]")
    line = Shop(tmp_path).refused("extract", "--model", "toy", "--data", "data")
    assert "job.json is damaged or lost" in line


def test_a_pipe_among_the_files_of_a_store(made: Path, tmp_path: Path) -> None:
    """Opening it would wait for a writer that never comes."""
    (tmp_path / "store").mkdir()
    shutil.copy(made / "toy.parquet", tmp_path / "store/b.parquet")
    os.mkfifo(tmp_path / "store/a.parquet")
    line = Shop(tmp_path).refused("info", "store")
    assert "a.parquet cannot be read: not a regular file" in line


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("suffix", ["txt", "csv", "tsv"])
def test_lists_in_utf_16(tmp_path: Path, encoding: str, suffix: str) -> None:
    """As Excel and PowerShell save a text: the option that reads it is named."""
    path = tmp_path / f"ids.{suffix}"
    head = "" if suffix == "txt" else "item_id\n"
    path.write_bytes(f"{head}a1\nb2\n".encode(encoding))
    with pytest.raises(DataError, match=rf"looks like UTF-16: --encoding {encoding}$"):
        read_ids(path)


def test_other_lists(tmp_path: Path) -> None:
    table = pa.table({"item_id": WORDS, "x": WORDS})
    path = tmp_path / "ids.parquet"
    pq.write_table(table.append_column("item_id", table["x"]), path)
    with pytest.raises(DataError, match="has the column item_id twice"):
        read_ids(path)
    pq.write_table(table.append_column("x", table["x"]), path)
    assert read_ids(path).to_pylist() == WORDS  # whose other columns are not looked at
    with pytest.raises(DataError, match=r"not a file; \.parquet or"):
        read_ids(tmp_path)
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="is unreadable"):
        read_ids(tmp_path / "b.parquet")
