"""``mmx evaluate --lists``: what another program recommends, as a run beside mmx's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmx.atomic import Claim, file_sha256
from mmx.bounds import SEED, check
from mmx.cache.schema import library_versions
from mmx.data.csvs.format import PLAIN, CsvFormat, is_csv, refuse_unused
from mmx.data.dataset import check_csv
from mmx.data.id_order import reordered
from mmx.data.splits import SplitRule
from mmx.errors import OptionError
from mmx.files import Place, as_path, as_place
from mmx.kinds import must_be
from mmx.logs import log_line
from mmx.recommend.evaluation import Evaluation, evaluate_scorer
from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.list_files import CleanLists, cleaned, lines_of, read_lists
from mmx.recommend.metrics import CUTOFFS
from mmx.recommend.run import Run, open_run, read_table, save_run
from mmx.recommend.run_folder import claimed_run, refuse_inputs
from mmx.recommend.split_log import read_split

MODEL = "lists"  # as config.json has it
OF_THE_DATA = ("data", "split", "unknown_items", "csv", "dropped", "left_out")


@dataclass(frozen=True)
class Ground:
    """What lists are measured on."""

    data: Interactions
    split: pa.Table
    items: pa.Table  # by the numbers of the items
    config: dict[str, Any]  # what config.json says of it


def evaluate_lists(
    lists: Place | str | pa.Table,
    data: Place | str | None = None,
    out: Path | str | None = None,
    *,
    split_of: Run | Path | str | None = None,
    split: SplitRule | None = None,
    unknown_items: str = "error",
    csv: CsvFormat = PLAIN,
    name: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    log: Callable[[str], None] = log_line,
) -> Run:
    """Measure recommendation lists on test, as any run is measured, and write a run.

    ``lists`` is a table with ``user_id``, ``item_id`` and ``rank`` or ``score``, see
    ``mmx.recommend.list_files``. ``data`` and ``split`` are as in ``TrainJob``; ``split_of`` is
    a run whose items, interactions and split are taken instead. ``name`` is what ``mmx compare``
    calls the recommender, by default the file's own, and ``seed`` the one it was trained with.
    ``out`` is by default ``runs/NAME``. ``log`` gets lines of what is left out of the lists.

    The run has no validation metrics. Raises DataError for lists that cannot be measured,
    OptionError for contradictions, and what ``load_items`` and ``load_interactions`` raise.
    """
    check("--seed ", seed, SEED)
    must_be("overwrite", overwrite, bool)
    must_be("csv", csv, CsvFormat)
    must_be("split", split or SplitRule(), SplitRule)
    place = None if isinstance(lists, pa.Table) else as_place(lists)
    name = _checked_name(place, name)
    out = None if out is None else as_path(out)
    if (data is None) == (split_of is None):
        raise OptionError("the lists are measured on --data or as --split-of RUN; give one of both")
    if out is not None:
        run = split_of.path if isinstance(split_of, Run) else split_of
        refuse_inputs(out, [as_place(one) for one in (place, data, run) if one is not None])
    with claimed_run(out, name, overwrite) as claim:
        raw = read_lists(lists if place is None else place, csv)
        if data is None:
            refuse_unused(csv, [] if place is None else [place])
            ground = _of_run(split_of, split)
        else:
            csv = _csv_of_data(csv, data, place)
            ground = _of_data(data, split or SplitRule(), unknown_items, csv, log)
        found = cleaned(raw, ground.data, unknown_items)
        for line in lines_of(found, ground.data, max(CUTOFFS)):
            log(line)
        source = _described(place) | {"rows": len(raw.order), "left_out": found.left_out}
        about = {"lists": {"name": name}, "source": source, "training": {"seed": seed}}
        _write(claim, found, ground, about)
        return open_run(claim.path)


def _described(place: Place | None) -> dict[str, Any]:
    """What config.json says of the file; None is a table in memory."""
    sha256 = file_sha256(place) if isinstance(place, Path) else None
    return {"file": None if place is None else str(place), "sha256": sha256}


def _checked_name(place: Place | None, name: str | None) -> str:
    """What the recommender is called; lists that a run kept have that run's name."""
    if name is None:
        stem = "lists" if place is None else place.name.rpartition(".")[0] or place.name
        folder = "" if place is None else place.parent.name
        return f"{folder}-lists" if stem == "lists" and folder else stem
    must_be("name", name, str)
    if not name.strip() or "/" in name or name.startswith("."):
        raise OptionError(f"--name {name[:40]!r}: a word is expected, such as sasrec")
    return name


def _csv_of_data(csv: CsvFormat, data: Place | str, lists: Place | None) -> CsvFormat:
    """How CSV tables of the dataset are written. Raises OptionError where no file is CSV."""
    try:
        check_csv(csv, data, interactions=True)
    except OptionError:
        if lists is None or not is_csv(lists):
            raise
        return PLAIN  # it is for the lists alone
    return csv


def _of_data(
    data: Place | str, rule: SplitRule, unknown: str, csv: CsvFormat, log: Callable[[str], None]
) -> Ground:
    read = read_split(data, rule, log, unknown=unknown, csv=csv)
    config = {"data": str(data), "split": read.rule.described(), "unknown_items": unknown}
    config |= {} if csv == PLAIN else {"csv": asdict(csv)}
    items = reordered(read.items.table, read.order)
    return Ground(read.data, read.split, items, config | read.lost())


def _of_run(run: Run | Path | str | None, split: SplitRule | None) -> Ground:
    assert run is not None
    if split is not None:
        raise OptionError("--split-of RUN takes the run's own split; drop the options of a split")
    run = run if isinstance(run, Run) else open_run(run)
    config = {name: run.config[name] for name in OF_THE_DATA if name in run.config}
    return Ground(run.data, read_table(run.path / "interactions.parquet"), run.items, config)


def _write(claim: Claim, found: CleanLists, ground: Ground, about: dict[str, Any]) -> None:
    start = time.perf_counter()
    evaluations = dict(_evaluations(found, ground.data))
    save_run(
        claim,
        config={
            "model": MODEL,
            "settings": {},
            "can": {"cold_items": True, "new_users": False},
            **ground.config,
            **about,
            "features": [],
            "end_to_end": None,
            "versions": library_versions(),
            "best_epoch": None,
        },
        evaluations=evaluations,
        scorer=found.scorer,
        history=[{"seconds": time.perf_counter() - start}],
        data=ground.data,
        split=ground.split,
        items=ground.items,
    )


def _evaluations(found: CleanLists, data: Interactions) -> Iterator[tuple[str, Evaluation]]:
    """Of the test; of validation there is none, as the lists are of the test."""
    nobody = np.zeros(0, np.int64)
    nothing = UserItems.from_pairs(nobody, nobody, len(data.users), len(data.items))
    for name, held_out in (("valid", nothing), ("test", data.test)):
        yield name, evaluate_scorer(found.scorer, held_out, data.known)
