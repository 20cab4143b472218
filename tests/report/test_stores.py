"""The health of a store in words and figures."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from mmx.report import stores
from mmx.report.stores import health_html
from tests.cache.stores import make_store


def rows(html: str) -> list[list[str]]:
    """The cells of each row of its tables."""
    found = re.findall(r"<tr>(.*?)</tr>", html)
    cells = [re.findall(r"<t[hd].*?</t[hd]>", row) for row in found]
    return [[unescape(re.sub("<[^>]*>", "", cell)) for cell in row] for row in cells]


def test_counts_reasons_and_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "REASONS", 2)
    ids = [f"{n:02}" + "x" * 50 for n in range(20)]
    image = ["ok"] * 8 + ["missing"] * 2 + ["corrupt"] * 5 + ["too <large>"] * 3 + ["gone", "odd"]
    text = ["ok"] * 19 + ["missing"]
    cut = [True] * 3 + [False] * 16 + [None]
    store = make_store(
        tmp_path / "s.parquet", ids, image_status=image, text_status=text, text_truncated=cut,
        image=[[1.0, 2, 3] if one == "ok" else None for one in image],
        text=[[1.0, 2] if one == "ok" else None for one in text],
    )  # fmt: skip
    page = health_html(store)
    found = rows(page)
    assert found[:3] == [
        ["input", "rows", "encoded", "missing", "failed", "encoded, share"],
        ["image", "20", "8", "2", "10", "40.0 %"],
        ["text", "20", "19", "1", "0", "95.0 %"],
    ]
    names = [f"{one[:39]}…" for one in ids]
    assert found[3:8] == [
        ["input", "why", "rows", "for example"],
        ["image", "missing", "2", ", ".join(names[8:10])],
        ["image", "corrupt", "5", ", ".join(names[10:15])],
        ["image", "too <large>", "3", ", ".join(names[15:18])],
        ["text", "missing", "1", names[19]],
    ]
    assert "2 more reasons are not listed." in page
    assert f"3 texts (15.0 %) were longer than the tokenizer takes and are cut, for example of " \
           f"{', '.join(names[:3])}." in page  # fmt: skip
    assert "missing: image 0.1, text 0.05; failed: image 0.5, text 0" in page
    facts = dict(row for row in found[8:] if len(row) == 2)
    assert (facts["encoder"], facts["numbers of a vector"]) == ("fake", "image 3, text 2")
    assert (facts["stored as"], facts["length 1"]) == ("float32", "no")
    assert facts["size"] == f"{store.size / 1e6:.1f} MB"


def test_a_store_that_lacks_nothing(tmp_path: Path) -> None:
    ok, one, two = ["ok"] * 3, [[1.0, 2, 3]] * 3, [[1.0, 2]] * 3
    store = make_store(tmp_path / "s.parquet", 3, image=one, text=two, image_status=ok,
                       text_status=ok, text_truncated=[False] * 3)  # fmt: skip
    page = health_html(store)
    assert "Every row has all its vectors." in page
    assert "No text was longer than the tokenizer takes." in page
    assert "Rows without a vector" not in page
    assert "not listed" not in page
    assert stores._share(0, 0) == "—"
