"""``mmx evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmx.cli.dataset import chosen_data
from mmx.cli.evaluate_output import print_beyond, print_groups, print_metrics
from mmx.cli.options import (
    Data,
    Delimiter,
    Encoding,
    Fold,
    Folds,
    KCore,
    ListDevice,
    MinRating,
    Targets,
    of_input,
    of_output,
    of_shown,
)
from mmx.cli.output import AsJson, Debug, Quiet, note, print_json

if TYPE_CHECKING:
    from mmx.data.splits import SplitRule
    from mmx.recommend.run import Run


def evaluate(
    run: Annotated[Path | None, typer.Argument(help="Run directory.", show_default=False)] = None,
    split: Annotated[
        str | None,
        of_shown(
            help="valid or test. With --lists: the split, as --split of mmx train.",
            show_default="test; auto with --lists",
        ),
    ] = None,
    tail: Annotated[
        int | None,
        of_shown(help="Count only held-out items with at most so many training interactions."),
    ] = None,
    cold: Annotated[
        bool, of_shown("--cold", help="Count only items without training interactions.")
    ] = False,
    at: Annotated[
        list[str] | None,
        of_shown(
            help="Cut-offs K, as 1,7,100; repeatable. With --lists: the point of the split.",
            show_default="5,10,20,50",
        ),
    ] = None,
    beyond: Annotated[
        bool,
        of_shown("--beyond", help="Also coverage, Gini index, novelty, popularity of the lists."),
    ] = False,
    store: Annotated[
        list[str] | None,
        of_shown(help="With --beyond: diversity by the vectors of STORE, STORE:text; repeatable."),
    ] = None,
    category: Annotated[
        str | None, of_shown(help="With --beyond: diversity by a column of the items table.")
    ] = None,
    groups: Annotated[
        bool,
        of_shown("--groups", help="Also by activity of users, popularity of items, warm and cold."),
    ] = False,
    lists: Annotated[
        str | None,
        of_input(
            help="In place of a run: recommendation lists of any program, .parquet or .csv with "
            "user_id, item_id and rank or score; path or URL."
        ),
    ] = None,
    data: Data = None,
    split_of: Annotated[
        Path | None,
        of_input(help="In place of --data: a run whose dataset and split the lists are of."),
    ] = None,
    name: Annotated[
        str | None,
        of_input(help="What the lists are called in tables.", show_default="their file's name"),
    ] = None,
    targets: Targets = "all",
    folds: Folds = 0,
    fold: Fold = 0,
    min_rating: MinRating = None,
    k_core: KCore = 0,
    unknown_items: Annotated[
        str,
        of_input(
            help="Interactions, and rows of --lists, with items that are not in the table: error "
            "or drop."
        ),
    ] = "error",
    seed: Annotated[
        int, of_input(help="Of the split, and of the training of what made the lists.")
    ] = 0,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    out: Annotated[
        Path | None,
        of_output(help="Run directory that --lists makes.", show_default="runs/NAME"),
    ] = None,
    overwrite: Annotated[bool, of_output("--overwrite", help="Replace the run at --out.")] = False,
    device: ListDevice = "cpu",
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Evaluate a finished run again, or the lists of any recommender: full ranking.

    Training items are masked. With --lists the result is a run that `mmx compare` takes beside
    others.
    """
    from mmx.errors import OptionError

    if (run is None) == (lists is None):
        raise OptionError("give either a run directory or --lists FILE")
    wide = _Wide(beyond, store, category, groups)
    if run is not None:
        _refuse("goes with --lists: a run has its dataset and its split", {
            "--data": data, "--split-of": split_of, "--name": name, "--targets": targets != "all",
            "--folds": folds, "--fold": fold, "--min-rating": min_rating is not None,
            "--k-core": k_core, "--unknown-items": unknown_items != "error", "--seed": seed,
            "--encoding": encoding, "--delimiter": delimiter, "--out": out,
            "--overwrite": overwrite,
        })  # fmt: skip
        split = "test" if split is None else split
        _evaluate_run(run, device, split, at, tail, cold, wide, as_json)
        return
    assert lists is not None
    _refuse("takes a run; evaluate the one that --lists makes", {
        "--tail": tail is not None, "--cold": cold, "--beyond": beyond, "--groups": groups,
        "--device": device != "cpu",
    })  # fmt: skip
    from mmx.data.csvs.format import CsvFormat
    from mmx.recommend.rival import evaluate_lists

    point = _point(at)
    rule = _rule(split, min_rating, k_core, seed, point, targets, folds, fold)
    made = evaluate_lists(
        lists,
        chosen_data(data) if split_of is None else data,
        out,
        split_of=split_of,
        split=rule,
        unknown_items=unknown_items,
        csv=CsvFormat(encoding, delimiter),
        name=name,
        seed=seed,
        overwrite=overwrite,
        log=note,
    )
    counts = {n: v for n, v in made.metrics["counts"].items() if n.startswith("test_")}
    metrics = {"test": made.metrics["test"], "counts": counts}
    if as_json:
        print_json({"run": str(made.path), **metrics})
        return
    print_metrics(metrics)
    note(f"{made.path}: the lists of {made.config['lists']['name']}")


