"""``mmx export``: a dataset and its features in the files that MMRec or RecBole train on.

    mmrec     NAME.inter, u_id_mapping.csv, i_id_mapping.csv, image_feat.npy, text_feat.npy,
              missed_img_itemIDs.csv, missed_text_itemIDs.csv, NAME.yaml
    recbole   NAME.inter, or NAME.train.inter, NAME.valid.inter and NAME.test.inter, NAME.item,
              a file of vectors for each modality, NAME.yaml

Row n of a .npy belongs to itemID n of the log. Items without an interaction have no number there
and are left out; an item without a vector gets the mean of the others, as MMRec's own sets do, and
is listed. NAME is that of the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.atomic import Kind, check_target, publishing
from mmx.cache.export import MISSED, MMREC
from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.data.dataset import Dropped, Items, check_csv, load_interactions, load_items
from mmx.data.formats.numbered import (
    Numbered,
    cell,
    id_cells,
    number_cells,
    vector_cells,
    write_columns,
)
from mmx.data.formats.writing import only_recorded, write_record
from mmx.data.splits import LeftOut, SplitRule, first_of_each_pair, split_interactions
from mmx.errors import OptionError, one_of
from mmx.files import Place, as_path
from mmx.recommend.features import Features, FeatureSpec, load_features

TARGETS = ("mmrec", "recbole")
RECORD = "export.json"
EXPORTED = Kind("a folder of `mmx export`", lambda folder: only_recorded(folder, RECORD))
MAPS = {"u_id_mapping.csv": ("user_id", "userID"), "i_id_mapping.csv": ("asin", "itemID")}


@dataclass
class ExportReport:
    """What was written."""

    out: Path
    users: int = 0
    items: int = 0
    interactions: int = 0
    items_left_out: int = 0  # of the catalogue, without an interaction
    columns_left_out: list[str] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)  # modality → items without a vector
    left_out: list[LeftOut] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "out": str(self.out)}


def export_dataset(
    data: Place | str,
    to: str,
    out: Path | str,
    features: Sequence[FeatureSpec | Place | str] = (),
    *,
    rule: SplitRule | None = None,
    unknown: str = "error",
    csv: CsvFormat = PLAIN,
    overwrite: bool = False,
    log: Callable[[str], None] = lambda line: None,
) -> ExportReport:
    """Write the dataset ``data`` as the folder ``out``; ``to`` is "mmrec" or "recbole".

    ``features`` are stores whose vectors go with it, of one modality each at most once. ``rule``
    filters and splits the log; MMRec needs a split, so the default is that of ``mmx train``, and
    RecBole gets one where the dataset or ``rule`` has one. Raises what ``load_interactions``,
    ``split_interactions`` and ``load_features`` raise, and TargetError.
    """
    one_of("--to", to, TARGETS)
    out = as_path(out)
    check_target(out, EXPORTED, overwrite)
    check_csv(csv, data, interactions=True)
    items, report = load_items(data, csv=csv), ExportReport(out)

    def drop(what: Dropped) -> None:
        log(str(what))

    if rule is not None and rule.rule == "users":
        raise OptionError("--split users: neither MMRec nor RecBole reads a split by users; "
                          "choose another")  # fmt: skip
    table = load_interactions(data, items, unknown=unknown, dropped=drop, csv=csv, weights=True)
    if to == "mmrec" or rule is not None or "split" in table.column_names:
        table = _split(table, rule or SplitRule(), report.left_out.append)
    numbered = Numbered.of(table, _plain(items, report))
    vectors, _ = load_features([FeatureSpec.of(f) for f in features], numbered.items)
    report.users, report.items = len(numbered.users), len(numbered.items)
    report.interactions, report.items_left_out = len(table), len(items) - report.items
    report.missing = {m: int((~f.present).sum()) for m, f in vectors.items()}
    if to == "mmrec" and (odd := vectors.keys() - MMREC.keys()):
        raise OptionError(f"MMRec takes image and text, not {', '.join(sorted(odd))}; leave it out")
    with publishing(out, EXPORTED, overwrite=overwrite, folder=True) as folder:
        write = _mmrec if to == "mmrec" else _recbole
        write(folder, out.resolve().name, numbered, vectors)
        facts = {**report.as_dict(), "to": to}
        del facts["out"]
        write_record(folder, RECORD, facts)
    return report


def _split(table: pa.Table, rule: SplitRule, left_out: Callable[[LeftOut], None]) -> pa.Table:
    """Filtered, one row a pair, with a split, and with the ratings where there are some."""
    found = split_interactions(table, rule, left_out)
    if "rating" not in table.column_names:
        return found
    if rule.min_rating is not None:
        table = table.filter(pc.greater_equal(table["rating"], rule.min_rating))
    first = first_of_each_pair(table)
    place = pc.index_in(_pairs(found), value_set=_pairs(first))
    return found.append_column("rating", first["rating"].take(place))


def _pairs(table: pa.Table) -> pa.Array:
    """(rows,) texts, one for each pair of user and item."""
    users = table["user_id"].combine_chunks()
    lengths = pc.utf8_length(users).cast(pa.string())  # so that no two pairs share a text
    parts = (lengths, users, table["item_id"].combine_chunks(), "|")
    return pc.binary_join_element_wise(*parts)


def _plain(items: Items, report: ExportReport) -> pa.Table:
    """The columns that are texts or numbers, under names that a header can hold."""
    names = []
    for column in items.table.schema:
        number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        held = (number or text) and not any(mark in column.name for mark in ":\t\r\n")
        empty = items.table[column.name].null_count == len(items) and column.name != "item_id"
        if held and not empty:
            names.append(column.name)
        elif not empty:
            report.columns_left_out.append(column.name)
    return items.table.select(names)


def _mmrec(folder: Path, name: str, numbered: Numbered, vectors: dict[str, Features]) -> None:
    write_columns(folder / f"{name}.inter", numbered.numbers())
    for (path, heads), ids in zip(MAPS.items(), (numbered.users, numbered.items), strict=True):
        cells = id_cells(ids.ids, ids.kind)
        write_columns(folder / path, [(heads[0], cells), (heads[1], range(len(cells)))])
    for modality, found in vectors.items():
        matrix = np.array(found.matrix)
        matrix[~found.present] = found.mean
        np.save(folder / MMREC[modality], matrix)
        missed = np.flatnonzero(~found.present)
        (folder / MISSED[modality]).write_text("".join(f"{n}\n" for n in missed), encoding="utf-8")
    quoted = f"{name}.inter".replace("'", "''")
    settings = {
        "USER_ID_FIELD": "userID", "ITEM_ID_FIELD": "itemID", "TIME_FIELD": "timestamp",
        "filter_out_cod_start_users": "True", "inter_file_name": f"'{quoted}'",
        "vision_feature_file": "'image_feat.npy'", "text_feature_file": "'text_feat.npy'",
        "user_graph_dict_file": "'user_graph_dict.npy'", "field_separator": '"\\t"',
    }  # fmt: skip
    _write_yaml(folder / f"{name}.yaml", "src/configs/dataset of MMRec", settings)


def _recbole(folder: Path, name: str, numbered: Numbered, vectors: dict[str, Features]) -> None:
    log = numbered.log
    parts = ["train", "valid", "test"] if "split" in log.column_names else []
    for part in parts or [""]:
        chosen = log.filter(pc.equal(log["split"], part)) if part else log
        path = folder / f"{name}{'.' * bool(part)}{part}.inter"
        write_columns(path, _fields(chosen.drop_columns(["split"] if part else [])))
    write_columns(folder / f"{name}.item", _fields(numbered.catalogue))
    loaded = {"inter": [c for c in log.column_names if c != "split"]}
    loaded["item"] = numbered.catalogue.column_names
    for modality, found in vectors.items():
        suffix, rows = f"{modality}emb", np.flatnonzero(found.present)
        ids = id_cells(numbered.items.externals(rows), "item")
        cells = vector_cells(found.rows(rows))
        columns = [(f"{suffix}_id:token", ids), (f"{suffix}:float_seq", cells)]
        write_columns(folder / f"{name}.{suffix}", columns)
        loaded[suffix] = [f"{suffix}_id", suffix]
    settings: dict[str, Any] = {"load_col": loaded}
    settings |= {"benchmark_filename": parts} if parts else {}
    if vectors:
        settings["additional_feat_suffix"] = [f"{m}emb" for m in vectors]
        settings["alias_of_item_id"] = [f"{m}emb_id" for m in vectors]
    lines = {key: _flow(value) for key, value in settings.items()}
    _write_yaml(folder / f"{name}.yaml", "config_files of RecBole", lines)


def _fields(table: pa.Table) -> list[tuple[str, list[str]]]:
    """The columns of a table with their types, as RecBole calls them."""
    found = []
    for name in table.column_names:
        column = table[name]
        if name in ("user_id", "item_id"):
            found.append((f"{name}:token", id_cells(column, name.removesuffix("_id"))))
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            found.append((f"{name}:token_seq", [cell(text) for text in column.to_pylist()]))
        else:
            found.append((f"{name}:float", number_cells(column.to_pylist())))
    return found


def _flow(value: Any) -> str:
    """A list or a dict of lists as YAML in one line; the names are quoted."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    quoted = [str(name).replace("'", "''") for name in value]
    return "[" + ", ".join(f"'{name}'" for name in quoted) + "]"


def _write_yaml(path: Path, place: str, settings: dict[str, str]) -> None:
    lines = [f"# Goes into {place}.", *(f"{key}: {value}" for key, value in settings.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
