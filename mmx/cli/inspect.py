"""``mmx info``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmx.cli.options import Delimiter, Encoding
from mmx.cli.output import AsJson, Debug, Quiet, print_json, print_table

if TYPE_CHECKING:
    from mmx.data.csvs.format import CsvFormat

CHECKED = {  # by whether a store has checksums
    True: "the SHA-256 of each footer, the checksum of each page, all ids, statuses and vectors",
    False: "all ids, statuses and vectors; this store was written without checksums, so that "
    "flipped bits could not be noticed: `mmx store merge` writes a copy that has them",
}


RUN_CHECKED = {  # by whether a run has checksums
    True: "the SHA-256 of each file but config.json, which has them, and history.parquet",
    False: "that it opens; this run was written without checksums",
}

TUNED_CHECKED = "that the weights can be read; a fine-tuned encoder has no checksums"


def info(
    path: Annotated[
        str,
        typer.Argument(help="A store, a run, a fine-tuned encoder or a dataset; path or URL."),
    ],
    verify: Annotated[
        bool, typer.Option("--verify", help="Re-read everything, compare checksums.")
    ] = False,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show what a store, a run, a fine-tuned encoder or a dataset holds."""
    from mmx.data.csvs.format import CsvFormat
    from mmx.data.dataset import is_dataset
    from mmx.errors import OptionError, RunError, StoreError

    is_run = (Path(path) / "config.json").is_file()
    csv, data = CsvFormat(encoding, delimiter), not is_run and is_dataset(path)
    if csv.options() and not data:
        raise OptionError(f"{csv.options()[0]} is for datasets with CSV files; {path} is not one")
    if is_run or data:
        if verify and data:
            raise OptionError(f"--verify re-reads a store or a run; {path} is neither")
        facts = _data_facts(path, csv) if data else _run_facts(Path(path), verify)
    else:
        facts = _store_facts(path, verify)
    if as_json:
        print_json(facts)
    else:
        print_table(["what", "value"], _flat(facts))
    if facts.get("problems"):
        said = f"{path}: {'; '.join(facts['problems'])}"
        if is_run:
            raise RunError(f"{said}; train it again")
        raise StoreError(f"{said}; extract it again: `mmx extract --overwrite`")


def _store_facts(path: str, verify: bool) -> dict[str, Any]:
    from dataclasses import asdict

    from mmx.cache.store import open_store
    from mmx.extract.settings import accuracy_of

    store = open_store(path)
    facts: dict[str, Any] = {
        "store": path,
        "rows": store.rows,
        "bytes": store.size,
        "dtype": store.dtype,
        "statuses": store.status_counts(),
        "card": asdict(store.card),
        "accuracy": accuracy_of(store.path),
        "versions": store.versions,
        "items_fingerprint": store.items_fingerprint,
    }
    if verify:
        facts["checked"] = CHECKED[store.sealed]
        facts["problems"] = store.verify()
        facts["verified"] = not facts["problems"]
    return facts


def _run_facts(path: Path, verify: bool) -> dict[str, Any]:
    from mmx.extract.tuned import is_tuned
    from mmx.recommend.run import open_run, verify_run

    if is_tuned(path):
        return _tuned_facts(path, verify)
    run = open_run(path)
    facts: dict[str, Any] = {
        "run": str(path),
        "users": len(run.data.users),
        "items": len(run.data.items),
        "metrics": run.metrics,
        "config": run.config,
    }
    if verify:
        facts["problems"] = verify_run(path)
        facts["verified"] = not facts["problems"]
        facts["checked"] = RUN_CHECKED["sha256" in run.config]
    return facts


def _tuned_facts(path: Path, verify: bool) -> dict[str, Any]:
    from mmx.extract.tuned import tuned_facts, verify_tuned

    facts = tuned_facts(path)
    if verify:
        verify_tuned(path)
        facts |= {"verified": True, "checked": TUNED_CHECKED}
    return facts


def _data_facts(path: str, csv: CsvFormat) -> dict[str, Any]:
    import pyarrow.compute as pc

    from mmx.data.dataset import Dropped, check_csv, folder_of, load_interactions, load_items
    from mmx.data.splits import SplitRule
    from mmx.data.tables import has_table

    check_csv(csv, path, interactions=True)
    items = load_items(path, csv=csv)
    facts: dict[str, Any] = {
        "dataset": path,
        "items": len(items),
        "with image": len(items) - items.table["image"].null_count,
        "with text": len(items) - items.table["text"].null_count,
        "columns": items.table.column_names,
    }
    if not has_table(folder_of(path), "interactions"):
        return facts
    foreign: list[Dropped] = []
    log = load_interactions(
        path, items, unknown="drop", dropped=foreign.append, csv=csv, rule=SplitRule()
    )
    for what in foreign:
        facts["interactions with unknown items"] = what.interactions
    facts |= {"interactions": log.num_rows, "users": pc.count_distinct(log["user_id"]).as_py()}
    if "split" in log.column_names:
        counts = pc.value_counts(log["split"].combine_chunks()).to_pylist()
        facts["split"] = {row["values"]: row["counts"] for row in counts}
    return facts


def _flat(facts: dict[str, Any], prefix: str = "") -> list[list[Any]]:
    """Nested facts as rows; what is empty is left out."""
    rows: list[list[Any]] = []
    for name, value in facts.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        elif isinstance(value, float) and 0.9999 <= value < 1:  # a cosine that is not quite 1
            rows.append([prefix + name, f"{value:.6f}"])
        elif value not in (None, "", [], {}):
            rows.append([prefix + name, json.dumps(value) if isinstance(value, list) else value])
    return rows
