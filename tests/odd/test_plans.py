"""Plans of any shape, and what is in a grid's folder: one line, whatever it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmx.errors import OptionError, RunError
from mmx.experiments.grid import Grid
from mmx.experiments.journal import Journal
from mmx.experiments.plan import load_plan
from mmx.experiments.report import report
from tests.cli.conftest import Shop
from tests.odd.shop import attempt

SMALL: dict[str, Any] = {
    "datasets": {"s": {"sample": {"items": 30, "users": 20}}},
    "features": {"none": "none"},
    "recommenders": {"popularity": {}},
}
WORDS = yaml.safe_dump(SMALL)
BOMB = "".join(f"  {b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi"))  # noqa: B905
TEXTS: dict[str, str | bytes] = {
    "a list": "[]",
    "a number": "3",
    "a text": "hello",
    "nothing": "",
    "deep": "[" * 3000 + "]" * 3000,
    "deep maps": "{a: " * 3000 + "}" * 3000,
    "deep lines": "\n".join(" " * n + "a:" for n in range(1500)),
    "a bomb": f"datasets:\n  a: &a [x,x,x,x,x,x,x,x,x]\n{BOMB}",
    "a bomb for a mapping": f"datasets:\n  a: &a [x,x,x,x,x,x,x,x,x]\n{BOMB}features: *i\n",
    "itself": "&a [*a]",
    "itself inside": "datasets: &a {x: *a}\nfeatures: {none: none}\nrecommenders: {bpr: {}}",
    "a tag": "!!python/object/apply:os.system ['echo hi']",
    "an unknown tag": "datasets: !foo {}",
    "no text": b"\xff\xfe\x00\x01",
    "UTF-16": WORDS.encode("utf-16"),
    "NUL": b"a: \x00",
    "a key twice": f"{WORDS}\nseeds: [1]\nseeds: [2]",
    "two documents": f"{WORDS}---\na: 1",
    "a list for a key": "{[a]: 1}",
    "a mapping for a key": "? {a: 1}\n: 2",
    "numbers for keys": "1: 2",
    "a merge of nothing": "<<: 3",
    "no date": "a: 2020-99-99",
    "endless digits": f"{WORDS}\nseeds: [1{'0' * 5000}]",
    "a set": "datasets: !!set {a, b}",
    "no base 64": "features: !!binary =x",
}
PLACES = (
    "datasets", "features", "recommenders", "seeds", "training", "metrics", "datasets s",
    "datasets s sample", "datasets s sample items", "datasets s k_core", "datasets s min_rating",
    "datasets s split", "datasets s data", "features x", "features x stores", "features x extract",
    "features x finetune", "features x end_to_end", "features x training", "features x search_as",
    "recommenders bpr settings", "recommenders bpr training", "recommenders bpr search",
    "recommenders bpr search reg", "recommenders bpr search lr", "recommenders bpr features",
    "recommenders bpr model", "recommenders bpr settings reg", "recommenders bpr training lr",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, 3, -1, "x", "", [], [[1]], [None], {}, {1: 2}, {"a": {"b": [1]}}, True, 1.5,
    float("nan"), [{"model": 3}], ["a", "a"], [float("inf")], 10**30,
)  # fmt: skip


def listed(path: Path, out: Path) -> str:
    """What reading and listing a plan end in: the one line of an MmxError, or the cells."""
    said = attempt(lambda: Grid(load_plan(path), out).listing())
    assert len(said) < 600
    return said


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_texts_that_are_not_a_plan(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(OptionError) as caught:
        load_plan(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("place", PLACES)
def test_values_of_other_kinds(tmp_path: Path, place: str) -> None:
    path = tmp_path / "plan.yaml"
    for value in VALUES:
        content = json.loads(json.dumps(SMALL))
        *outer, last = place.split()
        inner = content
        for name in outer:
            inner = inner.setdefault(name, {})
        inner[last] = value
        path.write_text(yaml.safe_dump(content))
        listed(path, tmp_path / "out")


def test_a_search_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(SMALL | {"recommenders": {"bpr": {"search": {"reg": []}}}}))
    line = Shop(tmp_path).refused("reproduce", "plan.yaml", "--dry-run", code=2)
    assert "plan.recommenders.bpr: search.reg: give at least one value, none twice" in line


@pytest.mark.parametrize(
    "text",
    [b"[]", b"null", b"3", b'{"a": "b"}', b'{"a": 1.5}', b'{"a": true}', b"{", b"\xff", b"",
     b"[" * 100_000],
)  # fmt: skip
def test_a_damaged_journal(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "started.json"
    path.write_bytes(text)
    with pytest.raises(RunError, match=r"started.json is damaged; --retry-failed begins a new one"):
        Journal(path)
    assert Journal(path, forget=True).started == {}


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"valid": {}, "test": {}, "counts": {}}', "[" * 100_000]
)
def test_a_finished_run_without_its_metrics(tmp_path: Path, text: str) -> None:
    """One cell's failure is its own, and the report is made of the others."""
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(SMALL | {"recommenders": {"popularity": {}, "itemknn": {}}}))
    out = tmp_path / "out"
    assert len(Grid(load_plan(path), out).run().finished) == 2
    broken = min((out / "runs").iterdir())
    (broken / "metrics.json").write_text(text)
    for work in (Grid.run, Grid.gather):  # as mmx reproduce, and with --tables
        grid = Grid(load_plan(path), out)
        outcome = work(grid)
        assert len(outcome.finished) == 1
        assert "is broken" in outcome.failures[0]["reason"]
        assert len(report(grid, outcome).results) == 1
