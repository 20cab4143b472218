"""``mmx.compare``, ``mmx.import_dataset`` and ``mmx.export`` from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mmx
from mmx.errors import OptionError
from tests.catalogue import random_log, write_interactions, write_items
from tests.experiments.made_runs import made_run


def test_runs_or_their_paths_are_compared(tmp_path: Path) -> None:
    few = made_run(tmp_path / "a", [1.0, 0, 0, 1, 0, 0], valid=0.3)
    more = made_run(tmp_path / "b", [1.0, 1, 0, 1, 1, 0], valid=0.2, model="ease", seed=None)
    found = mmx.compare([few, str(more)], metrics="recall@20")
    assert isinstance(found, mmx.Comparison)
    assert (found.against, found.metrics) == ("bpr", ["recall@20"])
    named = mmx.compare([few, more], against=more, metrics=["recall@20"])
    assert named.against == "ease"
    assert mmx.compare(few, metrics=["recall@20"]).notes
    for wrong in ({"runs": 3}, {"runs": [few], "metrics": 3}, {"runs": [few], "against": 3}):
        with pytest.raises(OptionError, match="is a int"):
            mmx.compare(**wrong)  # type: ignore[arg-type]


def test_a_dataset_goes_out_and_comes_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_items(data, [{"item_id": f"i{n}", "text": f"text {n}"} for n in range(12)])
    write_interactions(data, random_log(9, 12, 6))
    said: list[str] = []
    done = mmx.export(data, "recbole", tmp_path / "out", log=said.append)
    assert isinstance(done, mmx.ExportReport)
    back = mmx.import_dataset("recbole", tmp_path / "out", tmp_path / "back")
    assert isinstance(back, mmx.Imported)
    assert back.interactions == done.interactions == 54
    fewer = mmx.import_dataset(
        "recbole", [tmp_path / "out"], tmp_path / "few", mmx.ImportOptions(k_core=4)
    )
    assert fewer.interactions < 54
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"encoder": "clip"}, "--encoder goes with mmrec"),
        ({"overwrite": "no"}, "overwrite is a str"),
        ({"options": {"k_core": 1}}, "options is a dict"),
    ]
    for given, message in wrong:
        with pytest.raises(OptionError, match=message):
            mmx.import_dataset("recbole", tmp_path / "out", tmp_path / "more", **given)
    with pytest.raises(OptionError, match="split is a str"):
        mmx.export(data, "mmrec", tmp_path / "more", split="random")  # type: ignore[arg-type]
