"""``mmx import`` and ``mmx export`` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmx.atomic import file_sha256
from mmx.data.formats import importing
from mmx.data.formats.importing import import_dataset
from mmx.data.formats.options import ImportOptions
from mmx.errors import OptionError, TargetError
from mmx.extract.encode import encode
from tests.catalogue import write_items
from tests.cli.conftest import Shop
from tests.data.formats.dumps import REVIEWS, amazon_2014, imported, packed, rows


@pytest.fixture
def there(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_import_then_export(there: Shop) -> None:
    reviews, meta = (str(path) for path in amazon_2014(there.path))
    done = there.mmx("import", "amazon", reviews, meta, "--out", "data", "--json")
    found = json.loads(done.stdout)
    assert (found["users"], found["items"], found["interactions"]) == (3, 3, 4)
    assert "1 items are known from interactions only" in done.stderr
    assert "data: 4 interactions of 3 users with 3 items" in done.stderr
    record = json.loads((there.path / "data/import.json").read_text())
    assert [source["name"] for source in record["sources"]] == [
        "reviews_X_5.json.gz", "meta_X.json.gz",
    ]  # fmt: skip
    assert record["sources"][0]["sha256"] == file_sha256(Path(reviews))
    assert sorted(path.name for path in there.path.iterdir() if path.is_dir()) == ["data"]
    done = there.mmx("export", "data", "--to", "recbole", "--out", "x/beauty")
    assert "x/beauty: 4 interactions of 3 users with 3 items" in done.stderr
    assert (there.path / "x/beauty/beauty.inter").exists()


def test_a_bad_line_is_one_line(there: Shop) -> None:
    packed(there.path / "r.json.gz", [json.dumps(REVIEWS[0]), "{"])
    line = there.refused("import", "amazon", "r.json.gz", "--out", "data")
    assert line == (
        "mmx: error: r.json.gz: line 2: it is not an object in JSON; fix the file, or "
        "--skip-bad-lines leaves such lines out"
    )
    assert not (there.path / "data").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("Query interrupted")])
def test_an_interrupted_import_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    sources = amazon_2014(tmp_path)
    imported("amazon", sources, tmp_path / "out")
    before = (tmp_path / "out/import.json").read_text()

    def stopped(*_: object, **__: object) -> None:
        raise error  # the second is what DuckDB makes of the first

    monkeypatch.setattr(importing, "write_interactions", stopped)
    with pytest.raises(KeyboardInterrupt):
        import_dataset("amazon", sources, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out/import.json").read_text() == before
    assert {path.name for path in tmp_path.iterdir()} == {"out", *(p.name for p in sources)}


def test_only_what_was_imported_is_replaced(tmp_path: Path) -> None:
    sources, out = amazon_2014(tmp_path), tmp_path / "out"
    imported("amazon", sources, out)
    with pytest.raises(TargetError, match="exists; set --out elsewhere, or --overwrite"):
        imported("amazon", sources, out)
    import_dataset("amazon", sources[:1], out, overwrite=True)
    assert rows(out, "items") == [("0001",), ("0002",), ("0009",)]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(TargetError, match="holds other things too"):
        import_dataset("amazon", sources, out, overwrite=True)


def test_options_out_of_bounds_are_refused(tmp_path: Path) -> None:
    for options, said in (
        ({"k_core": -1}, "--k-core -1"), ({"max_size": 0}, "--max-size 0"),
        ({"duplicates": "first"}, "--duplicates first is unknown"),
        ({"text": "{a.b}"}, "is not the name of a column"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=said):
            ImportOptions(**options)  # type: ignore[arg-type]
    sources = amazon_2014(tmp_path)
    with pytest.raises(OptionError, match="no column titel; did you mean 'title'"):
        imported("amazon", sources, tmp_path / "out", text="{titel}")
    with pytest.raises(OptionError, match="format amazom is unknown; did you mean 'amazon'"):
        imported("amazom", sources, tmp_path / "out")


def test_extract_makes_texts_of_columns(tmp_path: Path) -> None:
    items = [{"item_id": f"i{n}", "text": "not this"} for n in range(3)]
    data = write_items(tmp_path / "data", items, title=["a &amp; b", "c", None], brand=["x"] * 3)
    out = tmp_path / "toy.parquet"
    encode(data, "toy", out, text="{title}. {brand}", modalities=["text"])
    assert pq.read_table(out)["text_tokens"].to_pylist() == [4, 2, 1]
    again = encode(data, "toy", out, text="{title}. {brand}", modalities=["text"])
    assert again.encoded == 0
    with pytest.raises(OptionError, match="no column brnd; did you mean 'brand'"):
        encode(data, "toy", out, text="{brnd}", modalities=["text"])
