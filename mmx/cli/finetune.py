"""``mmx finetune``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mmx.cli.dataset import chosen_data, command
from mmx.cli.options import (
    AllowPrivate,
    Data,
    Delimiter,
    Device,
    Encoding,
    Images,
    of_encoder,
    of_input,
    of_output,
    of_speed,
    of_training,
    whole_or_auto,
)
from mmx.cli.output import AsJson, Debug, Quiet, keeps, note, print_json, progress_bar

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from mmx.extract.finetune import FinetuneProgress


def finetune(
    model: Annotated[str, of_input(help="Encoder to start from: clip…, vlmo….")],
    data: Data = None,
    images: Images = None,
    unknown_items: Annotated[
        str | None,
        of_input(
            help="co-interaction: interactions with items that are not in the table: error or "
            "drop.",
            show_default="error",
        ),
    ] = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    weights: Annotated[Path | None, of_encoder(help="Local checkpoint to start from.")] = None,
    tokenizer: Annotated[Path | None, of_encoder(help="vlmo: a local vocab.txt.")] = None,
    tune: Annotated[
        str, of_encoder(help="Which weights train: full, lora, projection, last:N.")
    ] = "full",
    objective: Annotated[
        list[str] | None,
        of_training(
            help="itc, co-interaction, itm, mlm; repeat to add them up.", show_default="itc"
        ),
    ] = None,
    epochs: Annotated[int, of_training(help="At most.")] = 20,
    batch_size: Annotated[int, of_training(help="Pairs contrasted with each other.")] = 128,
    accumulate: Annotated[
        int, of_training(help="Batches whose gradients are averaged for one step.")
    ] = 1,
    augment: Annotated[
        bool, of_training(help="Crop and alter training pictures as the encoder's training did.")
    ] = True,
    lr: Annotated[float, of_training(help="Peak learning rate of AdamW.")] = 1e-4,
    patience: Annotated[
        int, of_training(help="Stop after so many epochs without a lower validation loss.")
    ] = 5,
    seed: Annotated[int, of_training(help="Of everything that is drawn.")] = 0,
    device: Device = "auto",
    chunk: Annotated[int, of_speed(help="Pairs encoded at once; fewer need less memory.")] = 32,
    checkpointing: Annotated[
        bool, of_speed("--checkpointing", help="Needs less memory and a third more time.")
    ] = False,
    precision: Annotated[str, of_speed(help="Of the passes: float32 or bfloat16.")] = "float32",
    decode_processes: Annotated[
        str,
        of_speed(
            help="Processes that augment pictures beside the training, at most one a core; 0: "
            "none; auto: with a GPU."
        ),
    ] = "auto",
    allow_private: AllowPrivate = False,
    out: Annotated[
        Path | None, of_output(help="Run directory.", show_default="runs/MODEL-tuned")
    ] = None,
    overwrite: Annotated[bool, of_output("--overwrite", help="Replace the run at --out.")] = False,
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
    place, csv = chosen_data(data), CsvFormat(encoding, delimiter)
    keeps("the same command continues after the last finished epoch")
    with progress_bar("state") as bar:
        report = run(
            place, model, out, options, images=images, csv=csv,
            weights=weights, tokenizer=tokenizer, device=device, unknown_items=unknown_items,
            web=Web(allow_private=allow_private),
            decode_processes=whole_or_auto("decode-processes", decode_processes),
            overwrite=overwrite, progress=_drawer(bar, epochs), log=note,
        )  # fmt: skip
    if as_json:
        reached = {"valid": report.valid, "best_epoch": report.best_epoch}
        print_json({"run": str(report.path), **reached, "truncated_share": report.truncated_share})
        return
    figures = ", ".join(f"{name} {value:.4f}" for name, value in report.valid.items())
    note(f"{report.path}: best epoch {report.best_epoch}, {figures}")
    note(f"  {report.truncated_share:.1%} of the texts are longer than the encoder reads")
    following = command(
        "mmx", "extract", "--allow-private" if allow_private else None, model=model,
        weights=report.path, data=data, images=images, tokenizer=tokenizer,
        encoding=encoding, delimiter=delimiter, device=None if device == "auto" else device,
    )  # fmt: skip
    note(f"  next: {following}")


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
