"""A store made of vectors that other tools wrote; the layouts are those of ``export``.

Little is known about such vectors, and the encoder card says so: the name that the caller
gives, and "unknown" for the rest. A folder that ``export`` wrote has its own card.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.atomic import file_sha256
from mmx.cache.card import EncoderCard
from mmx.cache.export import check_layout
from mmx.cache.layouts import READERS, VectorFiles
from mmx.cache.merge import ROW_GROUP, write_store
from mmx.cache.schema import MISSING, OK, metadata, store_schema
from mmx.cache.tools import Target
from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.data.vocabulary import repeated
from mmx.errors import OptionError, StoreError, first_few
from mmx.files import as_path, parse_json

AT_ONCE = 8 * ROW_GROUP  # rows in memory
NORM_1 = 2e-3  # what float16 may lack of norm 1


@dataclass(frozen=True)
class Adoption:
    """How to read a folder of another tool."""

    layout: str
    encoder: str | None = None  # what made the vectors, where the folder does not say
    id_column: str | None = None  # of the table of ids; None: item_id, MMRec's asin
    zero_missing: bool = False  # a row of zeros means that there is no vector
    csv: CsvFormat = PLAIN  # of a table of ids

    def __post_init__(self) -> None:
        for option, value in (("--encoder", self.encoder), ("--ids", self.id_column)):
            if value is not None and not value.strip():
                raise OptionError(f"{option} is empty; give a name, or leave it out")


def adopt(
    folder: Path | str,
    how: Adoption,
    target: Target,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[int, dict[str, int]]:
    """Write the vectors in ``folder`` as a store: its rows, and how many each modality lacks.

    A row is missing when it is NaN, when the folder lists it as missing, or, with
    ``zero_missing``, when it is zero. Raises StoreError on files that do not belong together,
    on repeated ids and on numbers that are not finite.
    """
    check_layout("--from", how.layout)
    folder = as_path(folder)
    with target.claimed() as claim:
        if not folder.is_dir():
            raise StoreError(f"no folder {folder}; --from takes the folder that holds the files")
        job = _Adopt(folder, how, READERS[how.layout](folder, how.id_column, how.csv))
        job.check()
        facts, counts = job.facts(), dict.fromkeys(job.dimensions, 0)
        schema = store_schema(EncoderCard.from_json(facts["mmx.card"]), facts["mmx.dtype"])

        def tables() -> Iterator[pa.Table]:
            for rows, vectors in job.blocks():
                for m, (_, present) in vectors.items():
                    counts[m] += int((~present).sum())
                yield _as_table(rows, vectors, schema)

        total = sum(part.rows.num_rows for part in job.parts)
        write_store(
            claim, tables(), total, schema.with_metadata(facts),
            max_file_rows=target.max_file_rows, progress=lambda done: progress(done, total),
        )  # fmt: skip
        return total, counts


class _Adopt:
    def __init__(self, folder: Path, how: Adoption, parts: list[VectorFiles]) -> None:
        self.folder, self.how, self.parts = folder, how, parts
        self.dimensions = {m: x.dimension for m, x in parts[0].matrices.items()}

    def check(self) -> None:
        """Raise StoreError unless the files belong together."""
        if not self.dimensions:
            raise StoreError(f"{self.folder} holds no vectors in the layout {self.how.layout}")
        for part in self.parts:
            for m, found in part.matrices.items():
                if found.rows != part.rows.num_rows:
                    raise StoreError(
                        f"{found.path} has {found.rows} rows for {part.rows.num_rows} ids; "
                        "both must be of the same items"
                    )
                if found.dimension != self.dimensions[m]:
                    raise StoreError(
                        f"{found.path} has {found.dimension} columns, others have "
                        f"{self.dimensions[m]}; they must be of one encoder"
                    )
        twice = repeated(
            pa.chunked_array([c for p in self.parts for c in p.rows["item_id"].chunks])
        )
        if twice:
            raise StoreError(
                f"{self.folder}: {len(twice)} ids occur more than once ({first_few(twice)}); keep "
                "one row of each, or name the column with --ids"
            )

    def blocks(self) -> Iterator[tuple[pa.Table, dict[str, tuple[np.ndarray, np.ndarray]]]]:
        """Some rows, and of each modality (n, d) vectors and (n,) bool where there is one."""
        for part in self.parts:
            for start in range(0, part.rows.num_rows, AT_ONCE):
                rows = part.rows.slice(start, AT_ONCE)
                yield rows, {m: self._read(part, m, start, len(rows)) for m in self.dimensions}

    def _read(
        self, part: VectorFiles, m: str, start: int, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        vectors = part.matrices[m].read(start, count)
        missed = part.missing.get(m, np.zeros(0, dtype=np.int64)) - start
        present = ~np.isnan(vectors).all(axis=1)
        present[missed[(missed >= 0) & (missed < count)]] = False
        if self.how.zero_missing:
            present &= (vectors != 0).any(axis=1)
        bad = np.flatnonzero(present & ~np.isfinite(vectors).all(axis=1))
        if len(bad):
            raise StoreError(
                f"{part.matrices[m].path}: row {start + bad[0]} has numbers that are not finite; "
                "fix it, or make the whole row NaN where there is no vector"
            )
        return vectors, present

    def facts(self) -> dict[str, str]:
        """The store's metadata: from card.json where there is one, else what is known."""
        found = [m.numbers for part in self.parts for m in part.matrices.values()]
        dtype = "float16" if set(found) == {"float16"} else "float32"
        path = self.folder / "card.json"
        if not path.exists():
            if not self.how.encoder:
                raise OptionError("--encoder NAME says what made the vectors; the files do not")
            return metadata(self._unknown_card(self.how.encoder), dtype, "") | {
                "mmx.versions": "{}"
            }
        if self.how.encoder:
            raise OptionError(f"{path} says what made the vectors; drop --encoder")
        try:
            written = parse_json(path.read_bytes())
            changed = [
                n for n, seen in written["files"].items() if seen != file_sha256(self.folder / n)
            ]
            card = EncoderCard.from_json(json.dumps(written["card"]))
            facts = metadata(card, dtype, written["items"])
            facts["mmx.versions"] = json.dumps(written["versions"], sort_keys=True)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{path} is unreadable ({error}); delete it and give --encoder"
            ) from error
        self._refuse_others(card, path)
        if changed:  # other numbers mean another encoder
            raise StoreError(
                f"{changed[0]} differs from its SHA-256 in {path}; delete card.json and give "
                "--encoder"
            )
        return facts

    def _refuse_others(self, card: EncoderCard, path: Path) -> None:
        """Raise StoreError unless the folder holds vectors of what its card names."""
        there, said = sorted(self.dimensions), sorted(card.dimensions)
        if there != said:
            raise StoreError(
                f"{self.folder} holds {', '.join(there)}, but {path} names {', '.join(said)}; move "
                "the others elsewhere, or delete card.json and give --encoder"
            )

    def _unknown_card(self, name: str) -> EncoderCard:
        """A card of vectors of which only the encoder's name is known, and what can be seen."""
        normalised = dict.fromkeys(self.dimensions, True)
        for _, vectors in self.blocks():
            for m, (matrix, present) in vectors.items():
                norms = np.linalg.norm(matrix[present].astype(np.float64), axis=1)
                normalised[m] &= bool((np.abs(norms - 1) < NORM_1).all())
        return EncoderCard(
            name=name,
            library="unknown",
            architecture=name,  # so that vectors of two names are never mixed
            weights="unknown",
            dimensions=self.dimensions,
            normalised=all(normalised.values()),
            precision="unknown",
            output="unknown",
            extra={"adopted": "vectors of another tool; only the name is known"},
        )


