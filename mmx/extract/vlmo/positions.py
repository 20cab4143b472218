"""Positions of tokens: the relative position index, and tables for other image sizes.

The rules are those of VLMo (Bao et al., NeurIPS 2022, arXiv 2111.02358), which takes image
positions from BEiT (arXiv 2106.08254, section 2.3). A table of relative biases has, for a
picture of w x w patches and texts of up to T0 tokens,

    R = (2w-1)^2 rows   patch to patch, by (row, column) of the query minus that of the key
    3 rows              image [CLS] to patch, patch to image [CLS], image [CLS] to itself
    2 rows              text to image, image to text
    2 T0 - 3 rows       text to text, by position of the key minus that of the query
    3 rows              text [CLS] to token, token to text [CLS], text [CLS] to itself

which makes R + 2 T0 + 5. Note the opposite signs of the two differences.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmx.errors import EncoderError


def table_rows(grid: int, table_text_len: int) -> int:
    """Rows of a bias table for ``grid`` x ``grid`` patches and texts of ``table_text_len``."""
    return (2 * grid - 1) ** 2 + 2 * table_text_len + 5


@lru_cache(maxsize=8)
def relative_index(grid: int, text: int, table_text_len: int) -> np.ndarray:
    """(N, N) int64: the table row of each pair of the image's tokens, then ``text`` of a text.

    The image comes first so that a shorter text is the same table with its end cut off. An
    array, as a tensor made in inference mode could not be shared with training.
    """
    near, images = (2 * grid - 1) ** 2, grid * grid + 1
    index = np.empty((images + text, images + text), dtype=np.int64)
    index[:images, :images] = _image_index(grid, near)
    index[images:, images:] = _text_index(near, text, table_text_len)
    index[images:, :images] = near + 3  # query of the text, key of the image
    index[:images, images:] = near + 4
    return index


def _image_index(grid: int, near: int) -> np.ndarray:
    """(grid² + 1, grid² + 1): query minus key, [CLS] first."""
    row, column = np.divmod(np.arange(grid * grid), grid)
    down = row[:, None] - row[None, :] + grid - 1
    right = column[:, None] - column[None, :] + grid - 1
    return _with_cls(down * (2 * grid - 1) + right, near)


def _text_index(near: int, length: int, table_text_len: int) -> np.ndarray:
    """(length, length): key minus query, [CLS] first."""
    place = np.arange(length - 1)
    between = place[None, :] - place[:, None] + near + table_text_len + 3
    return _with_cls(between, near + 2 * table_text_len + 2)


def _with_cls(index: np.ndarray, first: int) -> np.ndarray:
    """Add [CLS] in front: ``first`` as query, ``first + 1`` as key, ``first + 2`` as both."""
    framed = np.full((len(index) + 1, len(index) + 1), first + 1)
    framed[1:, 1:] = index
    framed[0, :] = first
    framed[0, 0] = first + 2
    return framed


def resize_table(table: Tensor, grid: int, new_grid: int) -> Tensor:
    """A relative bias table for another image size; float32.

    The (2w-1)² patch rows are resampled by a not-a-knot cubic spline over coordinates whose
    steps grow outwards (BEiT's geometric grid); all other rows stay. Raises EncoderError when the
    old grid is under 3 patches, too few for a cubic.
    """
    if grid == new_grid:
        return table.float()
    if grid < 3:
        raise EncoderError(
            f"the checkpoint's {grid} x {grid} patches are too few to resample; give no image size"
        )
    side, near = 2 * grid - 1, (2 * grid - 1) ** 2
    matrix = resample_matrix(side, 2 * new_grid - 1)  # (m, n)
    old = table[:near].double().numpy().reshape(side, side, -1)
    new = np.einsum("ai,bj,ijc->abc", matrix, matrix, old, optimize=True)  # (m, m, columns)
    patches = torch.from_numpy(new.reshape(len(matrix) ** 2, -1)).float()
    return torch.cat([patches, table[near:].float()])


def resample_matrix(n: int, m: int) -> np.ndarray:
    """(m, n) float64: from values at n geometric places to the m integers around zero."""
    ratio = _geometric_ratio(n, m)
    steps = np.cumsum(ratio ** np.arange(n // 2))  # 1, 1+q, 1+q+q², ...
    source = np.concatenate([-steps[::-1], [0.0], steps])
    target = np.arange(-(m // 2), m // 2 + 1).clip(source[0], source[-1])
    return _spline_matrix(source, target)


def _geometric_ratio(n: int, m: int) -> float:
    """q in [1.01, 1.5] for which 1 + q + ... + q^(n//2 - 1) reaches m // 2."""
    low, high, q = 1.01, 1.5, 1.01
    while high - low > 1e-6:
        q = (low + high) / 2
        too_far = (1 - q ** (n // 2)) / (1 - q) > m // 2
        low, high = (low, q) if too_far else (q, high)
    return q


def _spline_matrix(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(len(at), len(x)): evaluates the not-a-knot cubic spline through values at ``x``.

    A cubic spline over n places with its second and last but one free of a break is a
    polynomial of degree 3 plus one truncated cube (t - x_i)³₊ for each i in 2 .. n-3.
    """
    unit = x / x[-1]  # the powers of plain coordinates would cost digits

    def basis(t: np.ndarray) -> np.ndarray:
        cubes = np.maximum(t[:, None] - unit[None, 2:-2], 0.0) ** 3
        return np.concatenate([t[:, None] ** np.arange(4)[None, :], cubes], axis=1)

    return np.linalg.solve(basis(unit).T, basis(at / x[-1]).T).T


def resize_positions(positions: Tensor, grid: int, new_grid: int) -> Tensor:
    """Absolute image positions (1, grid² + 1, D) for another grid: bicubic, [CLS] kept."""
    if grid == new_grid:
        return positions.float()
    cls, patches = positions[:, :1].float(), positions[:, 1:].float()
    plane = patches.reshape(1, grid, grid, -1).permute(0, 3, 1, 2)  # (1, D, w, w)
    plane = F.interpolate(plane, size=(new_grid, new_grid), mode="bicubic", align_corners=False)
    return torch.cat([cls, plane.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
