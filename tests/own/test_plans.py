"""Plans name models and encoders of the user's own; the command says which code may run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmx.errors import OptionError
from mmx.experiments.grid import Grid
from mmx.experiments.plan import load_plan
from mmx.own.code import as_codes
from tests.own.packages import ENCODER, MODEL, install


def plan(folder: Path, sample: Path, model: str = "../mine.py:Model") -> Path:
    """A plan in a folder of its own; the files that it names are beside that."""
    (folder / "mine.py").write_text(MODEL)
    (folder / "letters.py").write_text(ENCODER)
    content: dict[str, Any] = {
        "datasets": {"small": {"data": str(sample)}},
        "features": {"none": "none", "text": {"extract": [{"model": "../letters.py:Letters"}]}},
        "recommenders": {"own": {"model": model, "search": {"dim": [2, 4]}}, "itemknn-cbf": {}},
        "training": {"epochs": 1},
    }
    (folder / "plans").mkdir(exist_ok=True)
    (folder / "plans/p.yaml").write_text(yaml.safe_dump(content))
    return folder / "plans/p.yaml"


def test_code_that_the_command_names(sample: Path, tmp_path: Path) -> None:
    read, out = load_plan(plan(tmp_path, sample)), tmp_path / "out"
    code = as_codes([tmp_path / "mine.py", tmp_path / "letters.py"])
    outcome = Grid(read, out, code=code).run()
    assert outcome.failures == []
    configs = [json.loads(path.read_text()) for path in out.glob("runs/*/config.json")]
    assert sorted(config["model"] for config in configs) == ["itemknn-cbf", *["mine.py:Model"] * 2]
    assert [path.name.rpartition("-")[0] for path in out.glob("cache/*.parquet")] == [
        "small-letters-Letters"
    ]
    states = {row["state"] for row in Grid(read, out, code=code).listing()}
    assert states == {"finished"}
    (tmp_path / "mine.py").write_text(f"{MODEL}\n# changed\n")
    code = as_codes([tmp_path / "mine.py", tmp_path / "letters.py"])
    rows = Grid(read, out, code=code).listing()
    assert {row["state"] for row in rows if "-own-" in row["cell"]} == {"to do"}
    assert {row["state"] for row in rows if "-own-" not in row["cell"]} == {"finished"}


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (
            (),
            r"recommenders\.own: .*/mine\.py:Model is code, .* names it: --code /.*mine\.py",
        ),
        (("mine.py",), r"features\.text: .*/letters\.py:Letters is code"),
        (("letters.py",), r"recommenders\.own: "),
        (("mine.py", "letters.py", "more.py"), "more.py: the plan names nothing of it; drop it"),
    ],
)
def test_code_that_it_does_not_name(
    sample: Path, tmp_path: Path, named: tuple[str, ...], said: str
) -> None:
    path, ran = plan(tmp_path, sample), tmp_path / "ran"
    for name in ("mine.py", "letters.py", "more.py"):
        (tmp_path / name).write_text(f"open({str(ran)!r}, 'w')\n")
    with pytest.raises(OptionError, match=said):
        Grid(load_plan(path), tmp_path / "out", code=as_codes([tmp_path / one for one in named]))
    assert not ran.exists()
    assert not (tmp_path / "out").exists()


def test_a_plan_cannot_allow_itself(sample: Path, tmp_path: Path) -> None:
    path = plan(tmp_path, sample)
    for where in ("", "recommenders.own"):
        content = yaml.safe_load(path.read_text())
        inner = content["recommenders"]["own"] if where else content
        inner["code"] = ["../mine.py"]
        (tmp_path / "plans/q.yaml").write_text(yaml.safe_dump(content))
        with pytest.raises(OptionError, match="code"):
            load_plan(tmp_path / "plans/q.yaml")


def test_models_of_packages_need_no_word(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "ownplan", models={"plan-mf": "ownplan.mf:Model"})
    path = plan(tmp_path, sample, "plan-mf")
    grid = Grid(load_plan(path), tmp_path / "out", "*own*", code=as_codes(tmp_path / "letters.py"))
    outcome = grid.run()
    assert (len(outcome.finished), outcome.failures) == (1, [])
