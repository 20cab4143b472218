"""``mmx train``, ``mmx evaluate`` and ``mmx models``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmx.cli.output import AsJson, Debug, Quiet, listed, note, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

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
    epochs: Annotated[int, typer.Option(help="At most; early stopping ends most runs.")] = 1000,
    batch_size: Annotated[int, typer.Option(help="Triples a step.")] = 2048,
    lr: Annotated[float, typer.Option(help="Learning rate of Adam.")] = 1e-3,
    patience: Annotated[
        int, typer.Option(help="Evaluations without a better validation Recall@20.")
    ] = 20,
    eval_every: Annotated[int, typer.Option(help="Epochs between evaluations.")] = 1,
    seed: Annotated[int, typer.Option(help="Of initialisation, order, negatives, split.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda …")] = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run at --out.")] = (
        False
    ),
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Stage 2: train a recommender, choose the epoch on validation, test once."""
    from mmx.data.splits import SplitRule
    from mmx.recommend.features import FeatureSpec
    from mmx.recommend.fit import TrainJob, fit
    from mmx.recommend.run import free_path
    from mmx.recommend.training import TrainOptions

    specs = [FeatureSpec.parse(text) for text in features or []]
    name = "-".join([model, *(spec.path.name.removesuffix(".parquet") for spec in specs)])
    training = TrainOptions(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        patience=patience,
        eval_every=eval_every,
        seed=seed,
        device=device,
    )
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
    with progress_bar("state") as bar:
        run = fit(job, out, overwrite=overwrite, progress=_drawer(bar, epochs))
    if as_json:
        print_json({"run": str(run.path), "best_epoch": run.config["best_epoch"], **run.metrics})
        return
    print_metrics(run.metrics)
    note(f"{run.path}: best epoch {run.config['best_epoch']}")


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    split: Annotated[str, typer.Option(help="valid or test.")] = "test",
    tail: Annotated[
        int | None,
        typer.Option(help="Count only held-out items with at most so many training interactions."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Evaluate a finished run again: full ranking, training items masked."""
    from mmx.errors import OptionError
    from mmx.recommend.evaluation import evaluate as measure
    from mmx.recommend.run import metrics_of, open_run

    if split not in ("valid", "test"):
        raise OptionError(f"--split {split} is unknown; known: valid, test")
    opened = open_run(run)
    held_out = opened.data.valid if split == "valid" else opened.data.test
    targets = None if tail is None else opened.data.train.item_counts <= tail
    metrics = metrics_of({split: measure(opened.scorer, held_out, opened.data.train,
                                         targets=targets)})  # fmt: skip
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
        note(f"{split}: {metrics['counts'][f'{split}_users']:.0f} users{extra}")


def _drawer(bar: Bar, epochs: int) -> Callable[[TrainProgress], None]:
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
