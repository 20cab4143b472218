"""What there is by name: odd names, broken and absent things."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmx.errors import DataError, QueryError, StoreError
from mmx.sql import open_sql
from tests.catalogue import write_items
from tests.sql.places import Places, make_places

ODD = (
    "both",
    "all",
    "desc",
    "select",
    "a.b",
    'a"b',
    "a'b",
    "2024 clip",
    "ü",
    "ORDER",
    "[x]",
    "a*b",
)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return make_places(tmp_path)


def test_stores_runs_and_datasets_are_views(places: Places) -> None:
    opened = places.open()
    assert opened.views == [
        '"clip-mini"', '"vbpr-fake".items', "fake", "interactions", "items", "shop.interactions",
        "shop.items",
    ]  # fmt: skip
    assert opened.notes == []
    table = opened.ask(
        "select item_id, text.text, array_cosine_similarity(f.image, f.image) as same "
        "from fake f join items text using (item_id) order by item_id"
    )
    assert table.to_pylist() == [
        {"item_id": "a", "text": "mug", "same": pytest.approx(1.0)},
        {"item_id": "b", "text": None, "same": None},
    ]


def test_absent_folders_are_not_an_error(tmp_path: Path) -> None:
    opened = open_sql(tmp_path / "c", tmp_path / "r")
    assert opened.ask("select 1 as one").to_pylist() == [{"one": 1}]


@pytest.mark.parametrize("level", ["local", "served"])
def test_no_name_breaks_anything(places: Places, level: str) -> None:
    for name in ODD:
        places.store(name)
        places.run(name)
    opened = places.open(level=level)
    assert opened.notes == []
    for name in ODD:
        written = '"' + name.replace('"', '""') + '"'
        assert opened.ask(f"from {written}").num_rows == 3
        assert opened.ask(f"from {written}.items").to_pylist()[0]["item_id"] == "a"
    for view in opened.views:
        opened.ask(f"from {view} limit 1")


@pytest.mark.parametrize("name", ["temp", "main", "system", "memory", "TEMP", "pg_catalog"])
def test_names_of_duckdb_are_noted(places: Places, name: str) -> None:
    run = places.run(name)
    opened = places.open()
    called = f"{name}_1"
    assert opened.notes == [f"{run} is called {called} here; {name} is taken"]
    assert opened.ask(f"from {called}.items").num_rows == 1
    assert opened.ask("from fake").num_rows == 3


def test_two_of_one_name_are_both_there(places: Places, tmp_path: Path) -> None:
    places.run("VBPR-fake")  # names are the same to SQL in upper and lower case
    places.store("items")
    (tmp_path / "other").mkdir()
    another = places.store("fake").rename(tmp_path / "other" / "fake.parquet")
    places.store("fake")
    shop = write_items(tmp_path / "other" / "shop", [{"item_id": "z"}])
    opened = places.open(datasets=[places.data, shop], stores=[another])
    assert len(opened.notes) == 4
    assert opened.ask("from shop_1.items").to_pylist()[0]["item_id"] == "z"
    assert opened.ask("from fake").equals(opened.ask("from fake_1"))
    assert opened.ask("from items_1").num_rows == 3  # the store; items is the dataset's
    assert opened.ask('from "vbpr-fake_1".items').num_rows == 1


def test_the_same_place_twice_is_there_once(places: Places, tmp_path: Path) -> None:
    fake = tmp_path / "cache" / "fake.parquet"
    opened = places.open(datasets=[places.data, places.data], stores=[fake, str(fake)])
    assert opened.notes == []
    assert "fake" in opened.views


def test_what_is_named_must_be_there(places: Places, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no store at .*nosuch\.parquet"):
        places.open(stores=[tmp_path / "nosuch.parquet"])
    with pytest.raises(StoreError, match="not an embedding store"):
        places.open(stores=[places.data / "items.parquet"])
    with pytest.raises(DataError, match=r"no dataset at .*nosuch: --data takes"):
        places.open(datasets=[tmp_path / "nosuch"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no tables"):
        places.open(datasets=[tmp_path / "empty"])
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "items.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(QueryError, match=r"items\.parquet is unreadable"):
        places.open(datasets=[tmp_path / "bad"])


def test_what_is_found_and_broken_is_noted(places: Places, tmp_path: Path) -> None:
    (tmp_path / "cache" / "broken.parquet").write_bytes(b"PAR1")
    write_items(tmp_path / "cache", [{"item_id": "a"}])  # Parquet, and no store
    (places.run("half") / "users.parquet").write_bytes(b"PAR1")
    opened = places.open()
    notes = "\n".join(opened.notes)
    assert len(opened.notes) == 3, notes
    assert "broken.parquet is damaged" in notes
    assert "items.parquet is Parquet but not an embedding store" in notes
    assert "half/users.parquet is unreadable" in notes
    assert opened.ask("from half.items").num_rows == 1


def test_a_catalogue_by_its_own_name(places: Places, tmp_path: Path) -> None:
    (tmp_path / "mugs.csv").write_text("item_id,price\na,3\n")
    opened = places.open(datasets=[tmp_path / "mugs.csv"])
    assert opened.ask("select price from items").to_pylist() == [{"price": 3}]
    assert opened.ask("select price from mugs.items").to_pylist() == [{"price": 3}]
    (places.data / "items.csv").write_text("item_id\nnone\n")  # Parquet is looked for first
    assert places.open().ask("from items").num_rows == 2


def test_views_stay_when_the_program_goes_elsewhere(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for level in ("local", "served"):
        opened = open_sql("cache", "runs", ["shop"], level=level)
        monkeypatch.chdir(tmp_path / "shop")
        assert opened.ask("from fake join items using (item_id)").num_rows == 2
        monkeypatch.chdir(tmp_path)
