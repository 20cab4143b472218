"""Example users and mistakes in words, and the reasons of a list."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mmx.report.facts import Pick
from mmx.report.items import Cards
from mmx.report.markup import absent, esc, number, short, table
from mmx.report.mistakes import Mistake
from mmx.report.people import mistakes_html, people_html, reasons
from tests.cache.stores import make_store

ITEMS = Cards(pa.table({"item_id": ["a", "b", "c"], "title": ["The A", "The B", "T" * 80]}), None)
MISTAKE = Mistake("u7", "a", 1.23456, 1, 3, 2, 1500)


def words(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "|", html))


def facts(name: str, **lists: list[Pick]) -> Any:
    return SimpleNamespace(name=name, lists=lists)


def test_a_user_and_their_lists() -> None:
    lists = [Pick("b", 2.3456, "test"), Pick("a", 1.0, "valid"), Pick("c", -0.5, "")]
    one, other = facts("first<", u1=lists), facts("second", u2=[])
    page = people_html([one, other], {"u1": (["a", "b"], 2), "u2": (["c"], 1500)}, ITEMS, None)
    said = words(page)
    assert "Pictures need the dataset:" in said
    assert "Reasons need the store of the items' vectors:" in said
    assert "|u1|" in said
    assert "Took 2 items in training|" in said
    assert "Took 1,500 items in training, the latest 1|" in said
    assert "first< recommends: 1 of 3 were taken in the test" in said
    assert said.count("does not know this user.") == 2
    for line in ("✓ taken in the test||1. score 2.35", "✓ taken in validation||2. score 1",
                 "|3. score -0.5", "Nothing."):  # fmt: skip
        assert line in said.replace("|||", "||"), line
    assert said.count("✓") == 2
    assert 'aria-label="What u1 took"' in page
    assert 'aria-label="What first&lt; recommends to u1"' in page


def test_reasons_name_the_closest(tmp_path: Path) -> None:
    inf = float("inf")
    image = [[1.0, 0, 0], [0, 1, 0], [1, 1, 0], [inf, 0, 0], None]
    text = [[1.0, 0], None, [0, 1], None, None]
    status = {"image_status": ["ok"] * 4 + ["gone"], "text_status": ["ok", "x", "ok", "x", "x"]}
    store = make_store(tmp_path / "s.parquet", [*"abcde"], image=image, text=text, **status)
    assert reasons(store, ["c", "a", "d", "e"], ["a", "b", "d"]) == [
        ("a", "image", pytest.approx(0.5**0.5)), ("b", "image", 0.0), None, None
    ]  # fmt: skip
    assert reasons(store, ["c"], ["gone", "a"]) == [("a", "image", pytest.approx(0.5**0.5))]
    assert reasons(store, ["a"], []) == reasons(None, ["a"], ["b"]) == [None]
    assert reasons(store, [], ["a"]) == []
    lists = {"u": [Pick("c", 1.0, ""), Pick("d", 0.5, "")]}
    page = words(people_html([facts("run", **lists)], {"u": (["a"], 1)}, ITEMS, store))
    assert "like The A (image, 0.71)" in page
    assert page.count("like ") == 1
    assert "Reasons need" not in page
    page = words(
        people_html([facts("run", u=[Pick("a", 1.0, "")])], {"u": (["c"], 1)}, ITEMS, store)
    )
    assert f"like {'T' * 49}… (image, 0.71)" in page


def test_a_mistake_in_words(tmp_path: Path) -> None:
    def said(one: Mistake, people: Any, store: Any = None) -> str:
        return words(mistakes_html([one], people, ITEMS, store, "run"))

    assert ("“The A” has place 1 for u7, with score 1.23. They trained on 3 items and took 2 other "
            "items in the test; the best of these has place 1,500 for the model.|") in said(
                MISTAKE, {})  # fmt: skip
    single = replace(MISTAKE, place=1234, trained=1, held_out=1, best=0)
    assert ("has place 1,234 for u7, with score 1.23. They trained on 1 item and took 1 other item "
            "in the test; the model ranks none of these.|") in said(single, {})  # fmt: skip
    rows = [[1.0, 0, 0], [1, 1, 0], [0, 1, 0]]
    store = make_store(tmp_path / "s.parquet", [*"abc"], image=rows, image_status=["ok"] * 3)
    told = said(MISTAKE, {"u7": (["b", "c"], 2)}, store)
    assert "It is most like “The B”, which they took (image, 0.71)." in told
    none = words(mistakes_html([], {}, ITEMS, None, "run"))
    assert none == "|run recommends nothing that its users did not take.|"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"), (9.99994, "9.9999"), (10.0, "10.0"), (-10.0, "-10.0"), (-9.5, "-9.5000"),
        (1234.56, "1,234.6"), (1234567, "1,234,567"), (float("inf"), "—"), (False, "False"),
        (np.float32(0.5), "0.5"), ("—", "—"),
    ],
)  # fmt: skip
def test_numbers_in_cells(value: object, said: str) -> None:
    assert number(value) == said


def test_numbers_are_to_the_right() -> None:
    heads = ["name", "x", "y", "z", "w", "v"]
    rows = [["a", 1, "0.5 ± 0.1", "−2", "word", None], ["b", None, "<0.01", "+3 *", "5", ""]]
    made = table(heads, rows, "a <caption>")
    assert re.findall(r'<th scope="col" ([^>]*)>', made) == [
        "", 'class="n"', 'class="n"', 'class="n"', "", ""
    ]  # fmt: skip
    assert "<caption>a &lt;caption&gt;</caption>" in made
    assert 'aria-label="a &lt;caption&gt;"' in made
    assert made.count('<th scope="row">') == 2
    assert made.count('<td class="n">') == 6
    bare = table(["a"], [])
    assert "<caption>" not in bare
    assert 'aria-label="table"' in bare
    assert 'class="n"' not in bare


def test_texts_are_cut_and_escaped() -> None:
    assert short("x" * 160) == "x" * 160
    assert short("x" * 161) == "x" * 159 + "…"
    assert short("ab cd", 4) == "ab…"
    assert short("a\nb") == "a b"
    assert esc("\ud800<'\">&") == "?&lt;&#x27;&quot;&gt;&amp;"
    assert absent("a <b>", "--x <y>") == (
        '<p class="absent">a &lt;b&gt; <code>--x &lt;y&gt;</code></p>'
    )
