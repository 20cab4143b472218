"""Models of the user's own: by file, by module, as a class, from an installed package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mmx.errors import OptionError, RunError
from mmx.own.code import Code
from mmx.recommend import checkpoint
from mmx.recommend.fit import fit
from mmx.recommend.models import MODELS, find_model, listing
from mmx.recommend.options import TrainProgress
from mmx.testing import check_recommender
from tests.own.packages import MODEL, KilledError, install, job, written
from tests.recommend.minimal import Model as Minimal


def test_it_runs_once_and_only_when_named(tmp_path: Path) -> None:
    file = written(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'a').write('x')\n{MODEL}")
    with pytest.raises(OptionError, match=rf"which runs only .* it: --code {file}$"):
        find_model(f"{file}:Model")
    code = Code.named(file)
    assert not (tmp_path / "ran").exists()
    record = find_model(f"{file}:Model", code)
    assert find_model(f"{file}:Model", [str(file)]).code == record.code
    assert (tmp_path / "ran").read_text() == "x"
    assert (record.name, record.title, record.closed_form) == ("mine.py:Model", "Tiny.", False)
    assert record.defaults() == {"dim": 4, "size": 1.0}
    assert not list(tmp_path.rglob("*.pyc"))


def test_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    one = written(tmp_path / "a")
    two = written(tmp_path / "b", MODEL.replace("Tiny.", "Other."))
    titles = [find_model(f"{file}:Model", file).title for file in (one, two)]
    assert titles == ["Tiny.", "Other."]
    with pytest.raises(OptionError, match=f"--code {two}"):
        find_model(f"{two}:Model", one)


def test_an_edited_file_is_read_again(tmp_path: Path) -> None:
    file = written(tmp_path)
    find_model(f"{file}:Model", file)
    written(tmp_path, MODEL.replace("Tiny.", "Edited."))
    assert find_model(f"{file}:Model", file).title == "Edited."


def test_sys_path_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mmx_own_helper.py").write_text("x = 1\n")
    file, before = written(tmp_path, "import mmx_own_helper\n"), list(sys.path)
    with pytest.raises(RunError, match=r"mine\.py:1: importing it raised ModuleNotFoundError"):
        find_model(f"{file}:Model", file)
    assert sys.path == before


def test_a_config_inside_of_the_class(tmp_path: Path) -> None:
    body = MODEL[MODEL.index("    dim: int") : MODEL.index("class Model")].rstrip()
    inner = "    @dataclass(frozen=True)\n    class Config(ModelConfig):\n" + "\n".join(
        f"    {line}" for line in body.splitlines()
    )
    start = MODEL.index("@dataclass")
    text = MODEL[:start] + MODEL[MODEL.index("class Model(") :]
    text = text.replace('    """Tiny."""\n', f'    """Tiny."""\n\n{inner}\n')
    file = written(tmp_path, text)
    assert find_model(f"{file}:Model", file).defaults() == {"dim": 4, "size": 1.0}


WRONG = {
    "Absent": "mine.py has no Absent; it has Config, Model, Empty, Plain",
    "Config": r"mine\.py:Config: Config is not a model; a GradientModel or ClosedModel",
    "number": r"mine\.py:number: a int is not a model",
    "Plain": r"mine\.py:Plain: facts is a dict; Facts",
}
MORE = """
number = 3
class Empty(ClosedModel):
    def fit(self, config, world): return None
class Plain(Empty):
    facts = {"features": "none"}
