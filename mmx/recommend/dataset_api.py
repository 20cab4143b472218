"""Datasets in the files of others, from Python and for the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mmx.cache.mmrec_features import store_of
from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.data.formats import importing
from mmx.data.formats.importing import Imported
from mmx.data.formats.options import ImportOptions
from mmx.data.splits import SplitRule
from mmx.errors import OptionError
from mmx.extract.downloading import keep_pictures_of
from mmx.files import Place, as_path, as_paths
from mmx.kinds import must_be
from mmx.logs import log_line
from mmx.recommend.exporting import ExportReport, export_dataset
from mmx.recommend.job import FeatureSources, as_specs


def import_dataset(
    format: str,
    sources: Path | str | Sequence[Path | str],
    out: Path | str,
    options: ImportOptions | None = None,
    *,
    encoder: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    log: Callable[[str], None] = log_line,
) -> Imported:
    """Read files of another ``format`` into a dataset directory, as ``mmx import`` does.

    ``format`` is amazon, csv, microlens, mmrec, movielens or recbole, ``sources`` files or
    folders. Of mmrec the vectors become a store in ``out``; ``encoder`` is what they are of.
    ``progress`` gets the bytes read and their total. Raises DataError for what cannot be read,
    with file and line, OptionError, and TargetError where ``out`` must not be touched.
    """
    must_be("overwrite", overwrite, bool)
    must_be("options", options, ImportOptions | None)
    places = as_paths(sources)  # type: ignore[arg-type]
    if encoder is not None and format != "mmrec":
        raise OptionError("--encoder goes with mmrec, whose features have no name; leave it out")
    if format == "mmrec" and places:
        beside = store_of(places[0], encoder)
    else:
        beside = keep_pictures_of(as_path(out))
    return importing.import_dataset(
        format, places, out, options, overwrite=overwrite, progress=progress, log=log, beside=beside
    )


def export(
    data: Place | str,
    to: str,
    out: Path | str,
    features: FeatureSources = (),
    *,
    split: SplitRule | None = None,
    unknown_items: str = "error",
    csv: CsvFormat = PLAIN,
    overwrite: bool = False,
    log: Callable[[str], None] = log_line,
) -> ExportReport:
    """Write a dataset, and vectors of its items, for MMRec or RecBole, as ``mmx export`` does.

    ``to`` is "mmrec" or "recbole". ``split`` filters and splits the log; without it MMRec gets
    the split of ``mmx train``, RecBole the dataset's own where it has one. Raises an MmxError of
    the kind that fits.
    """
    must_be("overwrite", overwrite, bool)
    must_be("split", split, SplitRule | None)
    return export_dataset(
        data, to, out, as_specs(features), rule=split, unknown=unknown_items, csv=csv,
        overwrite=overwrite, log=log,
    )  # fmt: skip
