"""A store in the files that other tools read.

    npy          image.npy, text.npy, NAME.npy … and ids.parquet, row for row
    safetensors  vectors.safetensors with the tensors image, text … and ids.parquet
    mmrec        image_feat.npy and text_feat.npy by itemID, i_id_mapping.csv (asin ⇥ itemID),
                 missed_img_itemIDs.csv and missed_text_itemIDs.csv; ids.parquet
    embeddings   img_emb/img_emb_0.npy, text_emb/text_emb_0.npy, NAME_emb/NAME_emb_0.npy …,
                 metadata/metadata_0.parquet …, as clip-retrieval writes and embedding-reader
                 reads them

A row without a vector is NaN there; MMRec, which trains on all rows of its files, gets the mean
of the other rows, as its own preprocessing does, and a list of the items without a vector.
A card.json has the encoder card and the SHA-256 of each file, so that ``adopt`` makes the same
store again, or notices that a file has changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmx.atomic import Kind, check_target, file_sha256, publishing
from mmx.cache.card import EncoderCard
from mmx.cache.matrices import create_npy, create_safetensors
from mmx.cache.merge import RowSource
from mmx.cache.modality import names_fault
from mmx.cache.schema import store_schema
from mmx.cache.store import Store, open_store
from mmx.errors import StoreError, one_of
from mmx.files import as_path, parse_json

LAYOUTS = ("npy", "safetensors", "mmrec", "embeddings")
MMREC = {"image": "image_feat.npy", "text": "text_feat.npy"}
MISSED = {"image": "missed_img_itemIDs.csv", "text": "missed_text_itemIDs.csv"}
SHORT = {"image": "img"}  # in the layout embeddings, where others are called as they are
FILE_ROWS = 1_000_000  # of one file of embeddings
AT_ONCE = 4096  # rows in memory


@dataclass(frozen=True)
class Exported:
    """What was written."""

    out: Path
    rows: int
    missing: dict[str, int]  # modality → rows without a vector
    left_out: list[str]  # modalities that the layout cannot hold


def export(
    path: Path | str,
    layout: str,
    out: Path | str,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Write the store at ``path`` as the folder ``out``, atomically.

    Raises TargetError when ``out`` exists (unless ``overwrite``, and it is such a folder), and
    StoreError when the layout can hold none of the store's modalities, or one has a name
    that cannot be a file name (see ``name_fault``).
    """
    check_layout("--to", layout)
    path, out = as_path(path), as_path(out)
    check_target(out, EXPORT, overwrite)
    store = open_store(path)
    chosen = [m for m in store.card.modalities if _has_place(layout, m)]
    if not chosen:
        takes = "MMRec takes image, text" if layout == "mmrec" else "use another layout"
        raise StoreError(f"{path} holds {', '.join(store.card.modalities)}; {takes}")
    fault = names_fault(chosen)
    if fault:
        raise StoreError(f"{path}: {fault}; make the store again under another name")
    dimensions = {m: store.card.dimensions[m] for m in chosen}
    job = _Export(store, layout, replace(store.card, dimensions=dimensions))
    with publishing(out, EXPORT, overwrite=overwrite, folder=True) as folder:
        missing = job.write(folder, progress)
        written = sorted(path for path in folder.rglob("*") if path.is_file())
        files = {str(path.relative_to(folder)): file_sha256(path) for path in written}
        text = json.dumps(job.facts(files), indent=2)
        (folder / "card.json").write_text(text, encoding="utf-8")
    left_out = [m for m in store.card.modalities if m not in chosen]
    return Exported(out, store.rows, missing, left_out)


def check_layout(option: str, layout: str) -> None:
    """Raise OptionError unless the layout that an option names is known."""
    one_of(option, layout, LAYOUTS)


def _has_place(layout: str, modality: str) -> bool:
    """Whether the layout can hold it: what it calls img is the image."""
    if layout == "mmrec":
        return modality in MMREC
    return layout != "embeddings" or modality not in SHORT.values()


def embeddings_folder(modality: str) -> str:
    """The folder of a modality's vectors in the layout embeddings."""
    return f"{SHORT.get(modality, modality)}_emb"


