"""Which dataset a command reads where ``--data`` was not given."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmx.files import Place

VARIABLE = "MMX_DATA"


def chosen_data(given: str | None) -> str:
    """``--data``, else ``$MMX_DATA``, else this folder or ``./data`` where they are a dataset.

    Says in a line which one was taken without having been given. Raises OptionError where there
    is none.
    """
    from mmx.cli.output import note
    from mmx.errors import OptionError

    if given is not None:
        return given
    named = os.environ.get(VARIABLE)
    if named:
        note(f"dataset: {named} (${VARIABLE})")
        return named
    for folder, words in ((".", "this folder"), ("data", "./data")):
        if _is_dataset(Path(folder)):
            note(f"dataset: {words}")
            return folder
    raise OptionError(
        f"give --data DIR: ${VARIABLE} is not set, and neither this folder nor ./data has "
        "items.parquet, .csv or .tsv (`mmx demo` makes a dataset to look at)"
    )


def _is_dataset(folder: Path) -> bool:
    """Whether it has an items table and is not a run, which has one, too."""
    from mmx.data.tables import has_table

    return has_table(folder, "items") and not (folder / "metrics.json").exists()


def command(*words: str | None, **options: object) -> str:
    """A command line that can be pasted: the words, then each option that has a value."""
    named = [(f"--{name.replace('_', '-')}", value) for name, value in options.items()]
    given = [word for word in words if word is not None]
    return shlex.join([*given, *(w for name, v in named if v is not None for w in (name, str(v)))])


def tables_of(catalogue: str | None) -> list[Place]:
    """The file that --catalogue means, if it means one."""
    from mmx.data.tables import find_table
    from mmx.errors import DataError
    from mmx.files import as_place

    if catalogue is None:
        return []
    place = as_place(catalogue)
    if place.is_file():
        return [place]
    try:
        return [find_table(place, "items")]
    except DataError:  # tar shards, or nothing: reading it says
        return []
