"""``mmx train``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from mmx.cli.dataset import chosen_data
from mmx.cli.options import (
    AllowPrivate,
    At,
    Data,
    Delimiter,
    Encoding,
    Fold,
    Folds,
    KCore,
    MinRating,
    Split,
    Targets,
    of_input,
    of_joint,
    of_output,
    of_speed,
    of_training,
)
from mmx.cli.output import AsJson, Debug, Quiet, keeps, note, progress_bar
from mmx.cli.output import settings as terminal
from mmx.cli.train_output import drawer, print_run

NOT_OF_A_JOB = (
    "config", "out", "overwrite", "log", "log_dir", "as_json", "quiet", "debug",
)  # fmt: skip


def train(
    ctx: typer.Context,
    data: Data = None,
    features: Annotated[
        list[str] | None,
        of_input(help="Store, or STORE:image,text for some of its modalities; repeatable."),
    ] = None,
    control: Annotated[
        str | None,
        of_input(
            help="Features that say nothing of their item, to compare with: shuffle, noise, "
            "constant; or drop:0.3, a share without any."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        of_input(
            help="config.json of a run: train it again; options given as well count instead of "
            "the run's."
        ),
    ] = None,
    model: Annotated[
        str, of_input(help="Recommender; `mmx models` lists them. Your own: mine.py:Model.")
    ] = "vbpr",
    settings: Annotated[
        list[str] | None, of_input("--set", help="NAME=VALUE of the model; repeatable.")
    ] = None,
    split: Split = "auto",
    at: At = None,
    targets: Targets = "all",
    folds: Folds = 0,
    fold: Fold = 0,
    min_rating: MinRating = None,
    k_core: KCore = 0,
    unknown_items: Annotated[
        str, of_input(help="Interactions with items that are not in the table: error or drop.")
    ] = "error",
    ignore_weights: Annotated[
        bool, of_input("--ignore-weights", help="Train without the interactions' column weight.")
    ] = False,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    epochs: Annotated[
        int | None, of_training(help="At most; early stopping ends most runs.", show_default="1000")
    ] = None,
    batch_size: Annotated[
        int | None, of_training(help="Triples (user, item, negative) a step.", show_default="2048")
    ] = None,
    lr: Annotated[
        float | None,
        of_training(help="Learning rate of Adam.", show_default="the model's, mostly 0.001"),
    ] = None,
    lr_decay: Annotated[
        float | None,
        of_training(help="Factor on the learning rate after each epoch.", show_default="1.0"),
    ] = None,
    clip: Annotated[
        float | None,
        of_training(help="Largest norm of the gradient; 0: no limit.", show_default="0.0"),
    ] = None,
    mirror_gradient: Annotated[
        float | None,
        of_training(
            help="Mirror Gradient: share of the loss that some steps raise again; 0: off.",
            show_default="0.0",
        ),
    ] = None,
    mirror_every: Annotated[
        int | None,
        of_training(help="Batches from one mirrored step to the next.", show_default="3"),
    ] = None,
    patience: Annotated[
        int | None,
        of_training(
            help="Stop after so many evaluations without a better validation Recall@20.",
            show_default="20, and at least 1,000 steps",
        ),
    ] = None,
    eval_every: Annotated[
        int | None, of_training(help="Epochs between evaluations.", show_default="1")
    ] = None,
    negatives: Annotated[
        str | None,
        of_training(
            help="How negative items are drawn: uniform or popularity.", show_default="uniform"
        ),
    ] = None,
    seed: Annotated[
        int, of_training(help="Of initial values, order, negatives and the split.")
    ] = 0,
    end_to_end: Annotated[
        bool, of_joint("--end-to-end", help="Train --encoder as well, instead of --features.")
    ] = False,
    encoder: Annotated[str | None, of_joint(help="Encoder to start from: clip… or vlmo….")] = None,
    images: Annotated[
        str | None, of_joint(help="Folder of the pictures, if not next to the items table.")
    ] = None,
    weights: Annotated[Path | None, of_joint(help="The encoder's local checkpoint.")] = None,
    tokenizer: Annotated[Path | None, of_joint(help="vlmo: a local vocab.txt.")] = None,
    refresh: Annotated[
        str | None,
        of_joint(
            help="batch: gradients reach the encoder in every step; epoch: the encoder is "
            "frozen, features are computed again each epoch.",
            show_default="batch",
        ),
    ] = None,
    encoder_lr: Annotated[
        float | None, of_joint(help="Learning rate of the encoder.", show_default="1e-05")
    ] = None,
    tune: Annotated[
        str | None,
        of_joint(
            help="Which weights of the encoder train: full, lora, projection, last:N.",
            show_default="full",
        ),
    ] = None,
    chunk: Annotated[
        int | None,
        of_joint(help="Items encoded at once; fewer need less memory.", show_default="32"),
    ] = None,
    allow_private: AllowPrivate = False,
    device: Annotated[
        str | None,
        of_speed(
            help="cpu, cuda, cuda:1; auto: a CUDA GPU where there is one.", show_default="auto"
        ),
    ] = None,
    precision: Annotated[
        str | None,
        of_speed(help="Of the forward pass: float32 or bfloat16.", show_default="float32"),
    ] = None,
    out: Annotated[
        Path | None, of_output(help="Run directory.", show_default="runs/MODEL-STORE")
    ] = None,
    overwrite: Annotated[bool, of_output("--overwrite", help="Replace the run at --out.")] = False,
    keep_lists: Annotated[
        int, of_output(help="Keep the best so many items of each test user; 0: none.")
    ] = 0,
    log: Annotated[
        str | None, of_output(help="tensorboard: draw the epochs while it runs (an extra of mmx).")
    ] = None,
    log_dir: Annotated[
        Path | None,
        of_output(help="Folder for the files of --log.", show_default="tensorboard/ beside --out"),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Stage 2: train a recommender, choose the epoch on validation, test once.

    A killed run continues with the same command. Models with a closed form have no epochs and
    refuse the options under Training (but --seed), --device and --precision.
    """
    from mmx.own.code import named_by
    from mmx.recommend.fit import fit
    from mmx.recommend.job_options import job_of

    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    terminal.quiet = terminal.quiet or not first
    given = _given(ctx)
    code = named_by(model) if "model" in given else ()
    if config is None:
        job = job_of({**given, "data": chosen_data(data)}, code)
    else:
        from mmx.recommend.repeat import repeat

        job = repeat(config, code=code, log=note, **given)
    closed = job.record.closed_form
    if not closed:
        keeps("the same command continues after the epoch saved last (one every 30 s)")
    with progress_bar("state") as bar:
        progress = drawer(bar, None if closed else job.training.epochs)
        run = fit(
            job, out, overwrite=overwrite, progress=progress, log=note,
            tensorboard=_curves(log, log_dir),
        )  # fmt: skip
    if first:
        print_run(run, as_json)


def _curves(log: str | None, folder: Path | None) -> Path | bool:
    """What ``fit`` takes for --log and --log-dir. Raises OptionError for another --log."""
    from mmx.errors import OptionError, one_of

    if log is None:
        if folder is not None:
            raise OptionError("--log-dir needs --log tensorboard")
        return False
    one_of("--log", log, ("tensorboard",))
    return True if folder is None else folder


def _given(ctx: typer.Context) -> dict[str, Any]:
    """The options of a job that were typed."""
    typed = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return {
        name: ctx.params[name]
        for name, source in typed.items()
        if name not in NOT_OF_A_JOB and source is not None and source.name == "COMMANDLINE"
    }
