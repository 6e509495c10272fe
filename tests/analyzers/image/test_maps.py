from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from assay.analyzers.image.maps import (
    central,
    smooth,
    strongest_region,
    to_grid,
    upright,
    upright_box,
)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_agrees_with_pillow(orientation: int) -> None:
    stored = np.arange(6 * 4, dtype=np.uint8).reshape(6, 4)
    shown = Pillow.fromarray(stored)
    exif = shown.getexif()
    exif[0x0112] = orientation
    turned = ImageOps.exif_transpose(shown)
    assert np.array_equal(upright(stored, orientation), np.asarray(turned))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_box_agrees_with_upright(orientation: int) -> None:
    stored = np.zeros((60, 90), bool)
    stored[10:25, 40:80] = True
    turned = upright(stored, orientation)
    ys, xs = np.nonzero(turned)
    expected = (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)
    assert upright_box((40, 10, 40, 15), 90, 60, orientation) == expected


@pytest.mark.parametrize("shape", [(10, 10), (3000, 4000), (60000, 40), (1, 65535), (9000, 9000)])
def test_central_is_bounded_and_on_the_lattice(shape: tuple[int, int]) -> None:
    down, across = central(*shape, 1_000_000, 8)
    high, wide = down.stop - down.start, across.stop - across.start
    assert 1 <= high <= shape[0]
    assert 1 <= wide <= shape[1]
    assert high * wide <= 1_000_000
    assert down.start % 8 == across.start % 8 == 0
    assert down.stop <= shape[0]
    assert across.stop <= shape[1]
    if shape[0] * shape[1] <= 1_000_000:
        assert (high, wide) == shape


def test_smooth_ignores_invalid_cells() -> None:
    values = np.array([[1, 100, 3], [1, 100, 3], [1, 100, 3]], np.float32)
    valid = values < 50
    mean, count = smooth(values, valid, 3)
    assert mean[1, 1] == pytest.approx(2.0)
    assert count[1, 1] == 6


def test_strongest_region() -> None:
    evidence = np.zeros((20, 20), np.float32)
    evidence[2:6, 2:6] = 1.0  # 16 cells
    evidence[12:14, 12:14] = 3.0  # 4 cells
    everywhere = np.ones_like(evidence, bool)
    found = strongest_region(evidence, everywhere, above=0.5, least_cells=3, most_share=0.5)
    assert found is not None
    assert found.box == (12, 12, 2, 2)
    assert found.score == pytest.approx(6.0)
    found = strongest_region(evidence, everywhere, above=0.5, least_cells=5, most_share=0.5)
    assert found is not None
    assert found.box == (2, 2, 4, 4)
    assert found.share == pytest.approx(16 / 400)
    nothing = strongest_region(evidence, everywhere, above=5, least_cells=1, most_share=1)
    assert nothing is None


def test_grid_is_bounded() -> None:
    grid = to_grid(np.full((300, 1000), 7.0), "x")
    assert (grid.rows, grid.columns) == (14, 48)
    assert set(grid.values) == {1.0}
    assert to_grid(np.array([[np.nan]]), "x").values == (0.0,)
