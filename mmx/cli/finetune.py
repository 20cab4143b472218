"""``mmx finetune``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmx.cli.extract import AllowPrivate
from mmx.cli.options import Delimiter, Encoding
from mmx.cli.output import AsJson, Debug, Quiet, keeps, note, print_json, progress_bar

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from mmx.extract.finetune import FinetuneProgress


def finetune(
    model: Annotated[str, typer.Option(help="Encoder to start from: clip…, vlmo….")],
    data: Annotated[
        str, typer.Option(help="Dataset directory, items table or tar shards; path or URL.")
    ],
    images: Annotated[
        str | None, typer.Option(help="Folder of the pictures, if not beside the items table.")
    ] = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    allow_private: AllowPrivate = False,
    out: Annotated[Path | None, typer.Option(help="Run directory. Default: runs/MODEL-tuned.")] = (
        None
    ),
    weights: Annotated[Path | None, typer.Option(help="Local checkpoint to start from.")] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(help="itc (default), co-interaction, itm, mlm; repeat to add them up."),
    ] = None,
    tune: Annotated[str, typer.Option(help="What trains: full, lora, projection, last:N.")] = (
        "full"
    ),
    epochs: Annotated[int, typer.Option(help="At most.")] = 20,
    batch_size: Annotated[int, typer.Option(help="Pairs contrasted with each other.")] = 128,
    chunk: Annotated[int, typer.Option(help="Pairs encoded at once; bounds the memory.")] = 32,
    accumulate: Annotated[
        int, typer.Option(help="Batches whose gradients are averaged for one step.")
    ] = 1,
    checkpointing: Annotated[
        bool,
        typer.Option("--checkpointing", help="Less memory, a third more time: run blocks again."),
    ] = False,
    augment: Annotated[
        bool, typer.Option(help="Alter training pictures as the encoder's own training did.")
    ] = True,
    precision: Annotated[str, typer.Option(help="Of the passes: float32, bfloat16.")] = "float32",
    lr: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = 1e-4,
    patience: Annotated[int, typer.Option(help="Epochs without a lower validation loss.")] = 5,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda …")] = "cpu",
    tokenizer: Annotated[Path | None, typer.Option(help="vlmo: a local vocab.txt.")] = None,
    unknown_items: Annotated[
        str | None,
        typer.Option(
            help="co-interaction: interactions with items not in the table: error or drop.",
            show_default="error",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run at --out.")] = (
        False
    ),
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fine-tune an image-text encoder on the catalogue's own pictures and texts.

    `mmx extract --model … --weights RUN` then encodes with what was learned.
    """
    from mmx.data.csvs.format import CsvFormat
    from mmx.extract.finetune import FinetuneOptions
    from mmx.extract.finetune import finetune as run
    from mmx.extract.sources.web import Web

    options = FinetuneOptions(
        objectives=tuple(objective or ["itc"]),
        tune=tune,
        epochs=epochs,
        batch_size=batch_size,
        chunk=chunk,
        accumulate=accumulate,
        checkpointing=checkpointing,
        augment=augment,
        precision=precision,
        lr=lr,
        patience=patience,
        seed=seed,
    )
    keeps("the same command continues after the last finished epoch")
    with progress_bar("state") as bar:
        report = run(
            data, model, out, options, images=images, csv=CsvFormat(encoding, delimiter),
            weights=weights, tokenizer=tokenizer, device=device, unknown_items=unknown_items,
            web=Web(allow_private=allow_private), overwrite=overwrite,
            progress=_drawer(bar, epochs), log=note,
        )  # fmt: skip
    if as_json:
        reached = {"valid": report.valid, "best_epoch": report.best_epoch}
        print_json({"run": str(report.path), **reached, "truncated_share": report.truncated_share})
        return
    figures = ", ".join(f"{name} {value:.4f}" for name, value in report.valid.items())
    note(f"{report.path}: best epoch {report.best_epoch}, {figures}")
    note(f"  {report.truncated_share:.1%} of the texts are longer than the encoder reads")
    note(f"  mmx extract --model {model} --weights {report.path} --data {data}")


def _drawer(bar: Bar, epochs: int) -> Callable[[FinetuneProgress], None]:
    task = bar.add_task("fine-tuning", total=epochs, state="")

    def draw(state: FinetuneProgress) -> None:
        row = state.row
        bar.update(
            task,
            completed=state.epoch,
            state=f"loss {row['loss']:.3f}, valid {row['valid_loss']:.3f}, "
            f"recall@10 {row['valid_recall@10']:.3f} (best epoch {state.best_epoch})",
        )

    return draw
