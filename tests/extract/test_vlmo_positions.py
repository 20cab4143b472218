"""Relative positions and their resampling, against definitions and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmx.errors import EncoderError
from mmx.extract.vlmo.positions import (
    _geometric_ratio,
    relative_index,
    resample_matrix,
    resize_positions,
    resize_table,
    table_rows,
)
from tests.extract.tiny_vlmo import ABSPOS, RELPOS, Slow, tiny


def test_table_rows_of_published_sizes() -> None:
    assert [table_rows(px // 16, 196) for px in (224, 384, 480)] == [1126, 2606, 3878]


def test_index_by_definition() -> None:
    slow, w = Slow(tiny(RELPOS)), RELPOS.grid
    places = [("image", n) for n in range(w * w + 1)] + [("text", n) for n in range(6)]
    expected = [[slow.row(query, key) for key in places] for query in places]
    assert relative_index(w, 6, RELPOS.table_text_len).tolist() == expected


def test_a_shorter_text_is_the_same_index_with_its_end_cut_off() -> None:
    whole = relative_index(5, 40, 196)
    for text in (1, 2, 39):
        assert (relative_index(5, text, 196) == whole[: 26 + text, : 26 + text]).all()


def test_index_rows_at_224_px() -> None:
    """Facts about the published tables: (query, key) → row."""
    index = relative_index(14, 40, 196)
    cls, first_patch, last_patch, text = 0, 1, 196, 197
    facts = {
        (first_patch, first_patch): 364,
        (first_patch, last_patch): 0,
        (last_patch, first_patch): 728,
        (cls, first_patch): 729,
        (first_patch, cls): 730,
        (cls, cls): 731,
        (text + 3, cls): 732,
        (cls, text + 3): 733,
        (text + 5, text + 5): 928,
        (text + 5, text + 6): 929,
        (text, text + 5): 1123,
        (text + 5, text): 1124,
        (text, text): 1125,
    }
    assert {pair: int(index[pair]) for pair in facts} == facts


def test_every_row_of_the_table_is_used() -> None:
    index = relative_index(3, 9, 9)
    assert sorted(set(index.flatten().tolist())) == list(range(table_rows(3, 9)))


@pytest.mark.parametrize(("n", "m"), [(27, 47), (27, 59), (11, 19), (15, 21), (47, 27), (5, 13)])
def test_resampling_is_scipys_not_a_knot_spline(n: int, m: int) -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    steps = np.cumsum(_geometric_ratio(n, m) ** np.arange(n // 2))
    places = np.concatenate([-steps[::-1], [0], steps])
    wanted = np.arange(-(m // 2), m // 2 + 1).clip(places[0], places[-1])
    spline = interpolate.CubicSpline(places, np.eye(n), bc_type="not-a-knot")
    np.testing.assert_allclose(resample_matrix(n, m), spline(wanted), atol=1e-9)


def test_ratios_of_published_sizes() -> None:
    assert _geometric_ratio(27, 47) == pytest.approx(1.090307, abs=1e-6)
    assert _geometric_ratio(27, 59) == pytest.approx(1.125056, abs=1e-6)
    assert _geometric_ratio(47, 27) == pytest.approx(1.01, abs=1e-6)  # shrinking: the lower bound


def test_a_cubic_surface_is_resampled_exactly() -> None:
    """On the geometric places z = x³ - 2 y² + x y; the spline must give it back in between."""
    n, m = 11, 15
    steps = np.cumsum(_geometric_ratio(n, m) ** np.arange(n // 2))
    x = np.concatenate([-steps[::-1], [0], steps])
    t = np.arange(-(m // 2), m // 2 + 1).clip(x[0], x[-1])

    def surface(a: np.ndarray) -> np.ndarray:
        return a[:, None] ** 3 - 2 * a[None, :] ** 2 + a[:, None] * a[None, :]

    rows = surface(x).reshape(-1, 1)
    extra = np.arange(11.0).reshape(-1, 1)
    table = torch.from_numpy(np.concatenate([rows, extra]))
    resized = resize_table(table, (n + 1) // 2, (m + 1) // 2).numpy()
    np.testing.assert_allclose(resized[: m * m].reshape(m, m), surface(t), rtol=1e-5, atol=1e-4)
    assert (resized[m * m :] == extra).all()  # text and [CLS] rows stay


def test_too_small_a_grid_is_refused() -> None:
    with pytest.raises(EncoderError, match="2 x 2 patches are too few"):
        resize_table(torch.zeros(table_rows(2, 9), 4), 2, 4)


def test_absolute_positions_keep_cls_and_resize_the_plane() -> None:
    positions = torch.randn(1, 1 + 5 * 5, 3)
    assert (resize_positions(positions, 5, 5) == positions).all()
    resized = resize_positions(positions, 5, 8)
    assert resized.shape == (1, 65, 3)
    assert (resized[:, 0] == positions[:, 0]).all()
    flat = torch.ones(1, 26, 2)
    torch.testing.assert_close(resize_positions(flat, 5, 7), torch.ones(1, 50, 2))
    assert ABSPOS.family == "abspos"
