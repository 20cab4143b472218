"""``mmx train``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmx.cli.evaluate import print_metrics
from mmx.cli.options import Delimiter, Encoding
from mmx.cli.output import AsJson, Debug, Quiet, keeps, note, print_json, progress_bar
from mmx.cli.output import settings as terminal

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from mmx.recommend.end_to_end import EndToEndJob
    from mmx.recommend.run import Run
    from mmx.recommend.training import TrainProgress


def train(
    data: Annotated[
        str, typer.Option(help="Dataset directory, items table or tar shards; path or URL.")
    ],
    images: Annotated[
        str | None,
        typer.Option(help="End to end: folder of the pictures, if not next to the items table."),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(help="Store, or STORE:image,text for some of its modalities; repeatable."),
    ] = None,
    end_to_end: Annotated[
        bool, typer.Option("--end-to-end", help="Train --encoder, too, in place of --features.")
    ] = False,
    encoder: Annotated[
        str | None, typer.Option(help="End to end: encoder to start from, clip… or vlmo….")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="End to end: the encoder's local checkpoint.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="End to end, vlmo: a local vocab.txt.")
    ] = None,
    allow_private: Annotated[
        bool,
        typer.Option(
            "--allow-private", help="End to end: fetch pictures from private addresses, too."
        ),
    ] = False,
    refresh: Annotated[
        str | None,
        typer.Option(
            help="End to end: batch sends gradients into the encoder; epoch sends none and only "
            "recomputes features.",
            show_default="batch",
        ),
    ] = None,
    encoder_lr: Annotated[
        float | None,
        typer.Option(help="End to end: learning rate of the encoder.", show_default="1e-05"),
    ] = None,
    tune: Annotated[
        str | None,
        typer.Option(
            help="End to end: what of the encoder trains: full, lora, projection, last:N.",
            show_default="full",
        ),
    ] = None,
    chunk: Annotated[
        int | None,
        typer.Option(
            help="End to end: items encoded at once; bounds the memory.", show_default="32"
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="Recommender, see `mmx models`.")] = "vbpr",
    out: Annotated[Path | None, typer.Option(help="Run directory. Default: runs/NAME.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of the model; repeatable.")
    ] = None,
    split: Annotated[
        str,
        typer.Option(help="given, random, leave-one-out, temporal; auto is given, else random."),
    ] = "auto",
    min_rating: Annotated[float | None, typer.Option(help="Least rating that counts.")] = None,
    k_core: Annotated[int, typer.Option(help="Least interactions of a user and an item.")] = 0,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    unknown_items: Annotated[
        str, typer.Option(help="Interactions with items not in the table: error or drop.")
    ] = "error",
    epochs: Annotated[
        int | None,
        typer.Option(help="At most; early stopping ends most runs.", show_default="1000"),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Triples a step.", show_default="2048")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Learning rate of Adam.", show_default="0.001")
    ] = None,
    lr_decay: Annotated[
        float | None,
        typer.Option(help="Factor on the learning rate after each epoch.", show_default="1.0"),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(help="Largest gradient norm; 0 does not clip.", show_default="0.0"),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(help="Evaluations without a better validation Recall@20.", show_default="20"),
    ] = None,
    eval_every: Annotated[
        int | None, typer.Option(help="Epochs between evaluations.", show_default="1")
    ] = None,
    negatives: Annotated[
        str | None,
        typer.Option(help="How they are drawn: uniform, popularity.", show_default="uniform"),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Of the forward pass: float32, bfloat16.", show_default="float32"),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda …", show_default="cpu")] = None,
    seed: Annotated[int, typer.Option(help="Of initialisation, order, negatives, split.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run at --out.")] = (
        False
    ),
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Stage 2: train a recommender, choose the epoch on validation, test once.

    A killed run continues with the same command. Options from --epochs to --device
    are of models that are trained in epochs; a closed form refuses them.
    """
    from mmx.data.csvs.format import CsvFormat
    from mmx.data.splits import SplitRule
    from mmx.recommend.features import FeatureSpec
    from mmx.recommend.fit import fit
    from mmx.recommend.job import TrainJob
    from mmx.recommend.models import find_model
    from mmx.recommend.training import TrainOptions

    specs = [FeatureSpec.parse(text) for text in features or []]
    joint = _end_to_end(
        end_to_end,
        {"encoder": encoder, "weights": weights, "tokenizer": tokenizer},
        allow_private,
        {"refresh": refresh, "encoder_lr": encoder_lr, "tune": tune, "chunk": chunk},
    )
    chosen = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "lr_decay": lr_decay,
        "clip": clip,
        "patience": patience,
        "eval_every": eval_every,
        "negatives": negatives,
        "precision": precision,
        "device": device,
    }
    given: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    if find_model(model).closed_form:
        _refuse(model, given)
    training = TrainOptions(**given, seed=seed)
    job = TrainJob(
        data=data,
        images=images,
        model=model,
        features=specs,
        end_to_end=joint,
        settings=settings or [],
        split=SplitRule(split, min_rating, k_core, seed),  # type: ignore[arg-type]
        unknown_items=unknown_items,
        csv=CsvFormat(encoding, delimiter),
        training=training,
    )
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    terminal.quiet = terminal.quiet or not first
    closed = find_model(model).closed_form
    if not closed:
        keeps("the same command continues after the epoch that was saved last (one every 30 s)")
    with progress_bar("state") as bar:
        progress = _drawer(bar, None if closed else training.epochs)
        run = fit(job, out, overwrite=overwrite, progress=progress, log=note)
    if first:
        print_run(run, as_json)