@dataclass(frozen=True)
class _Wide:
    """What is wanted besides accuracy."""

    beyond: bool
    stores: list[str] | None
    category: str | None
    groups: bool

    def __post_init__(self) -> None:
        if not self.beyond:
            _refuse("goes with --beyond; add it",
                    {"--store": self.stores, "--category": self.category})  # fmt: skip

    def of(self, run: Run, split: str, cutoffs: Sequence[int] | None) -> dict[str, Any]:
        """For JSON: ``beyond`` and ``groups``."""
        from mmx.recommend.metrics import CUTOFFS

        if not (self.beyond or self.groups):
            return {}
        from mmx.recommend.list_metrics import beyond_accuracy, by_group

        at, found = cutoffs or CUTOFFS, dict[str, Any]()
        if self.beyond:
            found["beyond"] = beyond_accuracy(
                run, split, at, stores=self.stores or (), category=self.category
            )
        if self.groups:
            found["groups"] = by_group(run, split, at)
        return found


def _refuse(why: str, options: dict[str, Any]) -> None:
    """Raise OptionError for the first option that was given."""
    from mmx.errors import OptionError

    for option, given in options.items():
        if given:
            raise OptionError(f"{option} {why}")


def _rule(
    split: str | None, min_rating: float | None, k_core: int, seed: int, at: str | None,
    targets: str, folds: int, fold: int,
) -> SplitRule | None:  # fmt: skip
    """The rule of --lists; None where no option says one."""
    from mmx.data.splits import SplitRule

    name = "auto" if split is None else split
    rule = SplitRule(name, min_rating, k_core, seed, at, targets, folds, fold)  # type: ignore[arg-type]
    named = replace(rule, seed=0) != SplitRule() or split is not None
    return rule if named else None


def _point(texts: list[str] | None) -> str | None:
    """--at with --lists. Raises OptionError where there are several."""
    from mmx.errors import OptionError

    if texts and len(texts) > 1:
        raise OptionError("--at with --lists is the point of the split, and is given twice")
    return texts[0] if texts else None


def _evaluate_run(
    path: Path, device: str, split: str, at: list[str] | None, tail: int | None, cold: bool,
    wide: _Wide, as_json: bool,
) -> None:  # fmt: skip
    from mmx.recommend.api import evaluate as measure
    from mmx.recommend.metrics import CUTOFFS
    from mmx.recommend.run import metrics_of, open_run

    cutoffs = _cutoffs(at) if at else None
    run = open_run(path, device)
    measured = measure(run, split, cutoffs or CUTOFFS, tail=tail, cold=cold, log=note)
    metrics, more = metrics_of({split: measured}), wide.of(run, split, cutoffs)
    if as_json:
        print_json({"run": str(path), "tail": 0 if cold else tail, **metrics, **more})
        return
    print_metrics(metrics)
    if "beyond" in more:
        print_beyond(more["beyond"])
    if "groups" in more:
        print_groups(more["groups"])


def _cutoffs(texts: list[str]) -> list[int]:
    """The numbers of all texts."""
    from mmx.errors import OptionError

    found = []
    for part in (part.strip() for text in texts for part in text.split(",")):
        try:
            found.append(int(part))
        except ValueError:
            raise OptionError(f"--at {part[:40]}: whole numbers are expected, as 1,7,100") from None
    return found
