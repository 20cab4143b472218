"""What ``mmx train`` shows while it runs and at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mmx.cli.evaluate_output import print_metrics
from mmx.cli.output import note, print_json
from mmx.cli.output import settings as terminal

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from mmx.recommend.options import TrainProgress
    from mmx.recommend.run import Run


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


def drawer(bar: Bar, epochs: int | None) -> Callable[[TrainProgress], None]:
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
