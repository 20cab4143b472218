"""``mmx store merge | filter | convert | diff``: work on finished stores, encoding nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmx.cli.options import Delimiter, Encoding
from mmx.cli.output import AsJson, Debug, Quiet, note, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from mmx.cache.diff import StoreDiff

app = typer.Typer(help="Unite, filter, convert and compare finished stores.", no_args_is_help=True)

Store = Annotated[Path, typer.Argument(help="A store.")]
Out = Annotated[Path, typer.Option(help="Store to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at --out.")]
MaxFileRows = Annotated[
    int | None,
    typer.Option(help="Rows of one file; above it a folder is written. Default: a million."),
]


@app.command()
def merge(
    stores: Annotated[list[Path], typer.Argument(help="Stores of one encoder.")],
    out: Out,
    on_duplicate: Annotated[
        str, typer.Option(help="Of an item in several stores keep the last, the first, or error.")
    ] = "last",
    max_file_rows: MaxFileRows = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Unite the rows of several stores of one encoder by item_id."""
    from mmx.cache.tools import Target, unite

    with _drawing("writing the store") as progress:
        rows = unite(stores, Target(out, overwrite, max_file_rows), on_duplicate, progress)
    _say({"store": str(out), "rows": rows, "stores": len(stores)}, as_json)


@app.command(name="filter")
def filter_(
    store: Store,
    out: Out,
    where: Annotated[
        list[str] | None,
        typer.Option(help="SQL condition over the store's columns; repeated, all must hold."),
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="Keep the items in this file: text, .csv, .parquet.")
    ] = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    unknown_items: Annotated[
        str, typer.Option(help="Items in --items that the store lacks: error or drop.")
    ] = "error",
    max_file_rows: MaxFileRows = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Keep the rows of a store that meet a condition, or that are listed in a file."""
    from mmx.cache.tools import Target, filter_store
    from mmx.data.csvs.format import CsvFormat

    csv = CsvFormat(encoding, delimiter)
    target = Target(out, overwrite, max_file_rows)
    with _drawing("writing the store") as progress:
        rows, dropped = filter_store(
            store, target, where=where or (), items=items, csv=csv, unknown=unknown_items,
            progress=progress,
        )  # fmt: skip
    _say({"store": str(out), "rows": rows, "unknown_items_dropped": dropped}, as_json)


@app.command()
def convert(
    path: Annotated[Path, typer.Argument(help="A store (--to), or a folder (--from).")],
    out: Annotated[Path, typer.Option(help="Folder (--to) or store (--from) to write.")],
    to: Annotated[
        str | None, typer.Option(help="Write npy, safetensors, mmrec or embeddings.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="Read npy, safetensors, mmrec or embeddings.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="--from: what made the vectors; goes into the card.")
    ] = None,
    ids: Annotated[str | None, typer.Option(help="--from: column that holds the item ids.")] = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    zero_missing: Annotated[
        bool, typer.Option("--zero-missing", help="--from: a row of zeros means no vector.")
    ] = False,
    max_file_rows: MaxFileRows = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a store in the files of other tools, or make a store of such files."""
    from mmx.data.csvs.format import CsvFormat
    from mmx.errors import OptionError

    csv = CsvFormat(encoding, delimiter)
    if (to is None) == (source is None):
        raise OptionError("say one of --to LAYOUT (from a store) and --from LAYOUT (to a store)")
    if source is not None:
        from mmx.cache.adopt import Adoption, adopt
        from mmx.cache.tools import Target

        how = Adoption(source, encoder, ids, zero_missing, csv)
        with _drawing("writing the store") as progress:
            rows, missing = adopt(path, how, Target(out, overwrite, max_file_rows), progress)
        _say({"store": str(out), "rows": rows, "missing": missing}, as_json)
        return
    from mmx.cache.export import export

    if csv.options():
        raise OptionError(f"{csv.options()[0]} goes with --from")
    if zero_missing or any(option is not None for option in (encoder, ids, max_file_rows)):
        raise OptionError("--encoder, --ids, --zero-missing and --max-file-rows go with --from")
    with _drawing("writing") as progress:
        done = export(path, to or "", out, overwrite=overwrite, progress=progress)
    facts = {"out": str(out), "rows": done.rows, "missing": done.missing}
    _say(facts | ({"left_out": done.left_out} if done.left_out else {}), as_json)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(help="A store.")],
    b: Annotated[Path, typer.Argument(help="Another store.")],
    worst: Annotated[int, typer.Option(help="Items listed, those that differ most.")] = 10,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Leave with 1 when the stores differ.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show which items two stores do not share, and by how much the others differ."""
    from mmx.cache.diff import diff as compare

    with _drawing("comparing") as progress:
        found = compare(a, b, worst, progress)
    if as_json:
        print_json(found.as_dict())
    else:
        _print_diff(found)
    if exit_code and not found.equal:
        raise typer.Exit(1)


def _print_diff(found: StoreDiff) -> None:
    facts = found.as_dict()
    rows = [["equal", facts["equal"]], ["rows", " and ".join(map(str, found.rows))]]
    rows += [[name, facts[name]] for name in ("common", "only_in_a", "only_in_b", "same_order")]
    rows += [["content_hash", found.content_hash]]
    for name in ("only_in_a_ids", "only_in_b_ids", "incomparable"):
        rows += [[name, ", ".join(facts[name])]] if facts[name] else []
    rows += [[f"{m}_status: {change}", n] for m, changes in found.statuses.items()
             for change, n in changes.items()]  # fmt: skip
    for m, v in found.vectors.items():
        rows += [[f"{m}: compared", v.compared], [f"{m}: differing", v.differing]]
        if v.differing:
            rows += [[f"{m}: max abs difference", f"{v.max_abs:.3g}"]]
            rows += [[f"{m}: min cosine", f"{v.min_cosine:.6f}"]]
    for kind in ("card", "versions"):
        rows += [[f"{kind}: {key}", f"{one} → {two}"] for key, (one, two) in facts[kind].items()]
    print_table(["what", "value"], rows)
    worst = [[m, w["item_id"], f"{w['max_abs']:.3g}", f"{w['cosine']:.6f}"]
             for m, v in found.vectors.items() for w in v.worst]  # fmt: skip
    if worst:
        print_table(["modality", "item_id", "max abs", "cosine"], worst, "The most different")


def _say(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    missing = facts.get("missing", {})
    said = [f"{facts['rows']} rows"]
    said += [f"{rows} without {modality}" for modality, rows in missing.items() if rows]
    dropped = facts.get("unknown_items_dropped")
    said += [f"{dropped} items of the list are not in the store"] if dropped else []
    said += [f"left out: {', '.join(facts['left_out'])}"] if "left_out" in facts else []
    note(f"{facts.get('store') or facts['out']}: {', '.join(said)}")


@contextmanager
def _drawing(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress callback that draws a bar."""
    with progress_bar() as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
