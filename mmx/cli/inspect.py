"""``mmx info`` and ``mmx sql``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmx.cli.options import Delimiter, Encoding
from mmx.cli.output import AsJson, Debug, Quiet, note, print_json, print_table

if TYPE_CHECKING:
    from mmx.data.csvs.format import CsvFormat

SHOWN = 40  # rows of a query that are printed


def info(
    path: Annotated[str, typer.Argument(help="A store, a run or a dataset; path or URL.")],
    verify: Annotated[bool, typer.Option("--verify", help="Re-read every vector.")] = False,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what a store, a run or a dataset holds."""
    from mmx.data.csvs.format import CsvFormat
    from mmx.data.dataset import is_dataset
    from mmx.errors import OptionError, StoreError

    is_run = (Path(path) / "config.json").is_file()
    csv, data = CsvFormat(encoding, delimiter), not is_run and is_dataset(path)
    if csv.options() and not data:
        raise OptionError(f"{csv.options()[0]} is for datasets with CSV files; {path} is none")
    if is_run or data:
        if verify:
            raise OptionError(f"--verify re-reads a store; {path} is none")
        facts = _data_facts(path, csv) if data else _run_facts(Path(path))
    else:
        facts = _store_facts(path, verify)
    if as_json:
        print_json(facts)
    else:
        print_table(["what", "value"], _flat(facts))
    if facts.get("problems"):
        raise StoreError(f"{path}: {'; '.join(facts['problems'])}; extract it with --overwrite")


def sql(
    query: Annotated[str, typer.Argument(help="SQL; stores, runs and datasets are views.")],
    data: Annotated[
        list[str] | None,
        typer.Option(help="Dataset directory to show, path or URL; may be repeated."),
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option(help="Store outside --cache to show, path or URL; may be repeated."),
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder of stores.")] = Path("cache"),
    runs: Annotated[Path, typer.Option(help="Folder of runs.")] = Path("runs"),
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the whole result: .parquet, .csv.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Query embeddings, runs and datasets with DuckDB SQL.

    Vectors are FLOAT[d] arrays: array_cosine_similarity, array_inner_product and the like
    take them as they are. `show all tables` lists what there is.
    """
    from mmx.cache.sql import connect
    from mmx.cache.sql import query as ask
    from mmx.data.csvs.format import CsvFormat

    csv = CsvFormat(encoding, delimiter)
    table = ask(connect(cache, runs, data or [], store or [], csv), query)
    if out is not None:
        _write(table, out)
        note(f"{out}: {table.num_rows} rows")
        return
    rows = table.to_pylist() if as_json else table.slice(0, SHOWN).to_pylist()
    if as_json:
        print_json(rows)
        return
    print_table(table.column_names, [list(row.values()) for row in rows])
    if table.num_rows > SHOWN:
        note(f"{SHOWN} of {table.num_rows} rows; --out FILE.parquet or --json gives all")


def _write(table: Any, out: Path) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    from mmx.cache.files import replacing
    from mmx.errors import OptionError

    if out.suffix not in (".parquet", ".csv"):
        raise OptionError(f"--out {out}: .parquet or .csv is expected")
    write = pyarrow.parquet.write_table if out.suffix == ".parquet" else pyarrow.csv.write_csv
    with replacing(out) as temporary:
        write(table, temporary)


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
        facts["problems"] = store.verify()
        facts["verified"] = not facts["problems"]
    return facts


def _run_facts(path: Path) -> dict[str, Any]:
    from mmx.recommend.run import open_run

    run = open_run(path)
    return {
        "run": str(path),
        "users": len(run.data.users),
        "items": len(run.data.items),
        "metrics": run.metrics,
        "config": run.config,
    }


def _data_facts(path: str, csv: CsvFormat) -> dict[str, Any]:
    import pyarrow.compute as pc

    from mmx.data.dataset import check_csv, folder_of, load_interactions, load_items
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
    log = load_interactions(path, items, csv=csv)
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