def _refuse(model: str, given: dict[str, Any]) -> None:
    """Raises OptionError when an option of the training loop was given to a closed form."""
    from mmx.errors import OptionError

    if given:
        option = next(iter(given)).replace("_", "-")
        raise OptionError(f"{model} has a closed form and no epochs; drop --{option}")


def _end_to_end(
    wanted: bool, encoder: dict[str, Any], private: bool, options: dict[str, Any]
) -> EndToEndJob | None:
    """The job of --end-to-end and its options. Raises OptionError for contradictions."""
    from mmx.errors import OptionError

    given = {k: v for k, v in options.items() if v is not None}
    named = [k for k, v in {**encoder, **options}.items() if v is not None]
    named += ["allow_private"] if private else []
    if not wanted:
        if named:
            raise OptionError(f"--{named[0].replace('_', '-')} needs --end-to-end")
        return None
    from mmx.extract.sources.web import Web
    from mmx.recommend.end_to_end import EndToEndJob, EndToEndOptions

    if encoder["encoder"] is None:
        raise OptionError("--end-to-end needs --encoder, e.g. --encoder clip")
    if given.get("refresh") == "epoch" and {"encoder_lr", "tune"} & given.keys():
        raise OptionError("--refresh epoch leaves the encoder as it is; drop --encoder-lr, --tune")
    web = Web(allow_private=private)
    return EndToEndJob(**encoder, web=web, options=EndToEndOptions(**given))


def print_run(run: Run, as_json: bool) -> None:
    """What a finished run reached."""
    best = run.config["best_epoch"]
    if as_json:
        print_json({"run": str(run.path), "best_epoch": best, **run.metrics})
        return
    if terminal.quiet:
        return
    print_metrics(run.metrics)
    word = "best" if run.metrics["counts"]["valid_users"] else "last"
    note(f"{run.path}" if best is None else f"{run.path}: {word} epoch {best}")


def _drawer(bar: Bar, epochs: int | None) -> Callable[[TrainProgress], None]:
    task = bar.add_task("training", total=epochs, state="")

    def draw(state: TrainProgress) -> None:
        bar.update(
            task,
            completed=state.epoch,
            state=f"loss {state.loss:.4f}  {_reached(state)}{state.seconds:.2f} s/epoch",
        )

    return draw


def _reached(state: TrainProgress) -> str:
    """What validation says so far; nothing where nothing validates."""
    if state.best == float("-inf"):
        return ""
    reached = state.valid.get("recall@20", float("nan"))
    return f"recall@20 {reached:.4f} (best {state.best:.4f}, epoch {state.best_epoch})  "
