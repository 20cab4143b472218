"""FAISS indexes: faster than exact search where there are many items, and not always complete.

    cache/clip.parquet.image.hnsw.index     next to the store; built again when the store changes

An index only proposes items. Their cosines are computed as in exact search, so scores and the
order of what is found are exact; ``recall`` says how much of an exact list is found.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from safetensors import SafetensorError

from mmx.array_files import load_arrays, save_arrays
from mmx.atomic import replacing
from mmx.cache.store import Store
from mmx.errors import OptionError, TargetError, one_of
from mmx.files import parse_json
from mmx.logs import log_line
from mmx.search.nearest import Nearest, Neighbours
from mmx.search.searcher import Searcher
from mmx.search.vectors import Vectors

KINDS = ("hnsw", "ivf", "ivfpq")
LEAST = 1000  # items; of fewer an exact search takes no time
FEW = 4096  # items that meet a filter, up to which they are searched exactly
SAMPLE, DEPTH = 200, 10  # recall of so many lists of so many items
LINKS, BUILD = 32, 100  # of HNSW: links of an item, candidates while it is built
TRAINED = 64  # vectors for each list of IVF that its centres are learned from
BLOCK = 1 << 16  # vectors added at once


@dataclass(frozen=True)
class Index:
    """A FAISS index over unit vectors, in the rows' order."""

    kind: str
    faiss: Any
    recall: float | None = None  # of the first DEPTH, measured when it was built

    @property
    def first(self) -> int:
        """Lists of IVF, or candidates of HNSW, that a search begins with."""
        return 128 if self.kind == "hnsw" else max(8, self.most // 16)

    @property
    def most(self) -> int:
        """How many there are."""
        return int(self.faiss.ntotal if self.kind == "hnsw" else self.faiss.nlist)

    def search(self, units: np.ndarray, count: int, width: int, chosen: Any) -> np.ndarray:
        """(m, count) places, -1 where it finds fewer."""
        faiss = _faiss()
        if self.kind == "hnsw":
            how = faiss.SearchParametersHNSW(efSearch=max(width, count), sel=chosen)
        else:
            how = faiss.SearchParametersIVF(nprobe=width, sel=chosen)
        places: np.ndarray = self.faiss.search(units, count, params=how)[1]
        return places


class Indexed(Nearest):
    """Searches by an index; what it does not find, it searches more widely, then exactly."""

    exact = False

    def __init__(self, vectors: Vectors, index: Index) -> None:
        super().__init__(vectors)
        self.index = index

    def search(self, queries: np.ndarray, k: int) -> Neighbours:
        """See ``Nearest``; a list may have other items than the nearest, never too few."""
        k = min(k, self.count)
        if self.count <= max(FEW, 2 * k) or not len(queries):
            return super().search(queries, k)
        units = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        count = min(4 * k + 16, self.count)  # those that the index has in another order
        found = np.full((len(queries), count), -1, dtype=np.int64)
        left, width = np.arange(len(queries)), self.index.first
        while len(left):
            width = min(width, self.index.most)
            found[left] = self.index.search(units[left], count, width, self._chosen())
            left = left[(found[left] >= 0).sum(1) < k]
            if width == self.index.most:
                break
            width *= 4
        result = self.ranked(queries, found, k)
        if len(left):
            exact = super().search(queries[left], k)
            result.places[left], result.scores[left] = exact.places, exact.scores
        return result

    def _chosen(self) -> Any:
        if self.rows is None:
            return None
        mask = np.zeros(len(self.vectors), dtype=bool)
        mask[self.rows] = True
        return _faiss().IDSelectorBitmap(np.packbits(mask, bitorder="little"))


def with_index(
    searcher: Searcher,
    kind: str,
    *,
    log: Callable[[str], None] = log_line,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Searcher:
    """The same, searched by an index of a kind: hnsw, ivf or ivfpq.

    It is read from next to the store, or else built, measured and kept there; ``log`` gets a line
    with its recall. Raises OptionError for another kind, too few items or a store elsewhere.
    """
    check_index(searcher.store, kind)
    if len(searcher) < LEAST:
        raise OptionError(
            f"--index {kind}: {len(searcher)} items are searched exactly at once, an index is for "
            f"{LEAST} and more; drop it"
        )
    path = _path(searcher, kind)
    digest = digest_of(searcher.vectors)
    index = _read(path, kind, digest, searcher.vectors)
    if index is None:
        log(f"building the {kind} index of {len(searcher)} {searcher.modality} vectors")
        began = time.monotonic()
        index = _measured(searcher.vectors, Index(kind, _built(searcher.vectors, kind, progress)))
        log(f"built in {time.monotonic() - began:.0f} s; {_kept(path, index, digest)}")
    log(f"{kind} index: finds {index.recall:.3f} of the {DEPTH} nearest on average, of {SAMPLE} "
        "items measured")  # fmt: skip
    indexed = copy(searcher)
    indexed._nearest = Indexed(searcher.vectors, index)
    return indexed


def check_index(store: Store | None, kind: str) -> None:
    """Raise OptionError for another kind of index, or a store next to which none can be kept."""
    one_of("--index", kind, KINDS)
    if store is None or not isinstance(store.path, Path):
        raise OptionError(f"--index {kind} is kept next to a store on this machine; drop it, or "
                          "copy the store here")  # fmt: skip


def _path(searcher: Searcher, kind: str) -> Path:
    assert searcher.store is not None
    place = Path(str(searcher.store.path))
    return place.with_name(f"{place.name}.{searcher.modality}.{kind}.index")


def digest_of(vectors: Vectors) -> str:
    """SHA-256, in hex, of the ids and numbers."""
    digest = hashlib.sha256(np.asarray(pc.binary_length(vectors.ids)).tobytes())
    digest.update("".join(vectors.ids.to_pylist()).encode())
    digest.update(np.ascontiguousarray(vectors.matrix).data)
    return digest.hexdigest()


def _faiss() -> Any:
    """The module, whose stubs do not know all of it; loaded when it is needed."""
    import faiss

    return faiss


def _units(vectors: Vectors, rows: slice | np.ndarray) -> np.ndarray:
    found: np.ndarray = vectors.matrix[rows] * vectors.scale[rows, None]
    return found


def _built(vectors: Vectors, kind: str, progress: Callable[[int, int], None]) -> Any:
    faiss = _faiss()
    d, n = vectors.dimension, len(vectors)
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(d, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = BUILD
    else:
        lists = max(1, min(int(4 * np.sqrt(n)), n // 39))
        index = _lists(faiss.IndexFlatIP(d), d, lists, kind)
        sample = np.random.default_rng(0).permutation(n)[: TRAINED * max(lists, 256)]
        index.train(_units(vectors, np.sort(sample)))
    for start in range(0, n, BLOCK):
        index.add(_units(vectors, slice(start, start + BLOCK)))
        progress(min(start + BLOCK, n), n)
    return index


def _lists(centres: Any, d: int, lists: int, kind: str) -> Any:
    faiss = _faiss()
    if kind == "ivf":
        made = faiss.IndexIVFFlat(centres, d, lists, faiss.METRIC_INNER_PRODUCT)
    else:  # a byte for four numbers, where d can be divided so
        parts = max(m for m in range(1, max(1, d // 4) + 1) if d % m == 0)
        made = faiss.IndexIVFPQ(centres, d, lists, parts, 8, faiss.METRIC_INNER_PRODUCT)
    made.cp.seed = 0
    return made


def _measured(vectors: Vectors, index: Index) -> Index:
    """The same with its recall."""
    rows = np.random.default_rng(0).permutation(len(vectors))[:SAMPLE]
    queries = vectors.matrix[rows]
    exact = Nearest(vectors).search(queries, DEPTH).places
    found = Indexed(vectors, index).search(queries, DEPTH).places
    shared = [len(np.intersect1d(a, b)) for a, b in zip(exact, found, strict=True)]
    return Index(index.kind, index.faiss, float(np.mean(shared)) / DEPTH)


def _kept(path: Path, index: Index, digest: str) -> str:
    """Write it next to the store; what to say of that."""
    facts = {"kind": index.kind, "digest": digest, "recall": index.recall}
    arrays = {
        "index": _faiss().serialize_index(index.faiss),
        "facts": np.frombuffer(json.dumps(facts).encode(), np.uint8),
    }
    try:
        with replacing(path) as temporary:
            save_arrays(arrays, temporary)
    except TargetError:
        return f"not kept, since {path} cannot be written"
    return f"kept at {path}"


def _read(path: Path, kind: str, digest: str, vectors: Vectors) -> Index | None:
    """The index of these vectors; None where there is none, or that of another store."""
    try:
        arrays = load_arrays(path)
        facts = parse_json(arrays["facts"].tobytes())
        if (facts["digest"], facts["kind"]) != (digest, kind):
            return None
        index = _faiss().deserialize_index(arrays["index"])
        if (index.ntotal, index.d) != (len(vectors), vectors.dimension):
            return None
        return Index(kind, index, float(facts["recall"]))
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, RuntimeError):
        return None  # damaged, or of another version of FAISS
