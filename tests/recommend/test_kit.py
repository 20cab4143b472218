"""Every recommender passes the conformance kit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mmx.recommend.models import MODELS, find_model
from mmx.testing.recommenders import CHECKS, Case, small_settings, steps_in_bfloat16
from mmx.testing.recommenders import resumes_where_it_was_killed as resumes
from tests.recommend import kit

COUNTING = {"popularity", "ease", "itemknn", "slim", "rp3beta", "graph-filter", "ials", "layergcn"}
SILENT = COUNTING | {"ease-content", "l3ae", "itemknn-cbf"}  # know nothing of some pairs
EPOCHS = 20  # fewer than authors of models get: all of ours have found the clubs by then
UNPERSONAL = {"popularity"}  # give everyone the same list, so no club
ELSEWHERE = {resumes, steps_in_bfloat16}  # test_resume_models.py, test_bfloat16.py: other worlds


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> kit.Place:
    return kit.write_place(tmp_path_factory.mktemp("clubs"))


@pytest.fixture(scope="module", params=sorted(MODELS))
def case(
    request: pytest.FixtureRequest, place: kit.Place, tmp_path_factory: pytest.TempPathFactory
) -> Case:
    name: str = request.param
    settings = small_settings(name)
    out = tmp_path_factory.mktemp(name) / "run"
    run = kit.trained(place, name, out, epochs=EPOCHS, settings=settings)
    unknown = kit.COLD if name in COUNTING else ()
    unknown += (kit.NEITHER,) if name == "itemknn-cbf" else ()
    least = 6 if name == "slim" else 11  # whose weights are sparse
    return Case(
        name, run, place, settings, personal=name not in UNPERSONAL, silent=name in SILENT,
        unknown=unknown, least=least,
    )  # fmt: skip


@pytest.mark.parametrize(
    "check", [one for one in CHECKS if one not in ELSEWHERE], ids=lambda check: check.__name__
)
def test_it(case: Case, check: Callable[[Case, Path], None], tmp_path: Path) -> None:
    assert case.record is find_model(str(case.model))
    check(case, tmp_path)
