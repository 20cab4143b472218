"""``mmx sql`` without a query: the prompt within the process, and statements on stdin."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mmx.cli.app import app
from mmx.cli.sql_input import LONGEST, commands, split, without_comments
from mmx.cli.sql_prompt import Completer, _history, prompt
from mmx.errors import DataError, MmxError, OptionError, QueryError
from tests.sql.places import Places, make_places


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.chdir(tmp_path)
    return make_places(tmp_path)


@pytest.mark.parametrize("line", ["exit", "QUIT", ".exit", ".quit;"])
def test_leaving(places: Places, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    typed = iter(["select 1", ";", line])
    monkeypatch.setattr("builtins.input", lambda text: next(typed))
    monkeypatch.setenv("XDG_STATE_HOME", str(places.root))
    shown: list[str] = []
    with places.open() as opened:
        prompt(opened, shown.append)
    assert shown == ["select 1\n;"]


def test_ctrl_c_beside_a_query_leaves_the_prompt_open(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter(["select 1", "select 2;", "select 3;", "exit"])

    def split_or_stop(text: str) -> tuple[list[str], str]:
        if "2" in text:
            raise KeyboardInterrupt
        return split(text)

    monkeypatch.setattr("builtins.input", lambda text: next(typed))
    monkeypatch.setattr("mmx.cli.sql_prompt.split", split_or_stop)
    monkeypatch.setenv("XDG_STATE_HOME", str(places.root))
    shown: list[str] = []
    with places.open() as opened:
        prompt(opened, shown.append)
    assert shown == ["select 3;"]  # what was typed before it is forgotten


def test_a_history_that_cannot_be_kept_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readline = pytest.importorskip("readline")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert _history(readline) is None
    assert "no history is kept: " in capsys.readouterr().err.replace("\n", " ")


def piped(text: str | bytes, *arguments: str) -> Result:
    result = CliRunner().invoke(app, ["sql", *arguments], input=text)
    if isinstance(result.exception, MmxError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_statements_on_stdin_are_run(places: Places) -> None:
    shown = piped("-- a remark\nselect 1 as one;\n\n;select ';' as two\n").stdout
    assert "one" in shown
    assert "two" in shown
    rows = piped("select item_id from fake", "--json").stdout
    assert json.loads(rows) == [{"item_id": "a"}, {"item_id": "b"}, {"item_id": "c"}]
    assert (
        piped("select 'ü' as a;\nselect 2 as b", "--format", "csv").stdout == '"a"\n"ü"\n"b"\n2\n'
    )
    assert "1 rows" in piped("\ufeffselect 1 as a;", "--out", "one.csv").output
    with pytest.raises(OptionError, match="--out takes one statement; stdin has 2"):
        piped("select 1; select 2", "--out", "two.csv")
    with pytest.raises(QueryError, match=r"^statement 2 of 3: SQL: Parser Error"):
        piped("select 1; selec 2; select 3")
    for empty in ("", " \n", "-- only a remark", ";;"):
        with pytest.raises(OptionError, match="no SQL: give a query, or statements on stdin"):
            piped(empty)
    with pytest.raises(DataError, match="stdin is not UTF-8"):
        piped(b"select '\xff'")
    with pytest.raises(DataError, match="stdin has more than 16 MiB; SQL statements are expected"):
        piped(" " * (LONGEST + 1))
    with pytest.raises(OptionError, match=r"\.tables is for the prompt"):
        piped(".tables\n")


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (
            "markdown",
            "| item\\_id | v |\n| --- | --- |\n| a\\|b \\*c\\* | \\[1.5, null\\] |\n|  | 1 |\n",
        ),
        ("csv", '"item_id","v"\n"a|b\n*c*","[1.5, null]"\n,"1"\n'),
        ("tsv", '"item_id"\t"v"\n"a|b\n*c*"\t"[1.5, null]"\n\t"1"\n'),
        ("jsonl", '{"item_id": "a|b\\n*c*", "v": "[1.5, null]"}\n{"item_id": null, "v": "1"}\n'),
    ],
)
def test_formats(places: Places, form: str, text: str) -> None:
    query = "values ('a|b\n*c*', '[1.5, null]'), (null, '1')"
    asked = f"select * from ({query}) t(item_id, v)"
    assert piped(asked, "--format", form).stdout == text
    if form == "markdown":
        for _ in range(2):
            piped(asked, "--out", "t.md", "--overwrite")
            assert Path("t.md").read_text() == text
    assert len(piped("from range(50)", "--format", form).stdout.splitlines()) >= 50
    assert "│" in piped("select 1", "--format", "table").stdout


def test_formats_that_are_refused(places: Places) -> None:
    for arguments, said in (
        (["--format", "tabel"], "--format tabel is unknown; did you mean 'table'?"),
        (["--format", "csv", "--json"], "--json and --format csv are given; drop one"),
        (["--format", "csv", "--out", "x.csv"], "the suffix of --out says its own"),
    ):
        with pytest.raises(OptionError, match=re.escape(said)):
            piped("select 1", *arguments)


@pytest.mark.parametrize(
    ("text", "expected", "rest"),
    [
        ("select 1; select 2", ["select 1;"], " select 2"),
        ("select ';'; x", ["select ';';"], " x"),
        ("select 'ü;ü' as \"ä;\"; y", ["select 'ü;ü' as \"ä;\";"], " y"),
        ("select $$;$$ /* ; */ -- ;\n;", ["select $$;$$ /* ; */ -- ;\n;"], ""),
        ("select 'open ; ", [], "select 'open ; "),
        ("/* open ; ", [], "/* open ; "),
        (" ;; -- a\n; z", [], " z"),
        ("select '\ud800';", ["select '?';"], ""),
    ],
)
def test_where_a_statement_ends(text: str, expected: list[str], rest: str) -> None:
    assert split(text) == (expected, rest)


def test_lines_with_a_dot_are_ours_between_statements_only() -> None:
    lines = [".help\n", "select 1\n", ".5;\n", "  .exit \n", "-- x\n", ".tables\n", "select 2"]
    expected = [".help", "select 1\n.5;", ".exit", ".tables", "-- x\nselect 2"]
    assert list(commands(lines)) == expected
    assert (
        without_comments("select 1 -- one\n, '--' /* two */\nfrom t;") == "select 1 , '--' from t;"
    )


def test_what_tab_offers(places: Places) -> None:
    with places.open() as opened:
        found = Completer(opened)
        assert found.matches("text_tr") == ["text_truncated"]
        assert found.matches('"clip') == ['"clip-mini"']
        assert found.matches("FAKE.text_t") == ["FAKE.text_tokens", "FAKE.text_truncated"]
        assert found.matches("f.text_tr") == ["f.text_truncated"]
        assert '"vbpr-fake".items' in found.matches('"vbpr-fake".')
        assert found.matches("near") == ["nearest"]
        assert "cosine" in found.matches("cos")
        assert "group" in found.matches("gr")
        assert found.matches(".t") == [".tables"]
        assert found.matches("nosuchword") == []
        assert [found("text_tr", state) for state in (0, 1)] == ["text_truncated", None]
