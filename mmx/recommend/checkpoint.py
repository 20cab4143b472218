"""The checkpoint of a training: all that the next epoch depends on, in one file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmx.atomic import replacing, sweep
from mmx.errors import RunError, first_line
from mmx.recommend.protocol import GradientModel
from mmx.torch_files import load_checked, save_checked

if TYPE_CHECKING:
    from mmx.recommend.trained import Trained

EVERY = 30.0  # s between checkpoints at least, so that quick epochs are not slowed down


class Checkpoint:
    """Saves and restores a training loop; does nothing without a path."""

    def __init__(
        self,
        path: Path | None,
        model: GradientModel,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        generator: torch.Generator,
        code: str | None = None,
    ) -> None:
        """``code`` is the SHA-256 of the model's file, where it is of the user's own."""
        self.path, self.model, self.code = path, model, code
        self.optimiser, self.schedule = optimiser, schedule
        # a model may have a generator of its own
        self.generators = [generator]
        if model.generator is not None:
            self.generators.append(model.generator)
        self._last = time.monotonic()

    def load(self, best: Trained) -> int:
        """Restore everything and fill ``best``. Returns the last finished epoch, or 0."""
        if self.path is None:
            return 0
        sweep(self.path)
        if not self.path.exists():
            return 0
        try:
            return self._restore(load_checked(self.path), best)
        except Exception as error:  # torch raises nearly anything on a file of another job
            reason = first_line(error)
            raise RunError(
                f"{self.path} cannot be continued ({reason}); delete it to start over"
            ) from error

    def _restore(self, saved: dict[str, Any], best: Trained) -> int:
        if saved.get("code") != self.code:
            raise ValueError("the model's file has changed since: its SHA-256 is another")
        self.model.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.schedule.load_state_dict(saved["schedule"])
        for generator, state in zip(self.generators, saved["generators"], strict=True):
            generator.set_state(state)
        best.best, best.best_epoch = saved["best"], saved["best_epoch"]
        best.history, best.state = saved["history"], saved["best_state"]
        users, items = saved["users"].numpy(), saved["items"].numpy()
        best.scorer = replace(best.scorer, users=users, items=items)
        return int(saved["epoch"])

    def is_due(self) -> bool:
        """Whether one is to be written, and the last one is not recent."""
        return self.path is not None and time.monotonic() - self._last >= EVERY

    def save(self, epoch: int, best: Trained, written: Callable[[], None] = lambda: None) -> None:
        """Write the state after ``epoch``, where that is due.

        ``written`` is called after each tensor.
        """
        if self.path is None or not self.is_due():
            return
        state = {
            "epoch": epoch,
            "code": self.code,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generators": [generator.get_state() for generator in self.generators],
            "best": best.best,
            "best_epoch": best.best_epoch,
            "best_state": best.state,
            "history": best.history,
            "users": torch.from_numpy(best.scorer.users),
            "items": torch.from_numpy(best.scorer.items),
        }
        with replacing(self.path) as temporary:
            save_checked(state, temporary, written)
        self._last = time.monotonic()
