"""One text of several columns: what is written between and around values that may be missing."""

from __future__ import annotations

import pyarrow as pa
import pytest

from mmx.data.templates import TextTemplate
from mmx.errors import OptionError

LAMP = {"title": "Lamp", "brand": "Acme", "year": 2014, "tags": ["a", "b"]}


@pytest.mark.parametrize(
    ("template", "missing", "text"),
    [
        ("{title}. {brand}", "", "Lamp. Acme"),
        ("{title}. {brand}", "brand", "Lamp"),
        ("{title}. {brand}", "title", "Acme"),
        ("{title}. {brand}", "title brand", None),
        ("{title} ({brand}), {year}", "", "Lamp (Acme), 2014"),
        ("{title} ({brand}), {year}", "brand", "Lamp, 2014"),
        ("{title} ({brand}), {year}", "title", "(Acme), 2014"),
        ("{title} ({brand}), {year}", "title brand", "2014"),
        ("{title} ({brand})", "brand", "Lamp"),
        ("{title} by {brand}", "brand", "Lamp"),
        ("{title} by {brand}", "title", "by Acme"),
        ("Title: {title}. Brand: {brand}.", "", "Title: Lamp. Brand: Acme."),
        ("Title: {title}. Brand: {brand}. Year: {year}.", "brand", "Title: Lamp. Year: 2014."),
        ("Title: {title}. Brand: {brand}. Year: {year}.", "title", "Brand: Acme. Year: 2014."),
        ("Title: {title}. Brand: {brand}. Year: {year}.", "year", "Title: Lamp. Brand: Acme"),
        ("{title}, {brand}, {year}", "brand", "Lamp, 2014"),
        ("{title} - {brand} | {year}", "brand", "Lamp | 2014"),
        ("{title}{brand}", "", "LampAcme"),
        ("{title}{brand}", "title", "Acme"),
        ("{year} dollars, {brand}", "year", "Acme"),
        ("{title}: {tags}", "", "Lamp: a, b"),
        ("{{{title}}}", "", "{Lamp}"),
        ("{title}/{title}", "", "Lamp/Lamp"),
    ],
)  # fmt: skip
def test_no_stray_marks(template: str, missing: str, text: str | None) -> None:
    row = {name: None if name in missing.split() else value for name, value in LAMP.items()}
    assert TextTemplate.parse(template).render(row) == text


def test_values_are_plain_text() -> None:
    template = TextTemplate.parse("{title}. {brand}")
    assert template.render({"title": " A &amp; B\n &#39;C&#39; ", "brand": "  "}) == "A & B 'C'"
    assert template.render({"title": "What a mug!", "brand": "Acme"}) == "What a mug! Acme"
    assert template.render({"title": "Mug Inc.", "brand": "Acme"}) == "Mug Inc. Acme"
    assert template.render({"title": "{brand}", "brand": "{0.x}"}) == "{brand}. {0.x}"
    assert template.render({"title": float("nan"), "brand": 1.5}) == "1.5"


@pytest.mark.parametrize(
    "template",
    [
        "", "title", "{", "}", "{title", "title}", "{}", "{ }", "{title.upper}", "{title[0]}",
        "{title!r}", "{title:>99999999}", "{0.__class__}", "{a{b}}",
    ],
)  # fmt: skip
def test_only_columns_are_taken(template: str) -> None:
    with pytest.raises(OptionError, match="--text"):
        TextTemplate.parse(template)


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(OptionError, match="there is no column titel; did you mean 'title'"):
        TextTemplate.parse("{titel}").check(["title", "brand"])


def test_a_table_gets_a_text_for_each_row() -> None:
    table = pa.table({"item_id": ["1", "2"], "title": ["A", None], "brand": ["B", None]})
    made = TextTemplate.parse("{title}. {brand}").column(table)
    assert made.to_pylist() == ["A. B", None]
