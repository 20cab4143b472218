"""``mmx sql`` as its users type it: what it prints, writes and refuses."""

from __future__ import annotations

import contextlib
import csv
import json
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from mmx.cli.app import app
from mmx.errors import MmxError, OptionError, QueryError
from tests.sql.places import Places, make_places


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.chdir(tmp_path)
    return make_places(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return make_places(tmp_path_factory.mktemp("asked"))


@pytest.fixture
def asked(made: Places, monkeypatch: pytest.MonkeyPatch) -> Places:
    """The same for tests that write nothing."""
    monkeypatch.chdir(made.root)
    return made


def run(*arguments: str, statements: str | None = None) -> Result:
    result = CliRunner().invoke(app, ["sql", *arguments], input=statements)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def printed(*arguments: str, statements: str | None = None) -> list[list[str]]:
    """The cells of the tables on stdout."""
    shown = run(*arguments, statements=statements).stdout
    lines = [line for line in shown.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


VALUES = [
    ("1234.56", "1234.56"),
    ("1234.56::double", "1234.56"),
    ("0.00004::double", "4e-05"),
    ("0.00004", "0.00004"),
    ("0.1::float", "0.1"),
    ("123456789.125::double", "123456789.125"),
    ("1e20::double", "1e+20"),
    ("2::double", "2.0"),
    ("9007199254740993", "9007199254740993"),
    ("sum(9007199254740993)", "9007199254740993"),
    ("'nan'::double", "nan"),
    ("null", "—"),
    ("true", "yes"),
    ("[0.1, 0.25]::float[2]", "[0.1, 0.25]"),
    ("[1, 2, 3, 4, 5]", "[1, 2, 3, 4, …]"),
    ("['a', null]", '["a", null]'),
    ("{'a': 1, 'b': [0.5::float]}", '{"a": 1, "b": [0.5]}'),
    ("date '2024-02-29'", "2024-02-29"),
    ("interval 3 days", None),
    ("'\\x00ff'::blob", "006666"),
    ("'[new] mug'", "[new] mug"),
    ("'[/x]'", "[/x]"),
    ("'a' || chr(27) || '[31m' || chr(8238)", "a\\x1b[31m\\x202e"),
    ("repeat('x', 101)", None),
    ("'007'", "007"),
]


@pytest.fixture(scope="module")
def cells(made: Places) -> dict[str, str]:
    """What is shown of each of the values, a statement each."""
    values = [value for value, _ in VALUES]
    with contextlib.chdir(made.root):
        rows = printed(statements="".join(f"select {value} as v;\n" for value in values))
    return {value: cell for value, (cell,) in zip(values, rows, strict=True)}


@pytest.mark.parametrize(("value", "text"), VALUES)
def test_values_are_printed_as_they_are(
    cells: dict[str, str], value: str, text: str | None
) -> None:
    cell = cells[value]
    assert cell == text if text is not None else cell.endswith(("…", ")"))


def test_what_is_cut_has_a_mark(asked: Places) -> None:
    columns = ", ".join(f"{n} as a{n}" for n in range(60))
    (cells,) = printed(f"select {columns}")
    assert cells == [str(n) for n in range(60)]
    result = run("from range(41)")
    assert "40 of 41 rows" in result.output


def test_a_narrow_terminal_shows_that_columns_are_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmx.cli.output import print_table

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    print_table([f"a{n}" for n in range(20)], [list(range(20))])
    shown = capsys.readouterr()
    assert "…" in shown.out
    assert "6 of 20 columns" in shown.err


def test_plans_are_printed_whole(asked: Places) -> None:
    assert "Projections: item_id" in run("explain select item_id || 'x' from fake").stdout


def test_columns_of_one_name(asked: Places) -> None:
    query = "select a.*, b.* from fake a join fake b using (item_id) order by 1"
    assert printed(query)
    rows = json.loads(run(query, "--json").stdout)
    assert len(rows[0]) == 16
    assert rows[0]["image"] == rows[0]["image_1"] == [1.0, 2.0, 3.0]


def test_json_on_stdout(asked: Places) -> None:
    rows = json.loads(run("select 'ü' as a, 0.1::float as b, 'nan'::float as c", "--json").stdout)
    assert rows == [{"a": "ü", "b": 0.1, "c": None}]
    assert json.loads(run("select 1 as a where false", "--json").stdout) == []


QUERY = "select item_id, image, '007' as code, text_tokens, 'inf'::double as x from fake order by 1"


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".json", ".jsonl", ".CSV"])
def test_the_suffix_says_the_format(places: Places, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    result = run(QUERY, "--out", str(out))
    assert "3 rows" in result.output
    if suffix == ".parquet":
        table = pq.read_table(out)
        assert table["image"].to_pylist() == [[1, 2, 3], None, [0.5, -1, 0.25]]
        assert table.schema.metadata[b"mmx.table"] == b"1"
        return
    text = out.read_text()
    if "json" in suffix:
        rows = json.loads(text) if suffix == ".json" else list(map(json.loads, text.splitlines()))
        assert rows[2] == {"item_id": "c", "image": [0.5, -1.0, 0.25], "code": "007",
                           "text_tokens": None, "x": None}  # fmt: skip
        return
    delimiter = "\t" if suffix == ".tsv" else ","
    rows = list(csv.DictReader(text.splitlines(), delimiter=delimiter))
    assert rows[0] == {"item_id": "a", "image": "[1.0, 2.0, 3.0]", "code": "007",
                       "text_tokens": "3", "x": "inf"}  # fmt: skip
    assert rows[1]["image"] == ""
    found = duckdb.sql(f"from read_csv('{out}', delim = '{delimiter}', all_varchar = true)")
    assert found.fetchall()[2][:3] == ("c", "[0.5, -1.0, 0.25]", "007")


def test_every_type_can_be_written(places: Places, tmp_path: Path) -> None:
    every = 'select * exclude ("interval", "union", empty_struct) from test_all_types()'
    for suffix in (".parquet", ".csv", ".tsv", ".json", ".jsonl"):
        run(every if suffix == ".parquet" else "from test_all_types()", "--out", f"all{suffix}")
        assert (tmp_path / f"all{suffix}").stat().st_size
    run("from test_all_types()")
    run("from test_all_types()", "--json")
    with pytest.raises(OptionError, match=r"Parquet cannot hold this \(.*interval\); cast it"):
        run("select interval 3 days as i", "--out", "i.parquet")
    assert not (tmp_path / "i.parquet").exists()


def state(folder: Path) -> dict[Path, bytes | None]:
    paths = sorted(folder.rglob("*"))
    return {path: path.read_bytes() if path.is_file() else None for path in paths}


REFUSED = [
    (["--out", "out.xlsx"], "its suffix says the format: .parquet, .csv, .tsv, .json, .jsonl"),
    (["--out", "out"], "its suffix says the format"),
    (["--out", "no/such/out.csv"], "no folder no/such for out.csv; create it first"),
    (["--out", "old.csv"], "old.csv exists; set --out elsewhere, or --overwrite"),
    (["--out", "old.parquet"], "old.parquet exists"),
    (["--overwrite"], "--overwrite goes with --out"),
    (
        ["--store", "so.parquet", "--out", "so.parquet", "--overwrite"],
        "so.parquet is not an earlier table",
    ),
    (["--out", "cache/fake.parquet", "--overwrite"], "is not an earlier table of mmx"),
    (["--out", "shop/items.parquet", "--overwrite"], "is not an earlier table of mmx"),
    (["--data", "d", "--out", "d/items.csv", "--overwrite"], "is not an earlier table of mmx"),
    (["--data", "d", "--out", "d/prices.csv", "--overwrite"], "is read by this very command"),
    (["--out", "d/interactions.csv", "--overwrite"], "is not an earlier table of mmx"),
    (["--out", "runs/vbpr-fake/config.json", "--overwrite"], "is not an earlier table of mmx"),
    (["--out", "photo.csv", "--overwrite"], "is not an earlier table of mmx"),
    (["--out", "latin.csv", "--overwrite"], "is not an earlier table of mmx"),
    (["--out", "foreign.parquet", "--overwrite"], "is not an earlier table of mmx"),
    (["--out", "link.csv", "--overwrite"], "is not an earlier table of mmx"),
    (["--out", "folder.csv", "--overwrite"], "is not an earlier table of mmx"),
    (["--store", "nosuch.parquet"], "no store at nosuch.parquet"),
    (["--data", "nosuch"], "no dataset at nosuch"),
    (["--cache", "nosuch"], "--cache nosuch: no such folder"),
    (["--runs", "nosuch"], "--runs nosuch: no such folder"),
]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tables of earlier queries and other files, none of which may change."""
    folder = tmp_path_factory.mktemp("full")
    with contextlib.chdir(folder):
        make_places(folder).store("so").rename("so.parquet")
        run("select 1 as a", "--out", "old.parquet")
        run("select 1 as a", "--out", "old.csv")
        Path("d").mkdir()
        for name in ("items", "interactions"):
            Path(f"d/{name}.csv").write_text("item_id,user_id\na,b\n")
        run("select 'a' as item_id, 1 as price", "--out", "d/prices.csv")
        Path("photo.csv").write_bytes(b"\x89PNG\0\0")
        Path("latin.csv").write_bytes("prix\nœuf é\n".encode().replace(b"\xc3", b""))
        pq.write_table(pq.read_table("shop/items.parquet"), "foreign.parquet")
        Path("notes.md").write_text("mine")
        Path("link.csv").symlink_to(folder / "notes.md")
        Path("folder.csv").mkdir()
        Path("folder.csv/mine").write_text("x")
    return folder


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_refused_and_nothing_touched(
    full: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(full)
    before = state(full)
    with pytest.raises(MmxError) as told:
        run("select item_id from fake", *options)
    assert said in str(told.value)
    assert state(full) == before


def test_what_the_query_names_is_not_replaced(places: Places, tmp_path: Path) -> None:
    run("select 1 as a", "--out", "mine.csv")
    before = (tmp_path / "mine.csv").read_bytes()
    for query in ("from 'mine.csv'", "from read_csv('m*.csv')", f"from '{tmp_path}/mine.csv'"):
        with pytest.raises(MmxError, match="is read by this very command"):
            run(query, "--out", "mine.csv", "--overwrite")
    assert (tmp_path / "mine.csv").read_bytes() == before


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".json", ".jsonl"])
def test_overwrite_replaces_what_mmx_wrote(places: Places, tmp_path: Path, suffix: str) -> None:
    out = f"out{suffix}"
    run("select 1 as a", "--out", out)
    first = (tmp_path / out).read_bytes()
    with pytest.raises(QueryError):  # fails after rows have been written
        run("select item_id::int as a from fake", "--out", out, "--overwrite")
    assert (tmp_path / out).read_bytes() == first
    found = json.loads(run("select 2 as a", "--out", out, "--overwrite", "--json").stdout)
    assert found == {"out": out, "rows": 1}
    assert (tmp_path / out).read_bytes() != first
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_broken_store_is_named(places: Places, tmp_path: Path) -> None:
    (tmp_path / "cache" / "half.parquet").write_bytes(b"PAR1")
    result = run("select 1 as a")
    assert "cache/half.parquet is damaged" in result.output


def test_writing_needs_unsafe(places: Places, tmp_path: Path) -> None:
    query = "copy fake to 'out.csv'"
    with pytest.raises(QueryError, match=r"COPY is not allowed; .*; --unsafe takes any SQL"):
        run(query)
    assert not (tmp_path / "out.csv").exists()
    run(query, "--unsafe")
    assert (tmp_path / "out.csv").exists()
