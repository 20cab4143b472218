"""``mmx train --log tensorboard``: the epochs of a training as curves, while it runs.

The event files are in ``tensorboard/NAME`` beside the run, or in ``--log-dir``. A resumed run adds
a file: from its first epoch on TensorBoard shows that one, and what a killed process had written
of these epochs no longer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmx.errors import OptionError, TargetError, first_line
from mmx.files import as_path
from mmx.recommend.options import TrainProgress
from mmx.recommend.records import ModelRecord

FOLDER = "tensorboard"  # beside the run
Progress = Callable[[TrainProgress], None]


def must_have_tensorboard() -> type:
    """The class that writes. Raises OptionError without the package."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise OptionError("--log tensorboard needs tensorboard; pip install 'mmx[tensorboard]'"
                          ) from error  # fmt: skip
    writer: type = SummaryWriter
    return writer


def check_curves(record: ModelRecord, wanted: Path | str | bool) -> None:
    """Raise OptionError where there is nothing to draw, or nothing to draw with."""
    if wanted is False:
        return
    if record.closed_form:
        raise OptionError(f"{record.name} has a closed form and no epochs; drop --log")
    must_have_tensorboard()


def folder_of(run: Path, wanted: Path | str | bool) -> Path | None:
    """Where the curves of a run go; None where there are none."""
    if isinstance(wanted, bool):
        return run.parent / FOLDER / run.name if wanted else None
    return as_path(wanted)


@contextmanager
def curves(folder: Path | None, about: Mapping[str, Any], progress: Progress) -> Iterator[Progress]:
    """``progress``, with a point of each curve added to ``folder``, if there is one.

    ``about`` is what the run's config has, written as text. Raises OptionError without the
    package, TargetError where the folder cannot be written.
    """
    if folder is None:
        yield progress
        return
    must_have_tensorboard()
    writer = _Curves(folder, about)
    try:

        def both(state: TrainProgress) -> None:
            writer.add(state)
            progress(state)

        yield both
    finally:
        writer.close()


class _Curves:
    """Opens the files with the first epoch, whose number says from where on they count."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder, self.about, self.events = folder, about, None

    def add(self, state: TrainProgress) -> None:
        if self.events is None:
            self.events = self._opened(state.epoch)
        events: Any = self.events
        events.add_scalar("loss", state.loss, state.epoch)
        for name, value in state.valid.items():
            events.add_scalar(f"valid/{name}", value, state.epoch)
        events.add_scalar("seconds/training", state.seconds, state.epoch)
        events.add_scalar("seconds/evaluation", state.evaluation_seconds, state.epoch)
        events.flush()

    def close(self) -> None:
        if self.events is not None:
            self.events.close()

    def _opened(self, epoch: int) -> Any:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            events = must_have_tensorboard()(str(self.folder), purge_step=epoch)
        except OSError as error:
            raise TargetError(f"--log-dir {self.folder} cannot be written: "
                              f"{first_line(error)}") from error  # fmt: skip
        text = json.dumps(self.about, indent=2, default=str)
        events.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()), epoch)
        return events
