"""Mel filters against their definition."""

from __future__ import annotations

import numpy as np

from assay_lab.data.mel import mel_filters

RATE = 16_000


def test_mel_filters_are_triangles_of_unit_area() -> None:
    m = mel_filters(RATE, 1024, 40, 0.0, 8000.0)
    assert m.shape == (40, 513)
    assert (m >= 0).all()
    area = m.sum(1) * (RATE / 1024)
    assert np.allclose(area[10:], 1.0, atol=0.1)
    assert (np.diff(m.argmax(1)) >= 0).all()
