"""Every option of ``mmx recommend`` and ``mmx run forget-user`` once, as a user types them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.cli.conftest import Shop

pytestmark = pytest.mark.slow
ITEMS = 40
RUN = ("recommend", "runs/vbpr")
ONE = (*RUN, "--user", "u3")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Item n costs n and is of kind n % 3; runs with and without features."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    data = plain_catalogue(shop.path / "data", items=ITEMS)
    table = pq.read_table(data / "items.parquet")
    table = table.append_column("price", pa.array(range(ITEMS)))
    table = table.append_column("kind", pa.array([f"k{n % 3}" for n in range(ITEMS)]))
    pq.write_table(table, data / "items.parquet")
    write_interactions(data, random_log(30, ITEMS, 12))
    pq.write_table(table.slice(20), shop.path / "today.parquet")
    text = (("some.txt", "u1\nu2\n"), ("unknown.txt", "u1\nnobody\n"),
            ("new.csv", "user_id,item_id\nn1,i1\nn1,i2\nn2,i3\nn2,gone\n"),
            ("none.csv", "user_id,item_id\n"), ("strange.csv", "user_id,item_id\nn3,gone\n"),
            )  # fmt: skip
    for name, content in text:
        (shop.path / name).write_text(content)
    shop.mmx("extract", "--model", "toy", "--data", "data", "--quiet")
    train = ("train", "--data", "data", "--quiet", "--out")
    features = ("--features", "cache/toy.parquet", "--epochs", "3")
    shop.mmx(*train, "runs/vbpr", "--model", "vbpr", *features)
    shop.mmx(*train, "runs/knn", "--model", "itemknn")
    return shop


def taken(here: Shop, user: str) -> set[str]:
    """What a user took in any split."""
    table = pq.read_table(here.path / "data" / "interactions.parquet")
    return set(table.filter(pc.equal(table["user_id"], user))["item_id"].to_pylist())


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["item_id"] for row in rows]


def number(item: str) -> int:
    return int(item[1:])


def test_which_items(here: Shop) -> None:
    """--where, --catalogue and --per restrict the order of all items, and fill the list."""
    order = ids(here.json(*ONE, "--k", str(ITEMS)))
    assert set(order) == {f"i{n}" for n in range(ITEMS)} - taken(here, "u3")
    cheap = ids(here.json(*ONE, "--where", "price < 30 and kind = 'k1'", "--k", "4"))
    assert cheap == [one for one in order if number(one) < 30 and number(one) % 3 == 1][:4]
    today = here.json(*ONE, "--catalogue", "today.parquet", "--where", "price <> 25", "--k", "9")
    assert ids(today) == [one for one in order if number(one) >= 20 and one != "i25"][:9]
    capped, kinds = [], Counter()
    for one in order:
        kinds[number(one) % 3] += 1
        capped += [one] if kinds[number(one) % 3] <= 2 else []
    assert ids(here.json(*ONE, "--per", "kind=2", "--k", "9")) == capped
    assert len(capped) == 6


def test_who(here: Shop) -> None:
    """--users, --histories, --all: each user's list is the same one by one."""
    both = here.json(*RUN, "--users", "some.txt", "--k", "3")
    one = here.json(*RUN, "--user", "u2", "--k", "3")
    assert [row for row in both if row["user_id"] == "u2"] == one
    assert [row["user_id"] for row in both] == ["u1"] * 3 + ["u2"] * 3
    done = here.mmx(*RUN, "--histories", "new.csv", "--k", "3", "--out", "new.parquet")
    assert "left out 1 of 4 rows of the histories" in done.stderr
    new = pq.read_table(here.path / "new.parquet").to_pylist()
    assert [row["user_id"] for row in new] == ["n1"] * 3 + ["n2"] * 3
    assert ids(new)[:3] == ids(here.json(*RUN, "--items-from", "i1,i2", "--k", "3"))
    here.mmx(*RUN, "--all", "--k", "3", "--out", "all.csv", "--quiet")
    with (here.path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30 * 3
    assert list(rows[0]) == ["user_id", "rank", "item_id", "score"]
    assert ids([row for row in rows if row["user_id"] == "u2"]) == ids(one)


def test_a_fallback_is_marked(here: Shop) -> None:
    done = here.mmx(*RUN, "--users", "unknown.txt", "--fallback", "popular", "--k", "5",
                    "--out", "filled.parquet")  # fmt: skip
    assert "1 of 2 users are not in runs/vbpr" in done.stderr
    rows = pq.read_table(here.path / "filled.parquet").to_pylist()
    assert [(row["user_id"], row["fallback"]) for row in rows] == (
        [("u1", False)] * 5 + [("nobody", True)] * 5
    )
    assert all((row["score"] is None) == row["fallback"] for row in rows)
    log = pq.read_table(here.path / "runs/vbpr/interactions.parquet")
    train = log.filter(pc.equal(log["split"], "train"))["item_id"].to_pylist()
    most = sorted(Counter(train).values(), reverse=True)[:5]
    assert [Counter(train)[row["item_id"]] for row in rows[5:]] == most


def test_diversity_and_reasons(here: Shop) -> None:
    plain, diverse = (
        here.json("recommend", "runs/knn", "--user", "u3", "--k", "8", *more)
        for more in ((), ("--diversity", "1", "--store", "cache/toy.parquet:image"))
    )
    assert ids(plain)[0] == ids(diverse)[0]
    assert set(ids(plain)) != set(ids(diverse))
    explained = here.json(*ONE, "--explain", "--k", "3")
    assert ids(explained) == ids(here.json(*ONE, "--k", "3"))
    for row in explained:
        assert row["because_item"] in taken(here, "u3")
        assert row["because_modality"] in ("image", "text")
        assert 0 < row["similarity"] <= 1


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        ((*RUN, "--users", "unknown.txt"), "unknown.txt: unknown user: nobody", 1),
        ((*ONE, "--only", "i1,i2", "--only", "@unknown.txt"), "unknown.txt: unknown item: u1", 1),
        ((*ONE, "--exclude", "@unknown.txt"), "unknown.txt: unknown item: u1", 1),
        ((*RUN, "--items-from", "@unknown.txt"), "unknown.txt: unknown item: u1", 1),
        ((*RUN, "--items-from", "nothing"), "error: unknown item: nothing", 1),
        ((*RUN, "--users", "absent.txt"), "absent.txt", 1),
        ((*RUN, "--histories", "none.csv"), "none.csv has no rows", 1),
        ((*RUN, "--histories", "strange.csv"), "--histories: runs/vbpr has no item of 1 of 1", 1),
        ((*ONE, "--where", "price > 99"), "--where: no item of runs/vbpr meets", 1),
        ((*ONE, "--where", "price > "), "--where: Parser Error", 1),
        ((*ONE, "--where", "prise > 3"), "--where: .*prise", 1),
        ((*ONE, "--per", "kid=3"), "--per kid: .* no such column; did you mean 'kind'", 2),
        ((*ONE, "--per", "kind"), "--per kind: a column and a number are expected", 2),
        ((*ONE, "--catalogue", "absent"), "absent", 1),
        ((*ONE, "--fallback", "random"), "--fallback .*random", 2),
        ((*ONE, "--diversity", "1.5"), "--diversity 1.5: at most 1", 2),
        ((*ONE, "--store", "cache/toy.parquet"), "--store goes with --diversity or --explain", 2),
        ((*RUN, "--user", "u1", "--users", "some.txt"), "give one of --user ID, --users FILE", 2),
        (("recommend", "runs/knn", "--user", "u1", "--explain"), "--explain needs .*--store", 2),
        (("run", "forget-user", "runs/vbpr", "nobody"), "unknown user: nobody", 1),
        (("run", "forget-user", "runs/absent", "u1"), "no run at runs/absent", 1),
    ],
)
def test_one_line_errors(here: Shop, arguments: tuple[str, ...], said: str, code: int) -> None:
    line = here.refused(*arguments, code=code)
    assert pc.match_substring_regex(pa.array([line]), said)[0].as_py(), line


def test_forgetting_a_user(here: Shop) -> None:
    """The file names of a run stay, and the others' lists."""
    run, lists = here.path / "runs/vbpr", Path("lists.parquet")
    here.mmx(*RUN, "--all", "--out", str(lists), "--quiet")
    before = pq.read_table(here.path / lists)
    names = {path.name for path in run.iterdir()}
    done = here.mmx("run", "forget-user", "runs/vbpr", "u7", "--json")
    assert '"forgotten_users": 1' in done.stdout
    assert {path.name for path in run.iterdir()} == names
    here.mmx(*RUN, "--all", "--out", str(lists), "--overwrite", "--quiet")
    others = before.filter(pc.not_equal(before["user_id"], "u7"))
    assert pq.read_table(here.path / lists).equals(others)
    assert "unknown user: u7" in here.refused(*RUN, "--user", "u7")
