"""``mmx search``, ``mmx similar`` and ``mmx duplicates``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmx.cli.options import (
    Delimiter,
    Device,
    Encoding,
    Fetch,
    StoreWeights,
    of_encoder,
    of_input,
    of_output,
    of_speed,
)
from mmx.cli.output import AsJson, Debug, Quiet, keeps, note, progress_bar
from mmx.cli.search_output import Beside, LazyBar, Shown, ready_to_write

if TYPE_CHECKING:
    from pyarrow import Table

    from mmx.cache.store import Store as OpenStore
    from mmx.search.searcher import Searcher
    from mmx.search.unfinished import KeptLists

Store = Annotated[
    str | None,
    of_input(help="The store; path or URL.", show_default="the only one in ./cache"),
]
Modality = Annotated[
    str | None,
    of_input(help="Which vectors of the store: image, text, fused …", show_default="image first"),
]
K = Annotated[int, typer.Option("--k", help="Items found, if so many match.")]
Where = Annotated[
    str | None,
    of_input(help='SQL condition over the columns of the items table, such as "price < 20".'),
]
Data = Annotated[
    str | None,
    of_input(
        help="Dataset of the store: for --where, and the columns shown.",
        show_default="$MMX_DATA, this folder or ./data, if there",
    ),
]
Show = Annotated[
    list[str] | None,
    of_output(help="Columns of the items table to show; repeatable.", show_default="title or text"),
]
Index = Annotated[
    str | None,
    of_input(help="Search a FAISS index kept next to the store: hnsw, ivf, ivfpq.",
             show_default="exact search"),
]  # fmt: skip
Out = Annotated[
    Path | None, of_output(help="Write the result: .parquet, .csv, .tsv, .json or .jsonl.")
]
Overwrite = Annotated[bool, of_output("--overwrite", help="Replace --out.")]


def search(
    query: Annotated[str, typer.Argument(help="Words, or the path of a picture.")],
    store: Store = None,
    k: K = 20,
    modality: Modality = None,
    where: Where = None,
    data: Data = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    index: Index = None,
    model: Annotated[
        str | None,
        of_encoder(
            help="What made the store, as `mmx extract --model` had it; needed for code of your "
            "own and folders.",
            show_default="what the store says",
        ),
    ] = None,
    weights: StoreWeights = None,
    fetch: Fetch = False,
    device: Device = "auto",
    show: Show = None,
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find the items of a store that are nearest to words or to a picture."""
    from mmx.extract.asking import comparable, open_for_query

    ready_to_write(out, overwrite)
    opened, picture = _opened(store), _picture(query)
    asked = "image" if picture else "text"
    chosen = _one_of(modality, comparable(opened.card, asked))
    with Beside.of(data, where, show, encoding, delimiter, [opened]) as beside:
        encoder = open_for_query(
            opened, asked, model=model, weights=weights, device=device, fetch=fetch, log=note
        )
        vector = encoder.image(picture) if picture else encoder.text(query)
        searcher = _searcher(opened, chosen, index)
        table = searcher.search(vector, k, among=beside.among)
        beside.say_short(table.num_rows, k, len(searcher))
        Shown(out, overwrite, as_json).one(beside.described(table, "item_id"))


