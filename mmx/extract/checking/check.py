"""A whole dataset, checked: its inputs, its interactions, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmx.atomic import file_sha256
from mmx.data.checks.log import LogReport, check_log
from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.data.dataset import (
    Dropped,
    Items,
    check_csv,
    folder_of,
    load_interactions,
    load_items,
)
from mmx.data.formats.writing import RECORD
from mmx.data.splits import SplitRule
from mmx.data.tables import find_table, has_table
from mmx.extract.checking.inputs import check_inputs
from mmx.files import Place, as_place, parse_json


@dataclass(frozen=True)
class DataCheck:
    """What is checked, and what the user says of the dataset."""

    data: str
    rule: SplitRule = field(default_factory=SplitRule)
    images: str | None = None
    unknown_items: str = "drop"  # a check counts them; `mmx train` refuses them by default
    csv: CsvFormat = PLAIN
    pictures: bool = True  # whether they are looked at
    source: str | None = None  # where the dataset is from, in words
    license: str | None = None


def check_dataset(
    what: DataCheck,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stage: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """What is in a dataset and what is wrong with it, for JSON.

    ``progress`` counts items, ``stage`` gets the name of what begins.

    Raises DataError for tables that cannot be read, OptionError for a contradictory split.
    """
    stage("reading")
    items = load_items(what.data, what.images, csv=what.csv)
    folder = folder_of(what.data)
    with_log = has_table(folder, "interactions")
    check_csv(what.csv, what.data, interactions=True)
    log, dropped = LogReport(), 0
    if with_log:
        stage("interactions")
        log, dropped = _log(what, items)
    known = _imported(folder)
    stage("pictures and texts")
    inputs = check_inputs(items, pictures=what.pictures, progress=progress)
    return {
        "name": str(getattr(folder, "name", "") or as_place(what.data)),
        "items": len(items),
        "source": what.source or known.get("source"),
        "license": what.license or known.get("license"),
        "dropped": dropped,
        "import_left_out": known.get("left_out", []),
        "content": _content(items, folder, with_log),
        **inputs,
        "filters": log.steps,
        "split": log.split,
        "popularity": log.popularity,
    }


def _log(what: DataCheck, items: Items) -> tuple[LogReport, int]:
    """The report, and how many interactions have an unknown item."""
    lost: list[Dropped] = []
    table = load_interactions(
        what.data, items, unknown=what.unknown_items, dropped=lost.append, csv=what.csv,
        rule=what.rule,
    )  # fmt: skip
    return check_log(table, items.ids, what.rule), sum(one.interactions for one in lost)


def _content(items: Items, folder: Place, with_log: bool) -> dict[str, str]:
    """SHA-256 of ids, pictures' names and texts, and of the files that are of this machine."""
    found = {"item ids, image and text": items.fingerprint()}
    tables = [items.path] + ([find_table(folder, "interactions")] if with_log else [])
    for path in tables:
        if isinstance(path, Path) and path.is_file():
            found[path.name] = file_sha256(path)
    return found


def _imported(folder: Place) -> dict[str, Any]:
    """What `mmx import` noted of where the dataset is from; nothing of any other dataset."""
    try:
        record = parse_json((folder / RECORD).read_bytes())
        names = ", ".join(str(source["name"]) for source in record["sources"])
        left = [
            {"why": str(one["why"]), "interactions": int(one["interactions"]), "of": int(one["of"])}
            for one in record["left_out"]
        ]
        license_ = None if record["license"] is None else str(record["license"])
        source = f"{record['format']}: {names}"
        return {"source": source, "license": license_, "left_out": left}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