def _as_table(
    rows: pa.Table, vectors: dict[str, tuple[np.ndarray, np.ndarray]], schema: pa.Schema
) -> pa.Table:
    """A store's rows; what is not known is null, a status "unknown"."""
    columns: dict[str, Any] = {
        name: rows[name]
        if name in rows.column_names
        else pa.nulls(len(rows), schema.field(name).type)
        for name in schema.names
        if name not in vectors
    }
    for name in schema.names:
        if name.endswith("_status"):
            columns[name] = _statuses(columns[name], vectors.get(name.removesuffix("_status")))
    for m, (matrix, present) in vectors.items():
        kind = schema.field(m).type
        values = pa.array(matrix.astype(kind.value_type.to_pandas_dtype(), copy=False).reshape(-1))
        columns[m] = pa.FixedSizeListArray.from_arrays(values, type=kind, mask=pa.array(~present))
    return pa.table([columns[name] for name in schema.names], names=schema.names).cast(schema)


def _statuses(known: pa.Array, vectors: tuple[np.ndarray, np.ndarray] | None) -> pa.Array:
    """The statuses that follow from the vectors, and the known ones where there are none."""
    if vectors is None:
        return pc.fill_null(known, "unknown")
    present = pa.array(vectors[1])
    reason = pc.if_else(pc.equal(known, OK), MISSING, known)
    return pc.if_else(present, OK, pc.fill_null(reason, MISSING))