def similar(
    item: Annotated[str | None, typer.Argument(help="Item id.", show_default=False)] = None,
    store: Store = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every item that has a vector; needs --out.")
    ] = False,
    k: K = 20,
    modality: Modality = None,
    where: Where = None,
    data: Data = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    index: Index = None,
    device: Annotated[
        str | None,
        of_speed(
            help="With --all: cpu, cuda, cuda:1; auto: a CUDA GPU where there is one and many "
            "items.",
            show_default="auto",
        ),
    ] = None,
    show: Show = None,
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find the items that are nearest to an item, or to each of all items."""
    from mmx.errors import OptionError

    if (item is None) != everything:
        raise OptionError("give either an item id or --all")
    if everything and out is None:
        raise OptionError("--all needs --out FILE.parquet")
    if everything and show:
        raise OptionError("--show goes with one item; join the table with `mmx sql`")
    if device is not None and not everything:
        raise OptionError("--device goes with --all; drop it")
    ready_to_write(out, overwrite)
    opened = _opened(store)
    if everything and where is None and (data or encoding or delimiter):
        raise OptionError("--all uses a dataset for --where only; drop --data")
    with Beside.of(
        data, where, show, encoding, delimiter, [opened], needed=not everything
    ) as beside:
        searcher = _searcher(opened, modality, index)
        shown = Shown(out, overwrite, as_json)
        if item is not None:
            table = searcher.similar(item, k, among=beside.among)
            beside.say_short(table.num_rows, k, len(searcher) - 1)
            shown.one(beside.described(table, "similar_id"))
            return
        from mmx.search.unfinished import KeptLists

        assert out is not None
        parts = KeptLists.of(out, searcher, k, beside.among, index)
        keeps("lists that are made are kept; the same command continues")
        shown.several(_all(searcher, k, beside, parts, device or "auto"))
        parts.forget()


def duplicates(
    store: Annotated[str, typer.Argument(help="The store; path or URL.")],
    threshold: Annotated[
        float, typer.Option(help="Cosine from which on two items are duplicates.")
    ] = 0.98,
    modality: Modality = None,
    where: Where = None,
    data: Data = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    show: Show = None,
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Group the items of a store whose vectors are nearly the same."""
    from mmx.search.duplicates import duplicate_groups

    ready_to_write(out, overwrite)
    opened = _opened(store)
    with Beside.of(data, where, show, encoding, delimiter, [opened]) as beside:
        searcher = _searcher(opened, modality, None)
        with progress_bar() as bar:
            task = bar.add_task("comparing", total=None)
            found = duplicate_groups(
                searcher, threshold, among=beside.among,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )  # fmt: skip
        groups = len(found["group"].unique())
        note(f"{found.num_rows} items in {groups} groups of {len(searcher)} items with a vector")
        Shown(out, overwrite, as_json).one(beside.described(found, "item_id"))


def _opened(store: str | None) -> OpenStore:
    """The store; without a name the only one in ./cache."""
    from mmx.cache.store import open_store
    from mmx.errors import OptionError, first_few

    if store is not None:
        return open_store(store)
    there = sorted(Path("cache").glob("*.parquet"))
    if len(there) != 1:
        have = f"./cache has {first_few(there)}" if there else "./cache has none"
        raise OptionError(f"give --store STORE: {have} (`mmx extract` makes one)")
    note(f"store: {there[0]}")
    return open_store(there[0])


def _picture(query: str) -> Path | None:
    """The query as a picture file, if it is one or looks like one."""
    from mmx.errors import DataError

    path = Path(query)
    try:
        if path.is_file():
            return path
    except (OSError, ValueError):  # too long, or a NUL: words
        return None
    if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".gif") and " " not in query:
        raise DataError(f"{query}: no such picture; give the path of one, or words")
    return None


def _one_of(modality: str | None, known: list[str]) -> str:
    from mmx.errors import one_of

    if modality is None:
        return known[0]
    one_of("--modality", modality, known)
    return modality


def _searcher(store: OpenStore, modality: str | None, index: str | None) -> Searcher:
    from mmx.search.searcher import open_searcher

    if index is not None:
        from mmx.search.index import check_index

        check_index(store, index)  # before all vectors are read
    with progress_bar() as bar:
        task = bar.add_task(f"reading {modality or 'the'} vectors", total=store.rows)
        searcher = open_searcher(
            store, modality, lambda done, total: bar.update(task, completed=done)
        )
    if index is not None:
        from mmx.search.index import with_index

        with progress_bar() as bar:
            built = LazyBar(bar, "building the index")
            return with_index(searcher, index, log=note, progress=built)
    return searcher


def _all(
    searcher: Searcher, k: int, beside: Beside, parts: KeptLists, device: str
) -> Iterator[Table]:  # fmt: skip
    with progress_bar() as bar:
        task = bar.add_task("similar items", total=None)
        yield from searcher.similar_all(
            k, among=beside.among, device=device, keep=parts.keep,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
