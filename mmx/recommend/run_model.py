"""The model that a run is of: its record and its settings, to build it again."""

from __future__ import annotations

from typing import Any

from mmx.errors import OptionError, RunError
from mmx.own.code import Code
from mmx.recommend.models import ModelRecord, find_model
from mmx.recommend.run import Run


def record_of(run: Run, codes: tuple[Code, ...]) -> ModelRecord:
    """Of the run's model. What the run says of code is compared with ``codes``, and never run.

    Raises OptionError where the code of a model is not given, RunError where it has changed.
    """
    kept = run.config.get("code")
    if kept is None:
        return find_model(run.config["model"])
    source, _, member = str(kept.get("name")).rpartition(":")
    mine = next((code for code in codes if source in (code.where, code.name)), None)
    if mine is None:
        raise OptionError(f"{run.path} is of {source}:{member}, and its code is needed: "
                          f"--code {source or 'FILE'}")  # fmt: skip
    if mine.sha256 != kept.get("sha256"):
        raise RunError(f"{mine.where} has changed since {run.path} was trained; restore it, or "
                       "train again")  # fmt: skip
    return find_model(f"{mine.where}:{member}", codes)


def config_of_model(kind: type[Any], run: Run) -> Any:
    """The settings of a run as a Config. Raises RunError when the model has changed since."""
    try:
        return kind(**run.config["settings"])
    except TypeError as error:
        raise RunError(f"{run.path} has settings that {run.config['model']} no longer has; "
                       "train it again") from error  # fmt: skip