@dataclass
class _Export:
    store: Store
    layout: str
    card: EncoderCard  # of what is written: MMRec takes image and text only

    def write(self, folder: Path, progress: Callable[[int, int], None]) -> dict[str, int]:
        """Write all rows, file by file; how many lack a vector, by modality."""
        source = RowSource(self.store.files, store_schema(self.card, self.store.dtype))
        modalities, rows = self.card.modalities, self.store.rows
        means = _means(self.store, modalities) if self.layout == "mmrec" else {}
        size = FILE_ROWS if self.layout == "embeddings" else max(rows, 1)
        missed: dict[str, list[np.ndarray]] = {m: [] for m in modalities}
        for start in range(0, max(rows, 1), size):  # files without rows are files, too
            stop = min(start + size, rows)
            with ExitStack() as stack:
                sink = _Sink(self, folder, start // size, -(-rows // size), stop - start, stack)
                for at in range(start, stop, AT_ONCE):
                    table = source.take(np.arange(at, min(at + AT_ONCE, stop)))
                    for m in modalities:
                        vectors, present = matrix(table[m], means.get(m))
                        sink.matrices[m].write(vectors.data)
                        missed[m].append(at + np.flatnonzero(~present))
                    sink.rows(at, table.drop_columns(list(modalities)))
                    progress(at + table.num_rows, rows)
        gone = {m: np.concatenate([*lists, np.zeros(0, int)]) for m, lists in missed.items()}
        for m, numbers in gone.items():
            if self.layout == "mmrec":
                (folder / MISSED[m]).write_text("".join(f"{n}\n" for n in numbers))
        return {m: len(numbers) for m, numbers in gone.items()}

    def facts(self, files: dict[str, str]) -> dict[str, Any]:
        """What card.json says."""
        return {
            "layout": self.layout,
            "card": asdict(self.card),
            "dtype": self.store.dtype,
            "versions": self.store.versions,
            "items": self.store.items_fingerprint,
            "files": files,
        }


class _Sink:
    """The open files of one number: one for each modality, and one for everything else."""

    matrices: dict[str, BinaryIO]

    def __init__(
        self, job: _Export, folder: Path, number: int, count: int, rows: int, stack: ExitStack
    ) -> None:
        dtype, dimensions = job.store.dtype, job.card.dimensions
        digits = str(number).zfill(len(str(count)))  # embedding-reader sorts by letters
        if job.layout == "safetensors":
            path = folder / "vectors.safetensors"
            self.matrices = create_safetensors(path, dtype, rows, dimensions)
        else:
            self.matrices = {
                m: create_npy(_npy(folder, job.layout, m, digits), dtype, rows, d)
                for m, d in dimensions.items()
            }
        for opened in self.matrices.values():
            stack.enter_context(opened)
        self.map = _id_map(folder, stack) if job.layout == "mmrec" else None
        schema = pa.schema([f for f in store_schema(job.card, dtype) if f.name not in dimensions])
        path = _table(folder, job.layout, digits)
        self.table = stack.enter_context(
            pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)
        )

    def rows(self, start: int, table: pa.Table) -> None:
        """Write everything but the vectors, of the rows from ``start``."""
        self.table.write_table(table)
        if self.map is not None:
            self.map(
                zip(table["item_id"].to_pylist(), range(start, start + len(table)), strict=True)
            )


def matrix(
    column: pa.ChunkedArray, fill: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(n, d) vectors, and (n,) bool where there is one; elsewhere (d,) ``fill``, or NaN."""
    present = column.is_valid().to_numpy().astype(bool)
    values = column.combine_chunks().drop_null().flatten().to_numpy(zero_copy_only=False)
    vectors = np.full((len(column), column.type.list_size), np.nan, dtype=values.dtype)
    vectors[present] = values.reshape(-1, column.type.list_size)
    if fill is not None:
        vectors[~present] = fill
    return vectors, present


def _npy(folder: Path, layout: str, modality: str, digits: str) -> Path:
    if layout == "npy":
        return folder / f"{modality}.npy"
    if layout == "mmrec":
        return folder / MMREC[modality]
    name = embeddings_folder(modality)
    (folder / name).mkdir(exist_ok=True)
    return folder / name / f"{name}_{digits}.npy"


def _table(folder: Path, layout: str, digits: str) -> Path:
    if layout != "embeddings":
        return folder / "ids.parquet"
    (folder / "metadata").mkdir(exist_ok=True)
    return folder / "metadata" / f"metadata_{digits}.parquet"


def _id_map(folder: Path, stack: ExitStack) -> Callable[[Iterable[tuple[str, int]]], None]:
    """A function that writes rows of MMRec's item map."""
    file = stack.enter_context(
        (folder / "i_id_mapping.csv").open("w", newline="", encoding="utf-8")
    )
    file.write("asin\titemID\n")
    return lambda rows: file.writelines(f"{_cell(name)}\t{number}\n" for name, number in rows)


def _cell(text: str) -> str:
    """An id as a cell; in quotes, too, for a bare \\r, which ends a row and csv leaves as it is."""
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if re.search('[\t"\r\n]', text) else text


def _means(store: Store, modalities: tuple[str, ...]) -> dict[str, np.ndarray]:
    """(d,) mean of each modality's vectors, summed in float64."""
    sums = {m: np.zeros(store.card.dimensions[m]) for m in modalities}
    counts = dict.fromkeys(modalities, 0)
    for batch in store.batches(AT_ONCE):
        for m in modalities:
            vectors, present = matrix(pa.chunked_array([batch[m]]))
            sums[m] += vectors[present].sum(axis=0, dtype=np.float64)
            counts[m] += int(present.sum())
    return {m: sums[m] / max(counts[m], 1) for m in modalities}


def _is_export(out: Path) -> bool:
    """Whether a folder holds only what an export wrote."""
    try:
        written = parse_json((out / "card.json").read_bytes())["files"]
        there = {str(p.relative_to(out)) for p in out.rglob("*") if not p.is_dir()}
        return there <= {*written, "card.json"}
    except (OSError, ValueError, KeyError, TypeError):
        return False


EXPORT = Kind("a folder that mmx exported", _is_export)
