"""The folder of finished parts beside a store that is being written.

    cache/clip.parquet.parts/
      job.json            what is being encoded: encoder card and dtype
      part-000000.parquet finished rows, each file written atomically
      lock                held by the process that extracts

A killed run leaves the folder; the same command finds the finished rows in it and goes on.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmx.cache.card import EncoderCard
from mmx.cache.decoding import decoding
from mmx.cache.files import cannot_write, replacing, sweep, write_text
from mmx.cache.seal import BLANK, SEAL, seal
from mmx.cache.store import read_through, refuse_foreign
from mmx.errors import DamagedError, StoreError


class Parts:
    """The parts folder of one store, locked while this object is open (a context manager)."""

    def __init__(self, store: Path, card: EncoderCard, dtype: str) -> None:
        self.directory = store.with_name(f"{store.name}.parts")
        self.store = store
        self.job = {"card": json.loads(card.to_json()), "dtype": dtype}
        self.card = card
        self._lock: int | None = None

    def __enter__(self) -> Parts:
        """Lock the folder and check that what lies in it is of the same job.

        Raises StoreError when another process extracts into it or it is of another encoder, when
        nothing can be written there, or when a folder that is no store stands at the store's place.
        """
        refuse_foreign(self.store)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._unlock()
            raise StoreError(
                f"another process is writing {self.store}; wait for it or set --out elsewhere"
            ) from error
        except OSError as error:
            self._unlock()
            with suppress(OSError):
                self.directory.rmdir()  # made, but nothing could be put into it
            raise cannot_write(self.directory, error) from error
        try:
            for leftover in self.directory.glob(".*.tmp"):  # of a killed run; we hold the lock
                leftover.unlink()
            sweep(self.store)
            self._check_job()
        except BaseException:
            if not (self.directory / "job.json").exists():  # the disk was full from the beginning
                shutil.rmtree(self.directory, ignore_errors=True)
            self._unlock()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.directory.exists() and not self.files():  # nothing in it worth keeping
            self.remove()
        self._unlock()

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
        """Delete the folder, once everything in it is in the store."""
        try:
            shutil.rmtree(self.directory)
        except OSError as error:
            raise StoreError(
                f"the store is written, but {self.directory} cannot be deleted "
                f"({os.strerror(error.errno or 0)}); delete it"
            ) from error

    def _check_job(self) -> None:
        path = self.directory / "job.json"
        if not path.exists():
            write_text(path, json.dumps(self.job, sort_keys=True))
            return
        with decoding(path):
            there = json.loads(path.read_text(encoding="utf-8"))
            card, dtype = EncoderCard.from_json(json.dumps(there["card"])), there["dtype"]
        differing = card.differences(self.card)
        differing += ["dtype"] if dtype != self.job["dtype"] else []
        if differing:
            raise StoreError(
                f"{self.directory} holds an unfinished extraction that differs in "
                f"{', '.join(differing)}; finish it, set --out elsewhere, or --overwrite"
            )

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def discard(store: Path) -> None:
    """Remove a store and its parts, for --overwrite; refuses while another process writes.

    The finished store stays until the new one replaces it: only the parts go.
    """
    directory = store.with_name(f"{store.name}.parts")
    if not directory.exists():
        return
    lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory)
    except BlockingIOError as error:
        raise StoreError(f"another process is writing {store}; wait for it") from error
    finally:
        os.close(lock)


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
