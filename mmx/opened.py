"""``mmx.open_store``: a store as other libraries see it, and searched.

Nothing is read before a method is called, and what a method returns shares the memory of the
Arrow table that Parquet gives, where the format allows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mmx.cache import store as stores
from mmx.cache.arrays import matrix_of, table_of
from mmx.cache.attach import attach
from mmx.cache.store import Store
from mmx.errors import OptionError, StoreError, one_of
from mmx.extract.asking import QueryEncoder, comparable, open_for_query
from mmx.files import Place
from mmx.kinds import must_be, texts
from mmx.search.searcher import Ids, Searcher, default_modality, open_searcher

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl
    import torch


@dataclass(frozen=True)
class OpenStore(Store):
    """A store, with its vectors in the form that other libraries take.

    Rows are in the order of ``ids``. Use it in a ``with`` block or without one: between two calls
    no file is open.
    """

    @property
    def model(self) -> str:
        """The encoder, as ``mmx extract --model`` takes it."""
        return self.card.name

    @property
    def modalities(self) -> tuple[str, ...]:
        """The columns of vectors, in their order."""
        return self.card.modalities

    @property
    def dimensions(self) -> dict[str, int]:
        """Modality → numbers of a vector."""
        return dict(self.card.dimensions)

    @property
    def ids(self) -> pa.ChunkedArray:
        """(rows,) item ids, as text."""
        return table_of(self, ["item_id"])["item_id"].cast(pa.string())

    def arrow(self, columns: Sequence[str] | str | None = None) -> pa.Table:
        """All rows, with these columns or all.

        Raises StoreError for a column that is not there, and DamagedError.
        """
        return table_of(self, None if columns is None else texts("columns", columns))

    def numpy(self, modality: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of all rows: (rows, d) in the store's dtype, and (rows,) bool.

        The second says which rows have a vector; the others are zero. ``modality`` may be left out
        where there is only one. A store of one row group is not copied, one of several is, once.
        Raises StoreError and DamagedError.
        """
        return matrix_of(self, self._modality(modality))

    def torch(self, modality: str | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The same as tensors on the CPU, in the same memory as ``numpy`` has them."""
        import torch

        matrix, present = self.numpy(modality)
        flat = pa.array(matrix.reshape(-1))  # shares it, and torch warns of no read-only memory
        return torch.from_dlpack(flat).view(matrix.shape), torch.from_numpy(present)

    def relation(
        self, connection: duckdb.DuckDBPyConnection | None = None
    ) -> duckdb.DuckDBPyRelation:
        """All rows as a relation of DuckDB, read from the file when it is asked.

        Vectors are FLOAT[d] arrays. Without ``connection`` it is a new one in memory.
        """
        import duckdb

        connection = duckdb.connect() if connection is None else connection
        must_be("connection", connection, duckdb.DuckDBPyConnection)
        attach(connection, self.files)
        return connection.sql(self.sql())

    def pandas(self, columns: Sequence[str] | str | None = None) -> pd.DataFrame:
        """As ``arrow``; each vector is a NumPy array that shares the table's memory, or None."""
        _need("pandas")
        return self.arrow(columns).to_pandas()

    def polars(self, columns: Sequence[str] | str | None = None) -> pl.DataFrame:
        """As ``arrow``; vectors are of the type Array, in the table's memory."""
        _need("polars")
        import polars as pl

        found = pl.from_arrow(self.arrow(columns), rechunk=False)
        assert isinstance(found, pl.DataFrame)
        return found

    def search(
        self,
        query: str | Path | np.ndarray,
        k: int = 20,
        *,
        modality: str | None = None,
        among: Ids | None = None,
        **encoder: Any,
    ) -> pa.Table:
        """The k items nearest to words (a str), a picture (its Path) or a vector (d,).

        Columns item_id, rank, score (a cosine). ``modality`` is what the query is compared with,
        ``among`` restricts the items by their ids. ``encoder`` are options of opening the store's
        encoder again: ``model``, ``weights``, ``device``, and ``fetch``, without which nothing is
        downloaded. Vectors and encoder stay in memory. Raises OptionError, EncoderError where the
        encoder cannot be opened, DataError where the picture cannot be read.
        """
        must_be("query", query, str | Path | np.ndarray)
        if isinstance(query, np.ndarray):
            return self.searcher(modality).search(query, k, among=among)
        asked = "text" if isinstance(query, str) else "image"
        known = comparable(self.card, asked)
        chosen = known[0] if modality is None else modality
        one_of("modality", chosen, known)
        opened = self._encoder(asked, encoder)
        vector = opened.text(query) if isinstance(query, str) else opened.image(query)
        return self.searcher(chosen).search(vector, k, among=among)

    def similar(
        self,
        items: str | Ids,
        k: int = 20,
        *,
        modality: str | None = None,
        among: Ids | None = None,
    ) -> pa.Table:
        """The k items nearest to each of some items: item_id, similar_id, rank, score.

        Raises UnknownIdError for an item that the store does not have, StoreError for one without
        a usable vector.
        """
        return self.searcher(modality).similar(items, k, among=among)

    def searcher(self, modality: str | None = None) -> Searcher:
        """The vectors of a modality, by default image, else the first; read once and kept."""
        chosen = default_modality(self) if modality is None else modality
        if chosen not in self._searchers:
            self._searchers[chosen] = open_searcher(self, chosen)
        return self._searchers[chosen]

    @cached_property
    def _searchers(self) -> dict[str, Searcher]:
        return {}

    @cached_property
    def _encoders(self) -> dict[str, QueryEncoder]:
        return {}

    def _encoder(self, asked: str, options: dict[str, Any]) -> QueryEncoder:
        key = repr((asked, sorted(options.items())))
        if key not in self._encoders:
            self._encoders[key] = open_for_query(self, asked, **options)
        return self._encoders[key]

    def _modality(self, modality: str | None) -> str:
        have = ", ".join(self.modalities)
        if modality is None:
            if len(self.modalities) > 1:
                raise OptionError(f"modality is not given, and {self.path} has {have}")
            return self.modalities[0]
        must_be("modality", modality, str)
        if modality not in self.modalities:
            raise StoreError(f"{self.path} has no {modality} vectors; it has {have}")
        return modality

    def __enter__(self) -> OpenStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None


def open_store(path: Place | str) -> OpenStore:
    """Open a store by its path or URL.

    Raises StoreError when it is absent, unreadable or not one of ours, and DamagedError when its
    footer is not what was written.
    """
    store = stores.open_store(path)
    return OpenStore(**{field.name: getattr(store, field.name) for field in fields(store)})


def _need(package: str) -> None:
    """Raises OptionError where a library is missing that mmx itself does not need."""
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise OptionError(f"{package} is not installed; pip install {package}")
