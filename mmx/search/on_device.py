"""The largest products of many queries on a GPU, in blocks of bounded size.

They are proposals: who uses them computes the scores in question again on the CPU. That holds for
products in float32, so a GPU's TF32 is off for them, whatever the program has set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mmx.errors import out_of_memory
from mmx.logs import log_line
from mmx.mapped import gather, release

if TYPE_CHECKING:
    import torch

    Matrix = np.ndarray | torch.Tensor  # float32, a tensor on the device

T = TypeVar("T")
BLOCK_BYTES = 256 << 20  # of products on the device at once
WIDTH = 1 << 18  # rows of one matrix product, at most
SENT = 1 << 22  # numbers copied to the device at once
NOTHING = np.zeros(0, np.int64)


class DeviceRows:
    """Rows of a matrix on a device, which has them, and at most a constant besides."""

    def __init__(
        self,
        matrix: Matrix,
        device: str,
        *,
        which: np.ndarray | None = None,
        scale: np.ndarray | None = None,
    ) -> None:
        """Copies (m, d) float32 rows there, or those (n,) of them that ``which`` names.

        A matrix that is there already is not copied, but what ``which`` names is. Every product
        with a row is multiplied by its ``scale`` (m,). Raises torch's own error where the device's
        memory is too small.
        """
        self.rows = _sent(matrix, which, device)  # (n, d)
        self.scale = None if scale is None else _sent(scale[:, None], which, device)[:, 0]

    def __len__(self) -> int:
        return len(self.rows)

    def best(
        self,
        queries: Matrix,
        count: int,
        hidden: tuple[np.ndarray, np.ndarray] = (NOTHING, NOTHING),
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ``count`` largest products of (m, d) queries: values and places (m, count).

        They come best first, equal ones in any order. ``hidden`` are (pairs,) queries, ascending,
        and as many places, which are left out; fewer than ``count`` leave -inf. ``count`` is at
        most the number of rows.
        """
        values = np.empty((len(queries), count), np.float32)
        places = np.empty((len(queries), count), np.int64)
        step = max(1, BLOCK_BYTES // (4 * min(len(self), WIDTH)))
        with float32_products(self.rows.device):
            for start in range(0, len(queries), step):
                part = slice(start, start + step)
                mine = slice(*np.searchsorted(hidden[0], (start, start + step)))
                masked = hidden[0][mine] - start, hidden[1][mine]
                found = self._best(queries[part], count, *masked)
                values[part], places[part] = (one.cpu().numpy() for one in found)
        return values, places

    def _best(
        self, queries: Matrix, count: int, masked: np.ndarray, places: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        left = _sent(queries, None, self.rows.device)
        best: tuple[torch.Tensor, torch.Tensor] | None = None
        for start in range(0, len(self), WIDTH):
            part = slice(start, start + WIDTH)
            inside = (places >= start) & (places < start + WIDTH)
            scores = self._products(left, part, masked[inside], places[inside] - start)
            found = scores.topk(min(count, scores.shape[1]), dim=1)
            values, rows = found.values, found.indices + start
            if best is not None:
                both = torch.cat([best[0], values], 1)  # (s, count + some)
                values, which = both.topk(min(count, both.shape[1]), dim=1)
                rows = torch.cat([best[1], rows], 1).gather(1, which)
            best = values, rows
        assert best is not None
        return best

    def _products(
        self, left: torch.Tensor, part: slice, masked: np.ndarray, places: np.ndarray
    ) -> torch.Tensor:
        """(s, w) of queries and some of the rows; -inf where a pair is masked."""
        import torch

        scores = left @ self.rows[part].T
        if self.scale is not None:
            scores *= self.scale[part]
        if len(masked):
            pairs = (torch.from_numpy(one).to(left.device) for one in (masked, places))
            scores[tuple(pairs)] = -torch.inf
        return scores


def fetched(matrix: Matrix, rows: np.ndarray) -> np.ndarray:
    """A copy (n, d) of (n,) rows on the CPU; each row crosses once."""
    if isinstance(matrix, np.ndarray):
        return np.asarray(matrix[rows])
    different, place = np.unique(rows, return_inverse=True)
    return _rows_there(matrix, different).cpu().numpy()[place]


def products_with_all(left: Matrix, rows: np.ndarray, right: Matrix) -> np.ndarray:
    """(n,) rows of one matrix times all (w, d) of another → (n, w) on the CPU."""
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return np.asarray(left[rows] @ right.T)
    with float32_products(right.device):
        products: np.ndarray = (_rows_there(left, rows) @ right.T).cpu().numpy()
    return products


def _rows_there(matrix: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    import torch

    return matrix[torch.from_numpy(rows).to(matrix.device)]


def _sent(matrix: Matrix, which: np.ndarray | None, device: str | torch.device) -> torch.Tensor:
    """(m, d) rows, or some of them, on the device; those of the CPU go there a part at a time."""
    import torch

    if not isinstance(matrix, np.ndarray):
        return matrix if which is None else _rows_there(matrix, which)
    count, d = len(matrix) if which is None else len(which), matrix.shape[1]
    found = torch.empty((count, d), dtype=torch.float32, device=device)
    step = max(1, SENT // max(d, 1))
    for start in range(0, count, step):
        part = slice(start, start + step)
        block = np.array(matrix[part]) if which is None else gather(matrix, which[part])
        found[part].copy_(torch.from_numpy(block))
        release(matrix)
    return found


@contextmanager
def float32_products(device: torch.device) -> Iterator[None]:
    """Matrix products of float32 in all their digits: without TF32 and autocast."""
    import torch

    settings = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = [one.fp32_precision for one in settings]
    older: str | None
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:  # the program uses the newer settings alone
        older = None
    torch.set_float32_matmul_precision("highest")  # of both, which a product compares
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        if older is not None:
            torch.set_float32_matmul_precision(older)
        for one, precision in zip(settings, before, strict=True):
            one.fp32_precision = precision


def tried(device: str, work: Callable[[], T]) -> T | None:
    """What ``work`` returns; None where the device's memory is too small, and a line says so."""
    try:
        return work()
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
    _say_once(device)
    return None


@cache
def _say_once(device: str) -> None:
    log_line(f"{device} has too little free memory for all the vectors: the CPU searches them")
