"""Views by name, and what a mistake in SQL says."""

from pathlib import Path

import pytest

from mmx.cache.sql import connect, query, view_names
from mmx.errors import QueryError
from tests.cache.test_store import store
from tests.catalogue import write_interactions, write_items


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path, Path]:
    (tmp_path / "cache").mkdir()
    store(tmp_path / "cache" / "fake.parquet")
    store(tmp_path / "cache" / "clip-mini.parquet")
    data = write_items(tmp_path / "shop", [{"item_id": "a", "text": "mug"}, {"item_id": "b"}])
    write_interactions(data, [("u", "a")])
    run = tmp_path / "runs" / "vbpr-fake"
    write_items(run, [{"item_id": "a"}])
    (run / "config.json").write_text("{}")
    return tmp_path / "cache", tmp_path / "runs", data


def test_stores_runs_and_datasets_are_views(places: tuple[Path, Path, Path]) -> None:
    cache, runs, data = places
    connection = connect(cache, runs, [data])
    assert view_names(connection) == [
        '"clip-mini"', "fake", "interactions", "items", "shop.interactions", "shop.items",
        '"vbpr-fake".items',
    ]  # fmt: skip
    table = query(
        connection,
        "select item_id, text.text, array_cosine_similarity(f.image, f.image) as same "
        "from fake f join items text using (item_id) order by item_id",
    )
    assert table.to_pylist() == [
        {"item_id": "a", "text": "mug", "same": pytest.approx(1.0)},
        {"item_id": "b", "text": None, "same": None},
    ]


def test_a_mistake_is_one_line_that_names_the_views(places: tuple[Path, Path, Path]) -> None:
    connection = connect(*places[:2])
    with pytest.raises(QueryError, match=r"fakes does not exist.*views: .*fake"):
        query(connection, "select * from fakes")
    with pytest.raises(QueryError, match=r"^SQL: Parser Error"):
        query(connection, "selec 1")


def test_absent_folders_are_no_error(tmp_path: Path) -> None:
    assert query(connect(tmp_path / "c", tmp_path / "r"), "select 1 as one").to_pylist() == [
        {"one": 1}
    ]
