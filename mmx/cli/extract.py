"""``mmx extract`` and ``mmx encoders``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmx.cli.output import AsJson, Debug, Quiet, listed, note, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from mmx.extract.block import Progress
    from mmx.extract.pipeline import ExtractReport


def extract(
    model: Annotated[str, typer.Option(help="Encoder, see `mmx encoders`; e.g. clip, vlmo.")],
    data: Annotated[Path, typer.Option(help="Dataset directory with items.parquet.")],
    out: Annotated[
        Path | None, typer.Option(help="Store to write. Default: cache/MODEL.parquet.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Local checkpoint (.safetensors, .pt) instead of named.")
    ] = None,
    modalities: Annotated[
        str | None, typer.Option(help="Which of image,text,fused to encode. Default: all.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Items encoded at once.")] = 32,
    workers: Annotated[int, typer.Option(help="Threads that read and decode.")] = 2,
    part_size: Annotated[int, typer.Option(help="Rows a finished part has; a kill costs one.")] = (
        512
    ),
    precision: Annotated[
        str, typer.Option(help="Of the forward pass: float32, bfloat16, float16.")
    ] = "float32",
    dtype: Annotated[str, typer.Option(help="Of stored vectors: float32, float16.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 …")] = "cpu",
    tokenizer: Annotated[
        Path | None, typer.Option(help="vlmo: local vocab.txt instead of the named tokenizer.")
    ] = None,
    head: Annotated[str | None, typer.Option(help="vlmo: itc (default) or vl.")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side of the square the encoder sees, px.")
    ] = None,
    resize: Annotated[
        int | None, typer.Option(help="Shorter side before the centre is cut, px.")
    ] = None,
    resize_mode: Annotated[
        str | None, typer.Option(help="crop, squash or pad. Default: the encoder's own.")
    ] = None,
    interpolation: Annotated[
        str | None, typer.Option(help="bicubic, bilinear … Default: the encoder's own.")
    ] = None,
    mean: Annotated[str | None, typer.Option(help="R,G,B mean of the weights' training.")] = None,
    std: Annotated[str | None, typer.Option(help="R,G,B deviation, likewise.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try items again that failed before.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew, whatever --out holds.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Drop rows of items that are no longer in --data.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Stage 1: encode the items of a dataset into an embedding store.

    Run it again after a kill or a change of the catalogue: only what is new, changed or
    unfinished is encoded.
    """
    from mmx.data.dataset import load_items
    from mmx.extract.encoders import open_encoder
    from mmx.extract.pipeline import ExtractOptions
    from mmx.extract.pipeline import extract as run

    options = ExtractOptions(
        batch_size=batch_size,
        workers=workers,
        part_size=part_size,
        dtype=dtype,
        retry_failed=retry_failed,
        overwrite=overwrite,
        prune=prune,
    )
    items = load_items(data)
    special: dict[str, Any] = {"tokenizer": tokenizer, "head": head, "image_size": image_size}
    special |= {"resize": resize, "resize_mode": resize_mode, "interpolation": interpolation}
    special |= {"mean": _triple("mean", mean), "std": _triple("std", std)}
    encoder = open_encoder(
        model,
        weights=weights,
        device=device,
        precision=precision,
        modalities=tuple(modalities.split(",")) if modalities else None,
        progress=note,
        **{name: value for name, value in special.items() if value is not None},
    )
    with progress_bar("rate", "bottleneck") as bar:
        report = run(items, encoder, out or default_store(model), options, _drawer(bar))
    _summarise(report, as_json)


def encoders(as_json: AsJson = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the encoders that --model can name."""
    from dataclasses import asdict

    from mmx.extract.encoders import listing

    records = [asdict(record) for record in listing()]
    if as_json:
        print_json(records)
        return
    columns = list(records[0])
    print_table(columns, [[listed(record[name]) for name in columns] for record in records])


def default_store(model: str) -> Path:
    """cache/clip.parquet for clip, cache/resnet50.parquet for timm:resnet50."""
    family, _, name = model.partition(":")
    own = family in ("timm", "torchvision", "sbert")
    stem = name.rstrip("/").rsplit("/", 1)[-1] if own else model
    return Path("cache") / (re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.") + ".parquet")


def _triple(name: str, text: str | None) -> tuple[float, ...] | None:
    from mmx.errors import OptionError

    if text is None:
        return None
    try:
        red, green, blue = (float(value) for value in text.split(","))
    except ValueError:
        raise OptionError(f"--{name} {text}: three numbers R,G,B are expected") from None
    return red, green, blue


def _drawer(bar: Bar) -> Callable[[Progress], None]:
    """A progress callback that draws one bar for each stage."""
    tasks: dict[str, int] = {}
    words = {"check": "checking what is there", "encode": "encoding", "merge": "writing the store"}

    def draw(state: Progress) -> None:
        if state.stage not in tasks:
            tasks[state.stage] = bar.add_task(words[state.stage], rate="", bottleneck="")
        task = bar.tasks[tasks[state.stage]]
        rate = state.done / task.elapsed if task.elapsed else 0.0
        slow = f"bottleneck: {state.bottleneck}" if state.stage == "encode" else ""
        bar.update(
            task.id, completed=state.done, total=state.total, rate=f"{rate:.0f}/s", bottleneck=slow
        )

    return draw


def _summarise(report: ExtractReport, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "store": str(report.store),
                "items": report.items,
                "encoded": report.encoded,
                "reused": report.reused,
                "removed": report.removed,
                "seconds": round(report.seconds, 3),
                "bottleneck": report.bottleneck,
                "statuses": report.statuses,
            }
        )
        return
    note(
        f"{report.store}: {report.items} items, {report.encoded} encoded, {report.reused} reused, "
        f"{report.removed} removed in {report.seconds:.1f} s"
    )
    for reason, rows in report.failures.items():
        note(f"  {rows} × {reason}")
    if report.failures:
        note("  --retry-failed tries these again")
