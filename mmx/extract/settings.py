"""What a run has measured, kept with its parts so that a resumed run does the same.

Timings differ from run to run, and the last bits of a vector may depend on what they decide.
So the batch size, the size of parts and the measured accuracy are in ``settings.json`` in the
folder of parts; the accuracy also goes into the store's metadata, under ``mmx.accuracy``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmx.atomic import write_text
from mmx.cache.decoding import decoding
from mmx.cache.parts import folder_of, read_job
from mmx.cache.seal import read_footer
from mmx.cache.store import is_store, open_store, own_entries
from mmx.files import Place, parse_json

FILE = "settings.json"
ACCURACY = "mmx.accuracy"


@dataclass(frozen=True)
class Settings:
    """How the blocks of one job are encoded."""

    batch_size: int  # items
    part_size: int  # rows of a part
    accuracy: dict[str, Any] | None = None  # see mmx.extract.precision; None: not measured

    def write(self, parts: Path) -> None:
        """Keep them in the folder of parts."""
        write_text(parts / FILE, json.dumps(asdict(self), sort_keys=True))


def read_settings(parts: Path) -> Settings | None:
    """The settings of the unfinished job in a folder of parts; None where there are none."""
    try:
        found = Settings(**parse_json((parts / FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    sizes = all(type(n) is int and n > 0 for n in (found.batch_size, found.part_size))
    return found if sizes and isinstance(found.accuracy, (dict, type(None))) else None


@dataclass(frozen=True)
class Before:
    """What an earlier run into the same store decided."""

    precision: str | None = None
    settings: Settings | None = None
    accuracy: dict[str, Any] | None = None


def read_previous(store: Path, *, overwrite: bool = False) -> Before:
    """Read it from the parts beside the store, or else from the store.

    With ``overwrite`` only parts of a job that began with it count.
    """
    parts = folder_of(store)
    settings = read_settings(parts)
    accuracy = settings.accuracy if settings else None
    job = read_job(parts / "job.json")
    if job and (job.get("anew") or not overwrite):  # else no parts, or some that Parts refuses
        return Before(str(job["card"]["precision"]), settings, accuracy)
    if overwrite:
        return Before()
    if not is_store(store):
        return Before(None, settings, accuracy)
    return Before(open_store(store).card.precision, settings, accuracy_of(store))


def accuracy_of(store: Place) -> dict[str, Any] | None:
    """The accuracy in a store's metadata; None where it was not measured."""
    text = own_entries(read_footer(open_store(store).files[0])[0]).get(ACCURACY)
    with decoding(store):
        found = parse_json(text) if text else None
        if not isinstance(found, (dict, type(None))):
            raise ValueError("the accuracy in it is not a record")
        return found


def block_of(store: Place) -> int:
    """Rows of a store's row groups, of which only the last may have fewer."""
    rows: int = read_footer(open_store(store).files[0])[0].row_group(0).num_rows
    return rows
