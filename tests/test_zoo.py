"""docs/zoo.md is what scripts/zoo.py makes of records, docstrings and figures."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from mmx.errors import RunError
from mmx.recommend.models import MODELS
from mmx.recommend.notes import notes_of

ROOT = Path(__file__).parents[1]


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = spec_from_file_location("zoo", ROOT / "scripts/zoo.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date_and_made_without_torch() -> None:
    code = (
        "import runpy, sys; sys.argv = ['zoo.py', '--check'];"
        "runpy.run_path('scripts/zoo.py', run_name='__main__');"
        "sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_old_page_is_reported(
    zoo: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(zoo, "PAGE", tmp_path / "zoo.md")
    monkeypatch.setattr(sys, "argv", ["zoo.py", "--check"])
    with pytest.raises(SystemExit, match=r"run python scripts/zoo\.py"):
        zoo.main()
    (tmp_path / "zoo.md").write_text("old\n")
    with pytest.raises(SystemExit, match=r"run python scripts/zoo\.py"):
        zoo.main()
    monkeypatch.setattr(sys, "argv", ["zoo.py"])
    zoo.main()
    assert (tmp_path / "zoo.md").read_text() == zoo.page()


def test_every_model_is_one_row_with_its_facts(zoo: ModuleType) -> None:
    rows = [line for line in zoo.page().split("## Beside")[0].splitlines() if line[:3] == "| `"]
    assert [row.split("`")[1] for row in rows[1:]] == list(MODELS)
    for row, record in zip(rows[1:], MODELS.values(), strict=True):
        cells = [cell.replace("\\", "").strip() for cell in row.split(" | ")]
        assert len(cells) == len(zoo.COLUMNS)
        assert record.citation in row
        assert cells[5:7] == [zoo._yes(record.cold_items), zoo._yes(record.new_users)]


def test_measured_costs_are_shown(
    zoo: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = {
        "processor": "A Processor", "threads": 1,
        "float32": {"bpr": {"seconds": 1.234, "gigabytes": 0.51},
                    "ease": {"seconds": 12.0, "gigabytes": 2.0},
                    "mentor": {"seconds": 106.06, "gigabytes": 1.82},
                    "gume": {"seconds": 99.6, "gigabytes": 1.82},
                    "pgl": {"seconds": 1234.2, "gigabytes": 1.82},
                    "popularity": {"seconds": 0.0, "gigabytes": 0.96}},
        "bfloat16": {"bpr": {"seconds": 0.987, "gigabytes": 0.5}},
    }  # fmt: skip
    (tmp_path / "epoch.json").write_text(json.dumps(found))
    monkeypatch.setattr(zoo, "MEASURED", tmp_path)
    page = zoo.page()
    assert "A Processor" in page
    assert "| 1.2 / 0.99 s, 0.5 GB |" in page
    assert "| 12 s, 2.0 GB |" in page
    for seconds in (100, 106, 1234):
        assert f"| {seconds} s, 1.8 GB |" in page
    assert "| < 0.01 s, 1.0 GB |" in page
    assert "| not measured |" in page  # the others


def test_a_docstring_without_a_paragraph_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "noted_model.py").write_text(
        '"""A.\n\nEquations: 1\nto 3.\n\nReleased code: no.\n"""'
    )
    (tmp_path / "bare_model.py").write_text('"""A.\n\nEquations: 1.\n"""\n')
    assert notes_of("noted_model") == ("1 to 3.", "no.")
    with pytest.raises(
        RunError, match="bare_model has 0 paragraphs that start with 'Released code:"
    ):
        notes_of("bare_model")
    with pytest.raises(RunError, match="no source file"):
        notes_of("no_such_model")
