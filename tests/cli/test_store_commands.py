"""``mmx store …`` as it is typed; what the commands do is tested in tests/cache."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmx.cache.store import open_store
from mmx.cli import main
from tests.cache.stores import make_store, names, rows


@dataclass(frozen=True)
class Place:
    """A working directory in which ``mmx`` runs, within this process for the sake of speed."""

    path: Path
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def mmx(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Run the CLI and check the exit code; what it prints on stdout and stderr."""
        self.patch.chdir(self.path)
        self.patch.setattr(sys, "argv", ["mmx", *arguments])
        self.capture.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = self.capture.readouterr()
        assert (left.value.code or 0) == code, f"exit {left.value.code}\n{out}\n{err}"
        return out, err

    def json(self, *arguments: str) -> Any:
        """Run with --json and parse what is printed."""
        return json.loads(self.mmx(*arguments, "--json")[0])

    def refused(self, *arguments: str, code: int = 1) -> str:
        """Run what must fail; the one line it says."""
        _, err = self.mmx(*arguments, code=code)
        (line,) = [line for line in err.splitlines() if line.startswith("mmx: error:")]
        return line


@pytest.fixture
def place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Place:
    """A folder with cache/a.parquet (i0 … i9) and cache/b.parquet (i5 … i14, other vectors)."""
    make_store(tmp_path / "cache/a.parquet", 10)
    make_store(tmp_path / "cache/b.parquet", [f"i{n}" for n in range(5, 15)], seed=1)
    return Place(tmp_path, capsys, monkeypatch)


def test_merge_filter_and_sql(place: Place) -> None:
    pair = ("cache/a.parquet", "cache/b.parquet")
    done = place.json("store", "merge", *pair, "--out", "cache/c.parquet", "--max-file-rows", "6")
    assert done == {"store": "cache/c.parquet", "rows": 15, "stores": 2}
    assert names(place.path / "cache/c.parquet") == [f"part-{n:05d}.parquet" for n in range(3)]
    assert place.json("info", "cache/c.parquet", "--verify")["rows"] == 15
    counted = "select count(*) as n, count(image) as images from c"
    assert place.json("sql", counted) == [{"n": 15, "images": 12}]
    out = ("--out", "cache/d.parquet")
    where = "array_inner_product(image, image) > 2"
    done = place.json("store", "filter", "cache/c.parquet", "--where", where, *out)
    assert place.json("sql", f"select count(*) as n from c where {where}") == [{"n": done["rows"]}]
    (place.path / "few.txt").write_text("i3\ni11\nnone\n")
    listed = ("store", "filter", "cache/c.parquet", "--items", "few.txt", *out)
    assert "exists; set --out elsewhere, or --overwrite" in place.refused(*listed)
    assert "--unknown-items drop" in place.refused(*listed, "--overwrite")
    _, said = place.mmx(*listed, "--overwrite", "--unknown-items", "drop")
    assert "cache/d.parquet: 2 rows" in said
    said = place.refused("store", "merge", *pair, "--out", "x", "--on-duplicate", "error")
    assert "5 items occur more than once" in said


@pytest.mark.parametrize("layout", ["npy", "safetensors", "mmrec", "embeddings"])
def test_convert_there_and_back(place: Place, layout: str) -> None:
    done = place.json("store", "convert", "cache/a.parquet", "--to", layout, "--out", "x")
    assert done == {"out": "x", "rows": 10, "missing": {"image": 2, "text": 2}}
    back = ("store", "convert", "x", "--from", layout, "--out", "cache/c.parquet")
    _, said = place.mmx(*back)
    assert "cache/c.parquet: 10 rows, 2 without image, 2 without text" in said
    found = [rows(open_store(place.path / f"cache/{name}.parquet")) for name in "ac"]
    assert found[0] == found[1]


def test_diff_says_it_and_leaves_with_0_unless_asked(place: Place) -> None:
    pair = ("store", "diff", "cache/a.parquet", "cache/b.parquet")
    found = place.json(*pair, "--worst", "2")
    assert (found["equal"], found["common"], found["only_in_a"], found["only_in_b"]) == (
        False, 5, 5, 5,
    )  # fmt: skip
    assert len(found["vectors"]["text"]["worst"]) == 2
    assert "The most different" in place.mmx(*pair)[0]
    assert json.loads(place.mmx(*pair, "--exit-code", "--json", code=1)[0])["equal"] is False
    place.mmx("store", "diff", "cache/a.parquet", "cache/a.parquet", "--exit-code")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("convert", "cache/a.parquet", "--out", "x"), 2, "say one of --to LAYOUT"),
        (("convert", "cache/a.parquet", "--to", "npz", "--out", "x"), 2, "did you mean 'npy'"),
        (
            ("convert", "cache/a.parquet", "--to", "npy", "--encoder", "e", "--out", "x"),
            2,
            "--from",
        ),
        (
            ("convert", "cache", "--from", "npy", "--encoder", "e", "--out", "x"),
            1,
            "no ids.parquet",
        ),
        (("filter", "cache/a.parquet", "--out", "x"), 2, "--where CONDITION, --items FILE"),
        (("filter", "cache/a.parquet", "--where", "txt = 1", "--out", "x"), 1, "columns: item_id"),
        (("merge", "cache/a.parquet", "--max-file-rows", "0", "--out", "x"), 2, "at least 1"),
        (("merge", "cache/a.parquet", "--on-duplicate", "lst", "--out", "x"), 2, "mean 'last'"),
        (("diff", "cache/a.parquet", "cache/none"), 1, "no store at cache/none"),
    ],
)
def test_mistakes_are_one_line(
    place: Place, arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert said in place.refused("store", *arguments, code=code)
    assert names(place.path) == ["cache"]


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
from mmx.cli import main
sys.argv = ["mmx", "store", "merge", "cache/a.parquet", "cache/b.parquet", "--out", sys.argv[1],
            "--overwrite"]
main()
"""


@pytest.mark.parametrize("out", ["cache/a.parquet", "cache/c.parquet"])
def test_a_full_disk_is_one_line(place: Place, out: str) -> None:
    before = pq.read_table(place.path / "cache/a.parquet")
    command = [sys.executable, "-c", LIMITED, out]
    done = subprocess.run(
        command, cwd=place.path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert f"mmx: error: cannot write {out}: File too large; free the disk" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(place.path / "cache") == ["a.parquet", "b.parquet"]
    assert pq.read_table(place.path / "cache/a.parquet").equals(before)
