"""MMRec's files: a log by numbers, and maps from numbers to ids.

    NAME.inter          userID, itemID, rating, timestamp, x_label (0, 1, 2: train, valid, test)
    u_id_mapping.csv    user_id, userID
    i_id_mapping.csv    asin, itemID

The columns are divided by tabs. Without a map the numbers are the ids. The features
(image_feat.npy, text_feat.npy) become a store; see ``mmx.cache.mmrec_features``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmx.data.csvs.format import PLAIN
from mmx.data.csvs.reader import read_csv
from mmx.data.formats.cells import NUMBERS, cell, header, log_layout, place_of
from mmx.data.formats.options import ImportSource
from mmx.data.formats.workspace import Column
from mmx.data.tables import require
from mmx.errors import DataError, first_few

TEXT = ""
COLUMNS = ()  # not known before the files are read
MEMBERS = ()  # the features are read from the folder, too
LOG = {"user_id": "userID", "item_id": "itemID", **{name: name for name in NUMBERS}}
MAPS = {"user_id": ("u_id_mapping.csv", "userID"), "item_id": ("i_id_mapping.csv", "itemID")}
SPLIT = "['train', 'valid', 'test'][try_cast({} as integer) + 1]"


def load(source: ImportSource) -> None:
    """Read the log and the maps. Raises DataError where they do not belong together."""
    folder = source.folder("NAME.inter")
    path = log_of(folder)
    number, names = header(path, source.reader, "\t")
    wanted = source.renamed(LOG)
    label = wanted.pop("split", "x_label")
    layout = log_layout(path, names, wanted, "\t")
    if label in names:
        split = SPLIT.format(cell(place_of(label, names, path, "--columns split")))
        part = Column("split", split, needed=f"{label} is not 0, 1 or 2")
        layout = replace(layout, columns=[*layout.columns, part])
    source.work.fill("log", source.using(path), layout, source.reader, number)
    if not source.work.columns("log"):
        return
    for ours, (name, numbers) in MAPS.items():
        if (folder / name).is_file():
            _named(source, folder / name, ours, numbers, path)


def log_of(folder: Path) -> Path:
    """The one .inter file. Raises DataError."""
    found = sorted(folder.glob("*.inter"))
    if len(found) != 1:
        listed = first_few(p.name for p in found) or "none"
        raise DataError(f"{folder}: one .inter file is expected, there is {listed}")
    return found[0]


def _named(source: ImportSource, path: Path, ours: str, numbers: str, log: Path) -> None:
    """Put the ids in the place of their numbers; of items the map is all that is known."""
    work, (_, names) = source.work, header(path, source.reader, "\t")
    separator = "\t" if len(names) > 1 else ","
    csv = replace(PLAIN, delimiter=separator, encoding=source.options.csv.encoding)
    table = read_csv(source.using(path), csv, text=None)
    require(table, (numbers,), path)
    others = [name for name in table.column_names if name != numbers]
    if not others:
        raise DataError(f"{path} has no column besides {numbers}; one of the ids is expected")
    work.db.register("ids", table.select([others[0], numbers]).rename_columns(["id", "number"]))
    _check(source, path, log, ours)
    work.replace(
        "log", f"select log.* replace (ids.id as {ours}) from log join ids on {ours} = ids.number"
    )
    if ours == "item_id":
        work.query("meta", "select id as item_id from ids order by try_cast(number as bigint)")
    work.db.unregister("ids")


def _check(source: ImportSource, path: Path, log: Path, ours: str) -> None:
    """Raise DataError where a number has no id, or several have one."""
    lost = source.work.db.sql(
        f"select distinct {ours} from log where {ours} not in "
        "(select number from ids where number is not null and id is not null) limit 4"
    ).fetchall()
    if lost:
        raise DataError(f"{path} has no id for {first_few(n for (n,) in lost)}, which {log} names")
    for name in ("id", "number"):
        twice = source.work.db.sql(
            f"select {name} from ids group by {name} having count(*) > 1 limit 4"
        ).fetchall()
        if twice:
            raise DataError(f"{path} has {first_few(n for (n,) in twice)} more than once")
