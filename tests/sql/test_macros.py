"""``cosine`` and ``nearest``: what they compute and what they refuse, at both levels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmx.data.id_order import hashes
from mmx.errors import QueryError
from mmx.sql import Sql, open_sql
from tests.cache.small_store import store
from tests.sql.conftest import Trap
from tests.sql.places import make_places

NAN = math.nan
VECTORS = [[1, 0, 0], [1, 0.5, 0], [2, 0, 0], [1, 0, 0], None, [0, 0, 0], [NAN, 1, 1], [0, 1, 0],
           [math.inf, 0, 0], [-1, 0, 0]]  # fmt: skip


def write(path: Path, vectors: list[Any], ids: list[str] | None = None) -> Path:
    """A store with these image vectors; texts are (1, n)."""
    path.parent.mkdir(exist_ok=True)
    n = len(vectors)
    return store(
        path, item_id=ids or [f"i{number}" for number in range(n)], image=vectors,
        text=[[1, number] for number in range(n)], image_status=["ok"] * n, text_status=["ok"] * n,
        text_tokens=[1] * n, text_truncated=[False] * n, content_hash=["1"] * n,
    )  # fmt: skip


@pytest.fixture(scope="module", params=["local", "served"])
def opened(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Sql:
    places = make_places(tmp_path_factory.mktemp("macros"))
    write(places.root / "cache" / "odd.one.parquet", VECTORS)
    return places.open(level=request.param)


def ids(opened: Sql, call: str) -> list[str]:
    return opened.ask(f"select item_id from {call}")["item_id"].to_pylist()


def test_nearest_has_what_can_be_compared_best_first(opened: Sql) -> None:
    twins = sorted(["i2", "i3"], key=lambda item: int(hashes(pa.array([item]))[0]))
    found = opened.ask("from nearest('odd.one', 'i0')")
    assert found["item_id"].to_pylist() == [*twins, "i1", "i7", "i9"]
    expected = [1, 1, 2 / math.sqrt(5), 0, -1]
    np.testing.assert_allclose(found["similarity"].to_numpy(), expected, atol=1e-6)
    for k in (0, 1, 3, 5):
        assert ids(opened, f"nearest('odd.one', 'i0', {k})") == [*twins, "i1", "i7", "i9"][:k]


def test_a_store_is_named_as_one_likes_and_no_query_hides_it(opened: Sql) -> None:
    for name in ("fake", "'fake'", "'FAKE'", "'clip-mini'", '"clip-mini"'):
        assert ids(opened, f"nearest({name}, 'a', 1)") == ["c"]
    hidden = "with fake as (select 'x' as item_id) select item_id from nearest('fake', 'a')"
    assert opened.ask(hidden)["item_id"].to_pylist() == ["c"]


def test_a_modality_is_named_or_the_first(opened: Sql) -> None:
    assert ids(opened, "nearest('odd.one', 'i0', 2, modality := 'TEXT')") == ["i1", "i2"]
    assert ids(opened, "nearest('odd.one', 'i4', 1, modality := 'text')") == ["i5"]


def test_nearest_can_be_joined_and_counted(opened: Sql) -> None:
    query = "select i.text, n.similarity from nearest('fake', 'c') n join items i using (item_id)"
    assert opened.ask(query)["text"].to_pylist() == ["mug"]
    each = "from (values ('i0'), ('i1')) t(id), nearest('twins', t.id, 1) order by id"
    write(opened.files[0].parent / "twins.parquet", [[1, 0, 0], [1, 1, 0], [1, 0.2, 0]])
    with open_sql(opened.files[0].parent, "none") as other:
        assert other.ask(each)["item_id"].to_pylist() == ["i2", "i2"]


REFUSED = [
    ("nearest('nosuch', 'i0')", "nearest: no store nosuch; known: clip-mini, fake, odd.one"),
    ("nearest(NULL, 'i0')", "no store NULL"),
    ("nearest('odd.one/', 'i0')", "no store odd.one/"),
    ("nearest('odd.one', 'zz')", "no item zz in this store"),
    ("nearest('odd.one', 'zz', 5)", "no item zz in this store"),
    ("nearest('odd.one', 7)", "no item 7 in this store"),
    ("nearest('odd.one', NULL)", "no item NULL in this store"),
    ("nearest('odd.one', 'i4')", "item i4 has no vector of this modality"),
    ("nearest('odd.one', 'i5')", "the vector of item i5 is zero or not finite"),
    ("nearest('odd.one', 'i6')", "the vector of item i6 is zero or not finite"),
    ("nearest('odd.one', 'i8')", "the vector of item i8 is zero or not finite"),
    ("nearest('odd.one', 'i0', NULL)", "k is NULL; a whole number is expected"),
    ("nearest('odd.one', 'i0', -1)", "cannot be negative"),
    ("nearest('odd.one', 'i0', 'x')", "Could not convert string 'x'"),
    ("nearest('odd.one', 'i0', 3, modality := 'audio')", "has image, text vectors, not audio"),
]


@pytest.mark.parametrize(("call", "said"), REFUSED)
def test_what_nearest_refuses(opened: Sql, call: str, said: str) -> None:
    with pytest.raises(QueryError) as error:
        opened.ask(f"select count(*) from {call}")
    first = str(error.value).splitlines()[0]
    assert said in first
    assert "double quotes" not in first


def test_an_unknown_id_is_an_error_where_nothing_can_be_compared(tmp_path: Path) -> None:
    for number, vectors in enumerate(([], [None], [[1, 0, 0]])):
        write(tmp_path / "cache" / f"s{number}.parquet", vectors)
    with open_sql(tmp_path / "cache", tmp_path) as opened:
        for number in range(3):
            with pytest.raises(QueryError, match="no item zz"):
                opened.ask(f"from nearest('s{number}', 'zz')")
        assert opened.ask("from nearest('s2', 'i0')").num_rows == 0
    with (
        open_sql(tmp_path / "none", tmp_path) as opened,
        pytest.raises(QueryError, match="no store s0; known: none"),
    ):
        opened.ask("from nearest('s0', 'zz')")


FILES = """
nearest('W', 'a')
nearest('S', 'a')
nearest('R/unattached.parquet', 'a')
nearest('main.items', 'a')
nearest('items', 'a')
nearest('fake; select 1', 'a')
nearest('fake"', 'a')
nearest('fake', 'a', modality := 'item_id')
nearest('fake', 'a', modality := 'image" from read_text(''/etc/passwd'') --')
nearest('fake', 'a'' or true --')
nearest('fake', (select content from read_text('W')))
nearest((select content from read_text('W')), 'a')
nearest('fake', 'a', (select size from read_text('W')))
nearest('fake', 'a', modality := (select content from read_text('W')))
nearest('fake', getenv('HOME'))
nearest('fake', repeat('x', 2000000000))
""".strip().splitlines()


@pytest.mark.parametrize("call", FILES)
def test_nearest_names_no_file(trap: Trap, served: Sql, call: str) -> None:
    before, calls = trap.state(), len(trap.calls)
    with pytest.raises(QueryError) as error:
        served.ask(f"from {trap.filled(call)}")
    assert "secret" not in str(error.value)
    assert "root:" not in str(error.value)
    assert (trap.state(), trap.calls[calls:]) == (before, [])


def test_what_is_served_of_the_macros_names_no_folder(trap: Trap, served: Sql) -> None:
    shown = served.ask("select macro_definition from duckdb_functions() where macro_definition "
                       "is not null and function_name in ('nearest', 'cosine')")  # fmt: skip
    assert shown.num_rows == 2
    assert trap.root.as_posix() not in str(shown.to_pylist())


def test_cosine_is_null_where_nothing_can_be_compared(opened: Sql) -> None:
    query = 'select item_id, cosine(image, [1, 0, 0]) as c from "odd.one" order by item_id'
    found = opened.ask(query)["c"].to_pylist()
    expected = [1, 2 / math.sqrt(5), 1, 1, None, None, None, 0, None, -1]
    assert found == [None if e is None else pytest.approx(e, abs=1e-6) for e in expected]
    best = opened.ask('select item_id from "odd.one" order by cosine(image, [0, 1, 0]) desc')
    assert best["item_id"][0].as_py() == "i7"
    pairs = opened.ask('select cosine(a.image, b.image) as c from "odd.one" a, "odd.one" b')
    assert sum(c is not None for c in pairs["c"].to_pylist()) == 36
    assert opened.ask("select cosine(NULL, image) as c from fake")["c"].null_count == 3
    with pytest.raises(QueryError, match="dimensions must be equal"):
        opened.ask("select cosine(image, text) from fake")


def test_vectors_are_not_kept_for_a_second_reading(opened: Sql) -> None:
    plan = opened.ask("explain from nearest('fake', 'a')")["explain_value"][0].as_py()
    kept = [line for line in plan.splitlines() if "CTE Name" in line]
    assert kept
    assert "CTE Name: found" not in plan


NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 2.0, 0.5, NAN])
ROWS = st.lists(st.one_of(st.none(), st.lists(NUMBERS, min_size=3, max_size=3)), min_size=1,
                max_size=30)  # fmt: skip


def test_nearest_is_brute_force_over_many_ties(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).choice(
        [0.0, 1.0, -1.0, 2.0, NAN], (80, 3), p=[0.4, 0.2, 0.2, 0.1, 0.1]
    )
    vectors = [
        [1.0, 0.5, 0.0],
        *(None if n % 9 == 0 else row for n, row in enumerate(drawn.tolist())),
    ]
    write(tmp_path / "cache" / "s.parquet", vectors)
    expected = _brute_force(vectors)
    with open_sql(tmp_path / "cache", tmp_path) as opened:
        for k in (1, 2, 3, 5, 9, len(expected) - 1, len(expected), 99):
            assert ids(opened, f"nearest('s', 'i0', {k})") == expected[:k]


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(vectors=ROWS, k=st.integers(0, 12))
def test_nearest_is_brute_force(
    tmp_path_factory: pytest.TempPathFactory, vectors: list[Any], k: int
) -> None:
    """Equal only up to rounding: vectors of other lengths may be a bit more or less similar."""
    folder = tmp_path_factory.mktemp("brute")
    write(folder / "cache" / "s.parquet", [[1.0, 0.5, 0.0], *vectors])
    with open_sql(folder / "cache", folder) as opened:
        found = opened.ask(f"from nearest('s', 'i0', {k})").to_pylist()
    expected = {item: -cosine for cosine, _, item in _scored([[1.0, 0.5, 0.0], *vectors])}
    best = sorted(expected.values(), reverse=True)[:k]
    assert [row["similarity"] for row in found] == pytest.approx(best, abs=2e-6)
    assert all(expected[r["item_id"]] == pytest.approx(r["similarity"], abs=2e-6) for r in found)
    keys = [(-r["similarity"], int(hashes(pa.array([r["item_id"]]))[0])) for r in found]
    assert keys == sorted(keys)


def _brute_force(vectors: list[Any]) -> list[str]:
    """The items by their cosine with the first, in float64; equal ones by the hash of the id."""
    return [item for _, _, item in sorted(_scored(vectors))]


def _scored(vectors: list[Any]) -> list[tuple[float, int, str]]:
    query = np.array(vectors[0])
    scored = []
    for number, vector in enumerate(vectors[1:], start=1):
        if vector is None or not np.isfinite(vector).all() or not np.any(vector):
            continue
        cosine = query @ vector / np.linalg.norm(query) / np.linalg.norm(vector)
        item = f"i{number}"
        scored.append((-round(cosine, 6), int(hashes(pa.array([item]))[0]), item))
    return scored
