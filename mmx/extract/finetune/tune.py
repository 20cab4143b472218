"""The values of ``--tune``."""

from __future__ import annotations

import re

from mmx.errors import OptionError, suggestion
from mmx.kinds import must_be

TUNES = ("full", "lora", "projection", "last:N")


def check_tune(tune: str) -> None:
    """Raises OptionError unless it is "full", "lora", "projection" or "last:N"."""
    must_be("--tune", tune, str)
    if tune.startswith("last:"):
        blocks_of(tune)
    elif tune not in TUNES:
        raise OptionError(f"--tune {tune} is unknown{suggestion(tune, TUNES)}")


def blocks_of(tune: str) -> int:
    """The N of "last:N", 0 for "projection". Raises OptionError when N is not a number."""
    text = tune.removeprefix("last:") if tune != "projection" else "0"
    if not re.fullmatch(r"[0-9]+", text):
        raise OptionError(f"--tune {tune}: last:N takes a number of blocks, e.g. last:2")
    return int(text)
