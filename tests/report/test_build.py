"""What a report names, reads and says of how runs were made."""

from __future__ import annotations

import re
import shutil
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmx.errors import OptionError, RunError
from mmx.report import build
from mmx.report.build import ReportOptions, report
from tests.cache.stores import make_store
from tests.catalogue import plain_catalogue

FIXTURES = Path(__file__).parents[1] / "recommend/fixtures"


def words(html: str) -> str:
    return unescape(re.sub(r"(<[^>]*>)+", "|", html))


def facts(**config: Any) -> Any:
    return SimpleNamespace(name="a", path=Path("a"), config=config)


def test_names_of_runs() -> None:
    names = build._names([Path("x/one"), Path("y/one"), Path("y/two/"), Path("y/../y/three")])
    assert names == ["x/one", "y/one", "two", "three"]


def test_several_runs_on_one_page(tmp_path: Path) -> None:
    for place in ("x/one", "y/one", "y/two"):
        shutil.copytree(FIXTURES / "old-bpr", tmp_path / place)
    done: list[tuple[int, int]] = []
    paths = [tmp_path / place for place in ("x/one", "y/one", "y/two")]
    options = ReportOptions(users=2, mistakes=1)
    page = words(report(paths, options, lambda *numbers: done.append(numbers)))
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert "|x/one and y/one and 1 more|" in page
    assert "|x/one and y/one|" in words(report(paths[:2], options))
    assert "|8|users|12|items|48|interactions|" in page
    assert "|highest test recall@20, of x/one|" in page
    assert page.count("x/one recommends: ") == 2
    assert page.count(" has place 1 for ") == 1
    none = words(report(paths[:1], ReportOptions(users=0, mistakes=0)))
    assert " recommends: " not in none
    assert "recommends nothing that its users did not take" in none


def test_how_runs_were_made() -> None:
    whole = facts(
        model="vbpr", settings={"dim": 8, "l2": 0.1}, training={"seed": 7}, cost={"seconds": 1.26},
        split={"rule": "by user"},
        features=[{"encoder": "clip", "modality": m} for m in ("image", "text")],
    )  # fmt: skip
    body = build._made([whole, facts()]).body
    cells = [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", body)
    ]
    assert cells == [
        ["run", "model", "features", "settings", "seed", "split", "seconds"],
        ["a", "vbpr", "clip:image, clip:text", "dim=8 l2=0.1", "7", "by user", "1.3"],
        ["a", "—", "none", "—", "—", "—", "—"],
    ]


def test_stores_are_those_given_or_those_of_the_run(tmp_path: Path) -> None:
    lines: list[str] = []
    one, other = (make_store(tmp_path / f"{n}.parquet", 3).path for n in "ab")
    named = facts(features=[{"store": str(p)} for p in (one, one, tmp_path / "gone.parquet")]
                  + [{"store": "s3://x/y.parquet"}, {}])  # fmt: skip
    assert [store.path for store in build._stores([other], named, lines.append)] == [other]
    assert lines == []
    assert [store.path for store in build._stores([], named, lines.append)] == [one]
    (line,) = lines
    assert "no store at" in line
    assert line.endswith("; or give --store STORE")
    assert build._stores([], facts(features=None), lines.append) == []
    shutil.copy(one, tmp_path / "features.parquet")
    own = SimpleNamespace(
        path=tmp_path, config={"end_to_end": {"x": 1}, "features": [{"store": "z"}]}
    )
    found = build._stores([], own, lines.append)  # type: ignore[arg-type]
    assert [store.path.name for store in found] == ["features.parquet"]


def test_the_dataset_is_that_given_or_that_of_the_run(tmp_path: Path) -> None:
    lines: list[str] = []
    data = str(plain_catalogue(tmp_path / "data", items=2))
    for given, config in ((data, {}), (None, {"data": data}), (data, {"data": "gone"})):
        found = build._dataset(given, config, lines.append)
        assert found is not None
        assert len(found) == 2
    assert lines == []
    odd: list[dict[str, Any]] = [
        {},
        {"data": "gone"},
        {"data": ""},
        {"data": "s3://x"},
        {"data": 3},
    ]
    for number, config in enumerate(odd, 1):
        assert build._dataset(None, config, lines.append) is None
        assert len(lines) == number
    assert {*lines} == {"the dataset of the run is not there: no pictures; give --data DIR"}


def test_runs_and_stores_do_not_mix(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.parquet", 3).path
    run = FIXTURES / "old-bpr"
    for paths in ([run, store], [store, run]):
        with pytest.raises(
            OptionError, match=rf"{store} is not a run .* give it by --store {store}"
        ):
            report(paths)
    with pytest.raises(RunError, match="no run or store at"):
        report([store, tmp_path / "gone"])
    page = words(report([store, store]))
    assert "|s.parquet and s.parquet|" in page
    assert "|6|rows|fake|encoder|" in page
    assert page.index("Rows of s.parquet") < page.index(
        "Map of the items|", page.index("|rows|") + 400
    )


@pytest.mark.parametrize(("modality", "title"), [(None, "image"), ("text", "text")])
def test_which_vectors_are_drawn(tmp_path: Path, modality: str | None, title: str) -> None:
    store = make_store(tmp_path / "s.parquet", 9).path
    page = report([store], ReportOptions(modality=modality))
    assert f"{title} vectors of s.parquet" in page
