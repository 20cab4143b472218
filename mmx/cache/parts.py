"""The folder of finished parts next to a store that is being written.

    cache/clip.parquet.parts/
      job.json            what is being encoded: encoder card, dtype, and "anew": --overwrite
      part-000000.parquet finished rows, each file written atomically

A killed run leaves the folder; the same command finds the finished rows in it and continues.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmx.atomic import replacing, write_text
from mmx.cache.card import EncoderCard
from mmx.cache.schema import DTYPES
from mmx.cache.seal import BLANK, SEAL, seal
from mmx.cache.store import read_through
from mmx.errors import DamagedError, StoreError, cannot_write
from mmx.files import parse_json

OWN = re.compile(r"job\.json|settings\.json|part-\d+\.parquet|\..*\.tmp|lock")  # lock: of old ones


class Parts:
    """The parts folder of one store, for the process that holds the store (a context manager)."""

    def __init__(
        self, store: Path, card: EncoderCard, dtype: str, *, from_scratch: bool = False
    ) -> None:
        """``from_scratch`` (--overwrite): nothing of the existing store is reused."""
        self.store, self.directory = store, folder_of(store)
        self.job = {"card": json.loads(card.to_json()), "dtype": dtype, "anew": from_scratch}
        self.card = card

    def __enter__(self) -> Parts:
        """Check that what is in the folder is of the same job.

        With ``from_scratch`` parts of any other job are deleted. Raises StoreError when the
        unfinished job is another one, and TargetError when nothing can be written there.
        """
        self._refuse_foreign()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for leftover in self.directory.glob(".*.tmp"):  # of a killed run
                leftover.unlink()
            self._check_job()
        except BaseException as error:
            begun = (self.directory / "job.json").exists() or self.files()
            if not begun:  # the disk was full from the beginning
                shutil.rmtree(self.directory, ignore_errors=True)
            if isinstance(error, OSError):
                raise cannot_write(self.directory, error) from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.directory.exists() and not self.files():  # nothing in it worth keeping
            self.remove()

    def files(self) -> list[Path]:
        """Finished parts in the order they were written."""
        return sorted(self.directory.glob("part-*.parquet"))

    def write(self, number: int, rows: pa.Table) -> None:
        """Write part ``number`` atomically, replacing one of that number."""
        path = self.directory / f"part-{number:06d}.parquet"
        with replacing(path) as temporary:
            write_vectors(rows, temporary)

    def drop_damaged(self) -> int:
        """Delete finished parts that are damaged, whose items are then encoded again; how many."""
        damaged = 0
        for path in self.files():
            try:
                read_through(path)
            except DamagedError:
                path.unlink()
                damaged += 1
        return damaged

    def next_number(self) -> int:
        """The first number that no finished part has."""
        files = self.files()
        return int(files[-1].stem.removeprefix("part-")) + 1 if files else 0

    def remove(self) -> None:
        """Delete the folder, once everything in it is in the store.

        Under another name, so that a kill leaves no part without the job that it belongs to.
        """
        gone = self.directory.with_name(f".{self.directory.name}.{os.getpid()}.tmp")
        try:
            self.directory.rename(gone)
            shutil.rmtree(gone)
        except OSError as error:
            raise StoreError(
                f"the store is written, but {self.directory} cannot be deleted "
                f"({os.strerror(error.errno or 0)}); delete it"
            ) from error

    def _refuse_foreign(self) -> None:
        """Raise StoreError where there are other files, which must not be deleted as parts."""
        there = self.directory.iterdir() if self.directory.is_dir() else ()
        foreign = [path.name for path in there if not OWN.fullmatch(path.name)]
        if foreign:
            raise StoreError(
                f"{self.directory} holds {foreign[0]}, which is not part of an extraction; move it "
                "away, or set --out elsewhere"
            )

    def _check_job(self) -> None:
        path = self.directory / "job.json"
        there = {} if self.files() and not path.exists() else read_job(path)
        differing = self._differing(there) if there else []
        if there is not None and self.job["anew"] and (differing or not there.get("anew")):
            self.remove()
            self.directory.mkdir()
            there = None
        if there is None:
            write_text(path, json.dumps(self.job, sort_keys=True))
        elif not there:
            raise DamagedError(
                f"{path} is damaged or lost; delete the folder {self.directory}, or --overwrite"
            )
        elif differing:
            hint = EncoderCard.from_json(json.dumps(there["card"])).code_hint(self.card)
            raise StoreError(
                f"{self.directory} holds an unfinished extraction that differs in "
                f"{', '.join(differing)}; {hint}finish it, set --out elsewhere, or --overwrite"
            )
        elif there.get("anew") and not self.job["anew"] and self.store.exists():
            raise StoreError(
                f"{self.directory} holds an unfinished extraction with --overwrite; finish it by "
                "the same command, or delete that folder"
            )

    def _differing(self, there: dict[str, Any]) -> list[str]:
        """The fields in which an unfinished job differs from this one."""
        differing = EncoderCard.from_json(json.dumps(there["card"])).differences(self.card)
        return differing + (["dtype"] if there["dtype"] != self.job["dtype"] else [])


def folder_of(store: Path) -> Path:
    """Where the parts of a store are until it is finished."""
    return store.with_name(f"{store.name}.parts")


def read_job(path: Path) -> dict[str, Any] | None:
    """What an unfinished job is; None where there is none, and {} for a damaged one."""
    if not path.exists():
        return None
    try:
        job = parse_json(path.read_bytes())
        EncoderCard.from_json(json.dumps(job["card"]))
        sound = job["dtype"] in DTYPES and isinstance(job.get("anew", False), bool)
        return dict(job) if sound else {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StoreError):
        return {}


def write_vectors(table: pa.Table, path: Path) -> None:
    """Write rows as one Parquet file; see ``vector_writer``."""
    with vector_writer(path, table.schema) as writer:
        writer.write_table(table)


@contextmanager
def vector_writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A Parquet writer that every reader understands: plain pages, vectors uncompressed.

    Vectors are noise to a compressor, and byte-stream-split float16 cannot be read by DuckDB.
    Pages get checksums, the footer a seal (mmx.cache.seal), which readers may ignore.
    """
    vectors = [f.name for f in schema if pa.types.is_fixed_size_list(f.type)]
    compression = {_leaf(f.name, vectors): "none" if f.name in vectors else "zstd" for f in schema}
    plain = [name for name in schema.names if name.endswith("_status")]
    with pq.ParquetWriter(
        path, schema, compression=compression, use_dictionary=plain, write_statistics=["item_id"],
        write_page_checksum=True,
    ) as writer:  # fmt: skip
        yield writer
        writer.add_key_value_metadata({SEAL: BLANK})
    seal(path)


def _leaf(name: str, vectors: list[str]) -> str:
    return f"{name}.list.element" if name in vectors else name
