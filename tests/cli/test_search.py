"""``mmx search``, ``similar`` and ``duplicates`` as a user types them."""

from __future__ import annotations

import contextlib
import json
import shutil
import tarfile
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from mmx.cli.app import app
from mmx.cli.output import settings
from mmx.errors import MmxError, OptionError
from mmx.search import searcher
from tests.cli.conftest import Shop


@pytest.fixture(scope="module")
def priced(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The shop with a price and a title of each item, in a folder of its own."""
    folder = tmp_path_factory.mktemp("priced")
    shutil.copytree(shop.path / "data", folder / "data")
    (folder / "cache").mkdir()  # other tests of the shop write more stores into its own
    shutil.copy(shop.path / "cache/toy.parquet", folder / "cache")
    table = pq.read_table(folder / "data/items.parquet")
    count = table.num_rows
    table = table.append_column("price", pa.array([float(n) for n in range(count)]))
    table = table.append_column("title", pa.array([f"Item <b>{n}</b>" for n in range(count)]))
    pq.write_table(table, folder / "data/items.parquet")
    return Shop(folder)


def invoke(shop: Shop, *arguments: str) -> Result:
    """In this process: of many mistakes each would start Python again."""
    with contextlib.chdir(shop.path):
        return CliRunner().invoke(app, [*arguments])


def answer(shop: Shop, *arguments: str) -> Any:
    result = invoke(shop, *arguments, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def test_words_and_pictures(priced: Shop) -> None:
    rows = answer(priced, "search", "word word word", "--k", "4")
    assert [row["rank"] for row in rows] == [1, 2, 3, 4]
    assert (rows[0]["item_id"], rows[0]["title"]) == ("i2", "Item <b>2</b>")
    assert rows[0]["score"] == 1.0
    rows = answer(priced, "search", "data/images/7.png", "--where", "price between 3 and 5",
                       "--show", "price, title", "--show", "price", "--store", "cache/toy.parquet",
                       "--data", "data")  # fmt: skip
    assert [(row["item_id"], row["price"]) for row in rows] == [("i5", 5), ("i4", 4), ("i3", 3)]
    done = priced.mmx("search", "word", "--where", "price < 0")  # as a program
    assert "0 of 20 items: no others meet --where and have a vector (40 items" in done.stderr


def test_similar_to_one_and_to_all(priced: Shop) -> None:
    done = invoke(priced, "similar", "i7", "--k", "2")
    assert "Item <b>" in done.stdout
    assert "store: cache/toy.parquet" in done.stderr
    one = answer(priced, "similar", "i7", "--k", "2", "--modality", "text")
    invoke(priced, "similar", "--all", "--k", "2", "--modality", "text", "--out", "all.parquet")
    table = pq.read_table(priced.path / "all.parquet")
    assert table.column_names == ["item_id", "similar_id", "rank", "score"]
    assert table.num_rows == 80
    for row, other in zip(one, table.to_pylist()[14:16], strict=True):
        assert {key: row[key] for key in other} == pytest.approx(other)


def test_similar_to_all_resumes(priced: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["similar", "--all", "--k", "2", "--where", "price < 30", "--out"]
    assert invoke(priced, *command, "whole.parquet").exit_code == 0
    before = {path.name for path in priced.path.iterdir()}
    monkeypatch.setattr(searcher, "BLOCK", 8)
    search, asked = searcher.Searcher._others, []

    def interrupted(self: object, nearest: object, rows: Any, k: int) -> Any:
        asked.append(len(rows))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return search(self, nearest, rows, k)  # type: ignore[arg-type]

    monkeypatch.setattr(searcher.Searcher, "_others", interrupted)
    assert invoke(priced, *command, "part.parquet").exit_code
    assert settings.kept == "lists that are made are kept; the same command continues"
    (folder,) = {path.name for path in priced.path.iterdir()} - before
    assert len(list((priced.path / folder).iterdir())) == 2
    assert invoke(priced, *command, "part.parquet").exit_code == 0
    assert asked == [8, 8, 8, 8, 6]
    assert {path.name for path in priced.path.iterdir()} - before == {"part.parquet"}
    whole, part = (pq.read_table(priced.path / f"{name}.parquet") for name in ("whole", "part"))
    assert part.equals(whole)


def test_duplicates(priced: Shop) -> None:
    rows = answer(priced, "duplicates", "cache/toy.parquet", "--threshold", "0.9999",
                       "--modality", "text", "--where", "price > 30")  # fmt: skip
    assert {row["group"] for row in rows} == {1}
    assert rows[0]["item_id"] == "i31"
    assert rows[0]["score"] == 1


def test_mistakes_are_one_line(priced: Shop) -> None:
    for arguments, kind, said in [
        (["search", "x", "--modality", "image"], 2, "--modality image is unknown"),
        (["search", " "], 2, "the query is empty"),
        (["search", "absent.png"], 1, "absent.png: no such picture"),
        (["search", "x", "--where", "prize < 3"], 1, "--where: Binder Error"),
        (["search", "x", "--where", "1=1); copy items to 'x.csv'; select (1"], 1, "--where: "),
        (["search", "x", "--where", " "], 2, "--where is empty"),
        (["search", "x", "--where", "true", "--data", "nowhere"], 1, "no dataset at nowhere"),
        (["search", "x", "--show", "titel"], 2, "did you mean 'title'"),
        (["search", "x", "--k", "0"], 2, "--k 0: at least 1 is expected"),
        (["search", "x", "--index", "hnsw"], 2, "40 items are searched exactly at once"),
        (["similar", "i700"], 1, "unknown item: i700"),
        (["similar"], 2, "give either an item id or --all"),
        (["similar", "--all"], 2, "--all needs --out"),
        (["similar", "i1", "--overwrite"], 2, "--overwrite goes with --out"),
        (["similar", "i1", "--store", "cache/none.parquet"], 1, "no store at cache/none.parquet"),
        (["duplicates", "cache/toy.parquet", "--threshold", "98"], 2, "--threshold 98"),
        (["duplicates", "cache/toy.parquet", "--out", "cache/toy.parquet"], 1, "toy.parquet"),
    ]:  # fmt: skip
        result = invoke(priced, *arguments)
        assert isinstance(result.exception, MmxError), (arguments, result.exception)
        text = str(result.exception)
        assert said in text
        assert "\n" not in text
        assert isinstance(result.exception, OptionError) == (kind == 2), text
    assert not (priced.path / "x.csv").exists()


def test_an_index_of_a_store_elsewhere_is_refused_before_its_vectors_are_read(
    priced: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = "memory://priced/far.parquet"
    with fsspec.open(far, "wb") as file:
        file.write((priced.path / "cache/toy.parquet").read_bytes())
    assert len(answer(priced, "similar", "i7", "--store", far, "--k", "2")) == 2
    monkeypatch.setattr(searcher, "load_vectors", lambda *_: pytest.fail("they are read"))
    for arguments in (["similar", "i7"], ["similar", "--all", "--out", "x.csv"], ["search", "x"]):
        result = invoke(priced, *arguments, "--store", far, "--index", "hnsw")
        assert isinstance(result.exception, OptionError)
        assert str(result.exception) == (
            "--index hnsw is kept next to a store on this machine; drop it, or copy the store here"
        )


def test_tar_shards_have_no_columns_to_ask(priced: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = priced.path / "shards"
    folder.mkdir()
    with tarfile.open(folder / "0.tar", "w") as file:
        file.add(priced.path / "data/images/7.png", "i7.png")
    shutil.copy(priced.path / "data/interactions.parquet", folder)
    for data in ("shards", "shards/0.tar", "shards/{0..0}.tar"):
        for arguments in (["--where", "price < 3"], ["--show", "title"], []):
            result = invoke(priced, "similar", "i7", "--data", data, *arguments)
            assert isinstance(result.exception, MmxError)
            assert str(result.exception) == (
                f"{data} is tar shards, which have no items table to ask; name a table with "
                "item_id and the columns"
            )
    monkeypatch.setenv("MMX_DATA", "shards")  # not given for this command
    assert len(answer(priced, "similar", "i7", "--k", "2")) == 2
