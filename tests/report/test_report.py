"""``mmx report``: one safe file whatever is in titles and names, and one line where it cannot."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.errors import OptionError, RunError, UnknownIdError
from mmx.report.build import ReportOptions, report
from tests.cache.small_store import store as small_store
from tests.report.worlds import BAD, hostile_world, names

VOID = {"meta", "img", "br", "hr"}
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "h3", "h4", "p", "div",
    "b", "span", "nav", "ol", "ul", "li", "a", "main", "section", "article", "footer", "table",
    "caption", "thead", "tbody", "tr", "th", "td", "code", "figure", "figcaption", "svg", "g",
    "line", "text", "polyline", "circle", "rect", "path", "image", "img",
}  # fmt: skip


class Outline(HTMLParser):
    """Every element and attribute of a page; elements must be closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise AssertionError(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def named(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def check(text: str) -> Outline:
    """Whole, and with nothing that runs, is fetched, or came out of the data as markup."""
    page = Outline(text)
    assert not page.open
    assert page.tags <= ALLOWED
    names = {name for _, name, _ in page.attributes}
    assert not [name for name in names if name.startswith("on")]
    assert "style" not in names
    places = page.named("src") + page.named("href")
    assert all(re.match(r"#[a-z-]+$|data:image/jpeg;base64,", place) for place in places)
    assert "\x1b" not in text
    ids = page.named("id")
    assert len(ids) == len(set(ids))
    assert {place[1:] for place in places if place.startswith("#")} <= set(ids)
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert ElementTree.fromstring(drawing).get("aria-label")
    return page


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_world(tmp_path_factory.mktemp("shop"))


def test_hostile_names_stay_text(shop: Path) -> None:
    options = ReportOptions(stores=[shop / "store.parquet"], column=BAD, users=30, seed=1)
    text = report([shop / "runs/knn", shop / "runs/popular<b>"], options)
    page = check(text)
    assert any("<script>alert(1)" in one for one in page.texts)
    assert text == report([shop / "runs/knn", shop / "runs/popular<b>"], options)
    assert any(place.startswith("data:image/jpeg") for place in page.named("src"))
    said = " ".join(page.texts)
    for words in (
        "popular<b>", "p < 0.05", "Holm-Bonferroni", "coverage", "cold", "taken in the test",
        "most like", "kind 0", "gone <script>", "longer than the tokenizer", "Solved at once",
        "has no images and texts in one space", "Drawn at random",
    ):  # fmt: skip
        assert words in said, words


def test_what_is_not_there_names_the_option(shop: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    moved = tmp_path / "knn"
    moved.mkdir()
    for file in (shop / "runs/knn").iterdir():
        text = file.read_bytes().replace(str(shop / "data").encode(), b"/nowhere/at/all")
        (moved / file.name).write_bytes(text if file.name == "config.json" else file.read_bytes())
    page = check(report([moved], ReportOptions(users=2), log=lines.append))
    said = " ".join(page.texts)
    assert "--store STORE" in said
    assert "--data DIR" in said
    assert "One run" in said
    assert any("--data DIR" in line for line in lines)
    assert not page.named("src")
    again = check(report([moved], ReportOptions(shop / "data", [shop / "store.parquet"])))
    assert again.named("src")
    assert "--data" not in " ".join(again.texts)


def test_named_users_and_sampled_lists(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmx.report.facts.MOST_USERS", 5)
    found = report([shop / "runs/knn"], ReportOptions(user=["u1", f"u3{BAD}"], mistakes=2))
    said = " ".join(check(found).texts)
    assert "u1" in said
    assert said.count(" has place 1 ") <= 2
    with pytest.raises(UnknownIdError, match="nobody"):
        report([shop / "runs/knn"], ReportOptions(user=["nobody"]))


def test_of_a_store(shop: Path, tmp_path: Path) -> None:
    where = small_store(tmp_path / "s<i>.parquet")
    said = " ".join(check(report([where])).texts)
    for words in ("file not found", "s<i>.parquet", "1 texts", "without a vector"):
        assert words in said, words
    text = report([shop / "store.parquet"], ReportOptions(data=shop / "data", column="price"))
    assert " to " in " ".join(check(text).texts)


def test_what_cannot_be_reported(shop: Path, tmp_path: Path) -> None:
    run, store = shop / "runs/knn", shop / "store.parquet"
    with pytest.raises(OptionError, match="--store"):
        report([run, store])
    with pytest.raises(OptionError, match="no run or store"):
        report([])
    with pytest.raises(OptionError, match="--user"):
        report([store], ReportOptions(user=["u1"]))
    with pytest.raises(OptionError, match="--store"):
        report([store], ReportOptions(stores=[store]))
    with pytest.raises(OptionError, match="--column nope"):
        report([run], ReportOptions(column="nope"))
    with pytest.raises(OptionError, match="--column price"):
        report([store], ReportOptions(column="price"))
    with pytest.raises(OptionError, match="--modality"):
        report([store], ReportOptions(modality="sound"))
    with pytest.raises(OptionError, match="users"):
        ReportOptions(users=-1)
    done: list[tuple[int, int]] = []
    report([store], progress=lambda *numbers: done.append(numbers))
    assert done == [(1, 1)]
    with pytest.raises(RunError, match="no run or store at"):
        report([tmp_path / "nothing"])
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    with pytest.raises(RunError):
        report([broken])
    assert names()[0].startswith("i0<script>")


def test_a_history_of_texts_draws_no_curve(tmp_path: Path) -> None:
    run = tmp_path / "old-bpr"
    shutil.copytree(Path(__file__).parents[1] / "recommend/fixtures/old-bpr", run)
    words = pa.table({"epoch": [1, 2], "loss": ["x", "y"], "valid_recall@20": ["x", "y"]})
    pq.write_table(words, run / "history.parquet")
    check(report([run]))


@pytest.mark.parametrize("name", ["old-bpr", "old-end-to-end", "old-fused", "old-itemknn"])
def test_runs_of_every_kind(name: str) -> None:
    page = check(report([Path(__file__).parents[1] / "recommend/fixtures" / name]))
    assert ("Health of the store" in " ".join(page.texts)) == (name == "old-end-to-end")
