"""``mmx import``: files of others in, a dataset directory out, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb

from mmx.atomic import check_target, file_sha256, publishing
from mmx.data.formats import amazon, microlens, mmrec, movielens, recbole, tables
from mmx.data.formats.archives import Archives
from mmx.data.formats.bad_lines import BadLines
from mmx.data.formats.filters import filtered
from mmx.data.formats.lines import LineReader
from mmx.data.formats.options import ImportOptions, ImportSource
from mmx.data.formats.workspace import Workspace
from mmx.data.formats.writing import (
    IMPORT,
    LATE,
    RECORD,
    write_interactions,
    write_items,
    write_record,
)
from mmx.data.splits import LeftOut
from mmx.data.templates import TextTemplate
from mmx.errors import DataError, OptionError, ctrl_c, first_line, one_of
from mmx.files import as_path, as_paths

FORMATS: dict[str, ModuleType] = {
    "amazon": amazon, "csv": tables, "microlens": microlens, "mmrec": mmrec,
    "movielens": movielens, "recbole": recbole,
}  # fmt: skip
RENAMING = ("csv", "mmrec", "recbole")  # formats whose columns may have other names
SEPARATED = ("csv", "microlens")  # formats that are CSV
WORK = ".import"  # in the folder that is being filled

Beside = Callable[[Path], dict[str, Any]]


@dataclass
class Imported:
    """What was written, and what was not."""

    out: Path
    users: int = 0
    items: int = 0
    interactions: int = 0
    read: int = 0  # interactions in the source
    left_out: list[LeftOut] = field(default_factory=list)
    repeated_items: int = 0  # rows of items whose id occurred before
    without_metadata: int = 0  # items of which only interactions are known
    bad_lines: int = 0
    first_bad: str = ""
    extra: dict[str, Any] = field(default_factory=dict)  # what ``beside`` reports

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "out": str(self.out)}


def import_dataset(
    name: str,
    sources: Sequence[Path | str],
    out: Path | str,
    options: ImportOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    log: Callable[[str], None] = lambda line: None,
    beside: Beside = lambda folder: {},
) -> Imported:
    """Write what ``sources`` hold in the format ``name`` as the dataset directory ``out``.

    ``progress`` gets the bytes read and their total; ``beside`` fills the folder further before it
    is put in place. Raises DataError for what cannot be read, with file and line; OptionError for
    an unknown format or options that do not fit it; TargetError where ``out`` cannot be written or
    replaced.
    """
    one_of("format", name, FORMATS)
    options, out = options or ImportOptions(), as_path(out)
    _check_options(name, options)
    places = as_paths(sources)
    for place in places:
        if not place.exists():
            raise DataError(f"{place}: there is no such file or folder")
    check_target(out, IMPORT, overwrite)
    bad = BadLines(options.skip_bad_lines)
    with publishing(out, IMPORT, overwrite=overwrite, folder=True) as folder:
        encoding = (name not in SEPARATED and options.csv.encoding) or "utf-8"
        archives = Archives(FORMATS[name].MEMBERS, options.max_bytes, progress)
        try:
            with ctrl_c(), Workspace(folder / WORK) as work:
                places = [
                    archives.opened(place, work.folder / "unpacked" / str(number))
                    for number, place in enumerate(places)
                ]
                total = sum(map(_size, places))
                reader = LineReader(
                    bad, encoding, options.max_bytes, lambda done: progress(done, total)
                )
                source = ImportSource(places, options, reader, work, log, archives)
                done = _imported(source, FORMATS[name], folder, Imported(out))
        except (DataError, OptionError) as error:
            raise type(error)(archives.named(str(error))) from error
        except duckdb.Error as error:
            raise DataError(f"the import stopped: {first_line(error)}") from error
        shutil.rmtree(folder / WORK)
        done.bad_lines, done.first_bad = bad.count, archives.named(bad.first)
        done.extra = beside(folder)
        write_record(folder, RECORD, _facts(name, source, done))
    return done


def _check_options(name: str, options: ImportOptions) -> None:
    """Raise OptionError for an option that the format does not use."""
    for given, option, formats in (
        (options.columns, "--columns", RENAMING), (options.csv.delimiter, "--delimiter", SEPARATED),
    ):  # fmt: skip
        if given and name not in formats:
            raise OptionError(f"{option} is for {', '.join(formats)}; leave it out for {name}")

    if options.text is not None and FORMATS[name].COLUMNS:
        TextTemplate.parse(options.text).check(["item_id", *FORMATS[name].COLUMNS])


def _imported(source: ImportSource, module: ModuleType, folder: Path, done: Imported) -> Imported:
    """Read, leave out, write."""
    work, options = source.work, source.options
    module.load(source)
    done.read = work.count("log") if work.columns("log") else 0
    if not done.read:
        raise DataError(f"{source.places[0]} holds no interactions")
    if options.k_core and "split" in work.columns("log"):
        raise OptionError("--k-core would change the split that the files give; leave it out")
    work.whole("log", "timestamp")
    steps = filtered(
        work, min_rating=options.min_rating, duplicates=options.duplicates, k_core=options.k_core
    )
    done.left_out = list(steps)
    known = work.columns("meta")
    if known:
        done.repeated_items = work.replace(
            "meta",
            "select * from meta where mmx_n in (select min(mmx_n) from meta group by item_id)",
        )
    text = _template(options.text, module, known)
    done.items = write_items(work, folder, text, every=options.all_items)
    write_interactions(work, folder)
    done.interactions = work.count("log")
    done.users = work.one("select count(distinct user_id) from log")
    done.without_metadata = work.count("meta", f"mmx_n >= {LATE}")
    return done


def _template(given: str | None, module: ModuleType, known: list[str]) -> TextTemplate | None:
    """The user's template, or that of the format where the columns are there."""
    if given is not None:
        template = TextTemplate.parse(given)
        template.check(known)
        return template
    if not module.TEXT or "text" in known:
        return None
    own = TextTemplate.parse(module.TEXT)
    return own if set(own.columns) <= set(known) else None


def _size(place: Path) -> int:
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(path.stat().st_size for path in files if path.is_file())


def _facts(name: str, source: ImportSource, done: Imported) -> dict[str, Any]:
    """What import.json says."""
    read = [
        {"name": path.name, "bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in source.read
    ]
    facts = done.as_dict()
    del facts["out"]
    options = asdict(source.options)
    said = {"license": options.pop("license")}
    return {"format": name, "sources": read, **said, "options": options, **facts}
