"""``mmx train``, ``mmx evaluate`` and ``mmx models``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmx.cli.output import AsJson, Debug, Quiet, listed, note, print_json, print_table, progress_bar
from mmx.cli.output import settings as terminal

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from mmx.recommend.run import Run
    from mmx.recommend.training import TrainProgress

SHOWN = ("recall", "ndcg", "precision", "map", "hitrate", "mrr")


def train(
    data: Annotated[Path, typer.Option(help="Dataset directory.")],
    features: Annotated[
        list[str] | None,
        typer.Option(help="Store, or STORE:image,text for some of its modalities; repeatable."),
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

    A killed run goes on where it was with the same command. Options from --epochs to --device
    are of models that are trained in epochs; a closed form refuses them.
    """
    from mmx.data.splits import SplitRule
    from mmx.recommend.features import FeatureSpec
    from mmx.recommend.fit import TrainJob, fit
    from mmx.recommend.models import find_model
    from mmx.recommend.run import free_path
    from mmx.recommend.training import TrainOptions

    specs = [FeatureSpec.parse(text) for text in features or []]
    name = "-".join([model, *(spec.path.name.removesuffix(".parquet") for spec in specs)])
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
        model=model,
        features=specs,
        settings=settings or [],
        split=SplitRule(split, min_rating, k_core, seed),  # type: ignore[arg-type]
        unknown_items=unknown_items,
        training=training,
    )
    out = out or free_path(Path("runs"), name)
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    terminal.quiet = terminal.quiet or not first
    closed = find_model(model).closed_form
    with progress_bar("state") as bar:
        progress = _drawer(bar, None if closed else training.epochs)
        run = fit(job, out, overwrite=overwrite, progress=progress)
    if first:
        print_run(run, as_json)


def _refuse(model: str, given: dict[str, Any]) -> None:
    """Raises OptionError when an option of the training loop was given to a closed form."""
    from mmx.errors import OptionError

    if given:
        option = next(iter(given)).replace("_", "-")
        raise OptionError(f"{model} has a closed form and no epochs; drop --{option}")


def print_run(run: Run, as_json: bool) -> None:
    """What a finished run reached."""
    best = run.config["best_epoch"]
    if as_json:
        print_json({"run": str(run.path), "best_epoch": best, **run.metrics})
        return
    print_metrics(run.metrics)
    note(f"{run.path}" if best is None else f"{run.path}: best epoch {best}")


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    split: Annotated[str, typer.Option(help="valid or test.")] = "test",
    tail: Annotated[
        int | None,
        typer.Option(help="Count only held-out items with at most so many training interactions."),
    ] = None,
    cold: Annotated[
        bool, typer.Option("--cold", help="Count only those without any: items nobody took.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Evaluate a finished run again: full ranking, training items masked."""
    from mmx.errors import OptionError, RunError
    from mmx.recommend.evaluation import evaluate as measure
    from mmx.recommend.run import metrics_of, open_run

    if split not in ("valid", "test"):
        raise OptionError(f"--split {split} is unknown; known: valid, test")
    if cold and tail is not None:
        raise OptionError("--cold means --tail 0; give one of the two")
    opened = open_run(run)
    tail = 0 if cold else tail
    held_out = opened.data.valid if split == "valid" else opened.data.test
    targets = None if tail is None else opened.data.train.item_counts <= tail
    measured = measure(opened.scorer, held_out, opened.data.train, targets=targets)
    if tail is not None and not len(measured.users):
        raise RunError(f"{run}: no {split} item has at most {tail} training interactions; "
                       "raise --tail")  # fmt: skip
    if cold and not opened.can("cold_items"):
        note(f"{opened.config['model']} cannot score items that nobody took: their order is chance")
    metrics = metrics_of({split: measured})
    if as_json:
        print_json({"run": str(run), "tail": tail, **metrics})
    else:
        print_metrics(metrics)


def models(as_json: AsJson = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the recommenders that --model can name, with their settings."""
    from dataclasses import fields

    from mmx.recommend.models import MODELS

    rows = [
        {
            "model": record.name,
            "what it is": record.title,
            "features": record.features,
            "trained": "in closed form" if record.closed_form else "in epochs",
            "cold items": record.cold_items,
            "new users": record.new_users,
            "settings": {f.name: f.default for f in fields(record.load().Config)},
            "citation": record.citation,
        }
        for record in MODELS.values()
    ]
    if as_json:
        print_json(rows)
        return
    print_table(list(rows[0]), [[listed(value) for value in row.values()] for row in rows])


def print_metrics(metrics: dict[str, dict[str, float]]) -> None:
    """One row per metric and split, one column per cut-off."""
    splits = [name for name in ("valid", "test") if name in metrics]
    cutoffs = sorted({int(key.partition("@")[2]) for key in metrics[splits[0]]})
    rows = [
        [split, metric, *(metrics[split].get(f"{metric}@{k}", float("nan")) for k in cutoffs)]
        for split in splits
        for metric in SHOWN
    ]
    print_table(["split", "metric", *(f"@{k}" for k in cutoffs)], rows)
    for split in splits:
        left_out = metrics["counts"][f"{split}_users_without_training"]
        extra = f", {left_out:.0f} without training items left out" if left_out else ""
        users, items = (metrics["counts"][f"{split}_{what}"] for what in ("users", "items"))
        note(f"{split}: {users:.0f} users, {items:.0f} different items{extra}")


def _drawer(bar: Bar, epochs: int | None) -> Callable[[TrainProgress], None]:
    task = bar.add_task("training", total=epochs, state="")

    def draw(state: TrainProgress) -> None:
        reached = state.valid.get("recall@20", float("nan"))
        bar.update(
            task,
            completed=state.epoch,
            state=f"loss {state.loss:.4f}  recall@20 {reached:.4f} "
            f"(best {state.best:.4f}, epoch {state.best_epoch})  {state.seconds:.2f} s/epoch",
        )

    return draw
