"""Filters, thumbnails and the watch, each alone: limits, kinds and what is kept."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from mmx.errors import OptionError
from mmx.extract.reasons import ImageError
from mmx.serve import thumbs, watch
from mmx.serve.filters import LONGEST, MOST, Filter, kind_of, matching, parsed
from mmx.serve.options import ServeOptions
from mmx.serve.thumbs import STEPS, Thumbnails
from mmx.serve.watch import Watcher, signature

TABLE = pa.table({
    "n": pa.array([1, 2, None, 4]), "x": pa.array([0.5, 2.0, float("nan"), None]),
    "t": pa.array(["ab", "B", None, ""]), "flag": pa.array([True, False, None, True]),
    "when": pa.array([0, 86_400, 172_800, None], pa.timestamp("s")),
    "zoned": pa.array([0, 3_600, None, None], pa.timestamp("s", "+01:00")),
})  # fmt: skip


def meets(*conditions: tuple[str, str, Any]) -> list[bool]:
    filters = [Filter(column=c, op=o, value=v) for c, o, v in conditions]  # type: ignore[arg-type]
    return [bool(one) for one in matching(TABLE, filters)]


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        (("n", "in", [1.5, 2, 4.0]), [1, 3]), (("n", "in", []), []), (("n", "!=", 2), [0, 3]),
        (("n", "=", 2.5), []), (("n", "!=", 2.5), [0, 1, 3]), (("n", "<=", 1.5), [0]),
        (("x", ">", 0), [0, 1]), (("x", "!=", 0.5), [1, 2]), (("x", "in", [2]), [1]),
        (("t", "=", ""), [3]), (("t", "contains", "b"), [0, 1]), (("t", "contains", ""), [0, 1, 3]),
        (("t", "<", "a"), [1, 3]), (("t", "in", ["", "ab"]), [0, 3]),
        (("flag", "=", True), [0, 3]), (("flag", "!=", True), [1]), (("flag", "in", [False]), [1]),
        (("when", "<", "1970-01-02"), [0]), (("when", ">=", "1970-01-02T00:00:00+00:00"), [1, 2]),
        (("when", "=", "1970-01-02T02:00:00+02:00"), [1]),
        (("when", "in", ["1970-01-01", "1970-01-03"]), [0, 2]),
        (("zoned", "=", "1970-01-01T01:00:00"), [1]),
    ],
)  # fmt: skip
def test_conditions(condition: tuple[str, str, Any], rows: list[int]) -> None:
    assert [n for n, one in enumerate(meets(condition)) if one] == rows


def test_all_conditions_have_to_hold_and_there_may_be_so_many() -> None:
    assert meets() == [True] * 4
    assert meets(("n", ">", 1), ("x", ">", 0)) == [False, True, False, False]
    assert meets(*[("n", "=", 1)] * MOST) == [True, False, False, False]
    with pytest.raises(OptionError, match=f"{MOST + 1} are given; at most {MOST} are taken"):
        meets(*[("n", "=", 1)] * (MOST + 1))
    assert meets(("n", "in", [1] * LONGEST)) == [True, False, False, False]
    with pytest.raises(OptionError, match=f"in of n has more than {LONGEST} values"):
        meets(("n", "in", [1] * (LONGEST + 1)))


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (("n", "in", 1), "in of n takes a list of values"), (("n", "=", [1]), "= of n takes one v"),
        (("n", "contains", "1"), "contains compares texts; n is a number"),
        (("t", "contains", 1), "contains compares texts"), (("n", "=", True), "; True is not"),
        (("t", "=", 1), "t is a text; 1 is not"), (("flag", "=", 1), "flag is a boolean; 1 is not"),
        (("when", "=", "soon"), "when is a time; 'soon' is not one such as 2026-11-26"),
        (("when", "=", 3), "when is a time; 3 is not"), (("N", "=", 1), "'N' is not a column"),
        (("n", "=", 2**64), "a number is larger than the column can hold"),
        (("t", "=", "\ud800"), "not valid Unicode"), (("t", "contains", "\ud800"), "not valid Uni"),
    ],
)  # fmt: skip
def test_conditions_that_are_none(condition: tuple[str, str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        meets(condition)


def test_filters_of_a_query() -> None:
    assert parsed(None) == parsed("") == []
    (one,) = parsed('[{"column": "n", "op": "in", "value": [1, "a"]}]')
    assert (one.column, one.op, one.value) == ("n", "in", [1, "a"])
    with pytest.raises(OptionError, match=r"^filters 0\.op: .*; a list such as \[\{"):
        parsed('[{"column": "n", "op": "like", "value": 1}]')
    with pytest.raises(OptionError, match=r"^filters: "):
        parsed("{}")
    for more in ('"value": 1, "x": 2', '"value": Infinity', '"value": null'):
        with pytest.raises(OptionError):
            parsed(f'[{{"column": "n", "op": "=", {more}}}]')


def test_a_column_that_comes_twice_is_none() -> None:
    twice = pa.table([pa.array([1]), pa.array([2])], ["n", "n"])
    with pytest.raises(OptionError, match="'n' is not a column"):
        matching(twice, [Filter(column="n", op="=", value=1)])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (pa.int8(), "number"), (pa.float16(), "number"), (pa.decimal128(5, 2), "number"),
        (pa.bool_(), "boolean"), (pa.string(), "text"), (pa.large_string(), "text"),
        (pa.string_view(), "text"), (pa.date32(), "time"), (pa.timestamp("s"), "time"),
        (pa.dictionary(pa.int8(), pa.string()), "text"), (pa.binary(), None), (pa.null(), None),
        (pa.list_(pa.int8()), None), (pa.dictionary(pa.int8(), pa.binary()), None),
    ],
)  # fmt: skip
def test_kinds_of_columns(kind: pa.DataType, name: str | None) -> None:
    assert kind_of(kind) == name


def test_sides_of_thumbnails_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[int] = []

    def make(raw: bytes, side: int) -> bytes:
        sides.append(side)
        if raw == b"bad":
            raise ImageError("no")
        return raw

    monkeypatch.setattr(thumbs, "thumbnail", make)
    kept, read = Thumbnails(), str.encode
    wanted = [(1, 64), (64, 64), (65, 128), (256, 256), (257, 512), (1024, 1024), (5000, 1024)]
    for side, _ in wanted:
        assert kept.get(read, f"a{side}", side) == f"a{side}".encode()  # type: ignore[arg-type]
    assert sides == [made for _, made in wanted]
    assert {*sides} == {*STEPS}
    sides.clear()
    for _ in range(2):  # what cannot be shown is not tried again
        assert kept.get(read, "bad", 64) is None  # type: ignore[arg-type]
    assert sides == [64]


def test_thumbnails_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(thumbs, "thumbnail", lambda raw, side: (made.append(raw), bytes(100))[1])
    kept = Thumbnails(most=900)  # three of 100 and 200 for the key
    get: Any = lambda name: kept.get(lambda one: one, name, 64)  # type: ignore[arg-type, return-value]  # noqa: E731
    for name in "abcabc":
        get(name)
    assert made == ["a", "b", "c"]
    get("d")  # a goes
    get("b")
    get("a")  # c goes, since b was used
    get("b")
    get("c")
    assert made == ["a", "b", "c", "d", "a", "c"]
    for _ in range(3):  # two threads may make the same one
        kept._keep(("c", 64), bytes(100))
    assert kept._bytes == sum(len(one) + 200 for one in kept._kept.values()) == 900
    kept._keep(("huge", 64), bytes(1000))
    assert (kept._bytes, len(kept._kept)) == (0, 0)


def test_the_watch_looks_until_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()
    watcher = Watcher(SimpleNamespace(), (), print, every=0.001)  # type: ignore[arg-type]
    monkeypatch.setattr(watcher, "look", looked.set)
    with watcher.watching():
        assert looked.wait(30)
    watcher._thread.join(30)
    assert not watcher._thread.is_alive()


def test_a_file_of_the_same_size_is_another_one(tmp_path: Path) -> None:
    """Written again, and replaced by one whose time of change is the same."""
    file, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    options = ServeOptions((tmp_path / "run",), stores=(file,))
    for change in (lambda: file.write_text("[ ]"), lambda: os.replace(other, file)):
        for path in (file, other):
            path.write_text("( )")
            os.utime(path, (1, 1))
        before = signature(options)
        change()
        assert signature(options) != before


def test_what_was_taken_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, calls, over = iter([False, True, False]), list[str](), threading.Event()

    def look() -> bool:
        calls.append("look")
        if (found := next(answers, None)) is None:
            over.set()
        return bool(found)

    watcher = Watcher(SimpleNamespace(), (), print, every=0.001)  # type: ignore[arg-type]
    monkeypatch.setattr(watcher, "look", look)
    monkeypatch.setattr(watch, "settle", lambda: calls.append("settle"))
    with watcher.watching():
        assert over.wait(30)
    assert calls[:5] == ["look", "look", "settle", "look", "look"]


def test_what_a_signature_sees(tmp_path: Path) -> None:
    run, data = tmp_path / "run", tmp_path / "data"
    for folder in (run, data):
        folder.mkdir()
    options = ServeOptions((run,), data=data)
    for name in ("config.json", "../data/items.csv", "../data/x.tar", "../data/y.parquet"):
        before = signature(options)
        (run / name).write_text("{}")
        assert signature(options) != before, name
        before = signature(options)
        (run / name).write_text("{ }")  # of another size
        assert signature(options) != before, name
    before = signature(options)
    (data / "items.csv").unlink()
    assert signature(options) != before
    before = [one for one in signature(options) if one[0] != str(data)]
    (data / "picture.png").touch()
    assert [one for one in signature(options) if one[0] != str(data)] == before
    assert watch._facts(Path("a\0b")) == ("a\0b", 0, 0, 0)