"""


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_a_model(tmp_path: Path, name: str) -> None:
    text = MODEL.replace("import GradientModel", "import ClosedModel, GradientModel")
    file = written(tmp_path, text + MORE)
    with pytest.raises((OptionError, RunError), match=WRONG[name]):
        find_model(f"{file}:{name}", file)


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    for name, said in (
        ("x.py", "x.py names a file and no class; add it, as in x.py:Model"),
        ("vbrp", "did you mean 'vbpr'"),
        ("a/b:Model", "unknown --model 'a/b:Model'"),
    ):
        with pytest.raises(OptionError, match=said):
            find_model(name)
    for code in ("absent.py", "mmx_own_absent", "a b", tmp_path):
        with pytest.raises(OptionError, match=r"cannot be read|neither a \.py file nor"):
            Code.named(code)


def test_a_changed_file_is_not_resumed(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    file, out = written(tmp_path), tmp_path / "runs/mine"

    def kill(state: TrainProgress) -> None:
        if state.epoch == 3:
            raise KilledError

    with pytest.raises(KilledError):  # an error of a callback stays what it is
        fit(job(sample, f"{file}:Model", file), out, progress=kill)
    written(tmp_path, f"{MODEL}\n# changed\n")
    with pytest.raises(RunError, match=r"model's file has changed since: its SHA-256 .* delete it"):
        fit(job(sample, f"{file}:Model", file), out)
    written(tmp_path)
    lines: list[TrainProgress] = []
    run = fit(job(sample, f"{file}:Model", file), out, progress=lines.append)
    assert [state.epoch for state in lines] == [3, 4]
    assert run.config["code"]["name"] == "mine.py:Model"


def test_a_class_is_a_model(sample: Path, tmp_path: Path) -> None:
    run = fit(job(sample, Minimal), tmp_path / "run")
    assert run.config["model"] == "minimal.py:Model"
    assert len(run.config["code"]["sha256"]) == 64
    with pytest.raises(RunError, match="int is not a model"):
        fit(job(sample, int), tmp_path / "other")


def test_models_of_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "ownshop", models={"shop-mf": "ownshop.mf:Model"})
    shown = {record.name: record for record in listing()}["shop-mf"]
    assert (shown.title, shown.closed_form) == ("Tiny. (ownshop 1.0)", False)
    assert shown.defaults() == {"dim": 4, "size": 1.0}
    assert not [name for name in sys.modules if name.startswith("ownshop")]
    record = find_model("shop-mf")
    assert record.code is not None
    assert (record.code["name"], record.code["package"]) == ("shop-mf", "ownshop 1.0")
    by_module = find_model("ownshop.mf:Model", "ownshop.mf").code
    assert by_module is not None
    assert by_module["sha256"] == record.code["sha256"]


SOLVED = """
from dataclasses import dataclass
from mmx.recommend.protocol import ClosedModel, Facts
RATE = 0.5  # no literal of Facts: it is not listed, all else is
class Base(ClosedModel):
    facts = Facts(features="required", cold_items=True, citation="Nobody, 2026")
class Solved(Base):
    '''Solved.'''
    facts = Facts(features="required", lr=RATE)
    @dataclass(frozen=True)
    class Config:
        reg: float = 2.0
    def fit(self, config, world):
        raise KeyError("bad")
"""


def test_what_is_shown_is_what_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in place of a class, and a closed form."""
    offers = {"whole": "ownlist.mf", "solved": "ownlist.solved:Solved", "lost": "ownlist.no:Model"}
    install(tmp_path, monkeypatch, "ownlist", models=offers)
    (tmp_path / "ownlist/ownlist/solved.py").write_text(SOLVED)
    shown = {record.name: record for record in listing()}
    assert shown["lost"].title.startswith("cannot be read: no source file of the module ownlist.no")
    for name in ("whole", "solved"):
        loaded, listed = find_model(name), shown[name]
        for what in ("features", "closed_form", "cold_items", "new_users", "end_to_end"):
            assert getattr(loaded, what) == getattr(listed, what), what
        assert loaded.defaults() == listed.defaults()
    assert shown["solved"].closed_form
    with pytest.raises(OptionError, match=r"entry point lost of ownlist 1\.0: ownlist\.no is n"):
        find_model("lost")


def test_a_fault_anywhere_in_a_package(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "ownbase", models={"based": "ownbase.based:Based"})
    (tmp_path / "ownbase/ownbase/based.py").write_text(
        "from ownbase.mf import Config, Model\nclass Based(Model):\n    pass\n"
    )
    (tmp_path / "ownbase/ownbase/mf.py").write_text(MODEL.replace("return F.soft", "1 / 0  #"))
    with pytest.raises(RunError, match=r"^mf\.py:\d+: Model\.loss raised ZeroDivisionError"):
        fit(job(sample, "based"), tmp_path / "run")


def test_a_name_that_two_packages_offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("owntwo", "ownone"):
        install(tmp_path, monkeypatch, name, models={"same": f"{name}.mf:Model", "bpr": "x:Y"})
    with pytest.raises(OptionError, match=r"same is offered by own\w+ 1\.0 and own\w+ 1\.0; unin"):
        find_model("same")
    assert find_model("bpr") is MODELS["bpr"]
    assert [record.name for record in listing()].count("bpr") == 1


def test_the_kit_says_what_is_wrong(tmp_path: Path) -> None:
    file = written(tmp_path)
    check_recommender(f"{file}:Model", ["size=0.1"], code=file)
    scattered = written(tmp_path / "b", MODEL.replace("config.dim, generator=generator", "16"))
    said = "mine.py:Model: not so: The same seed gives the same scores"
    with pytest.raises(AssertionError, match=said):
        check_recommender(f"{scattered}:Model", ["size=0.1"], code=scattered)


READING = """reads_batches = True

    def loss(self, users, positives, negatives, *on_cpu):
        given = users, positives, negatives
        assert [x.tolist() for x in on_cpu] == [x.tolist() for x in given]"""


def test_the_kit_gives_a_model_the_batch_that_it_reads(tmp_path: Path) -> None:
    file = written(tmp_path, MODEL.replace("def loss(self, users, positives, negatives):", READING))
    assert "on_cpu" in file.read_text()
    check_recommender(f"{file}:Model", ["size=0.1"], code=file)
