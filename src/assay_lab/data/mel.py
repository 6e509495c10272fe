"""Mel filters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mel_filters(rate: int, n_fft: int, n_mels: int, low: float, high: float) -> NDArray[np.float32]:
    """Triangular mel filters on Slaney's scale with unit area, [n_mels, n_fft // 2 + 1]."""

    def to_mel(f: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(
            f < 1000, 3 * f / 200, 15 + 27 * np.log(np.maximum(f, 1e-3) / 1000) / np.log(6.4)
        )

    def to_hz(m: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(m < 15, 200 * m / 3, 1000 * np.exp(np.log(6.4) * (m - 15) / 27))

    edges = to_hz(np.linspace(*to_mel(np.array([low, high])), n_mels + 2))
    bins = np.linspace(0, rate / 2, n_fft // 2 + 1)
    up = (bins[None] - edges[:-2, None]) / np.diff(edges)[:-1, None]
    down = (edges[2:, None] - bins[None]) / np.diff(edges)[1:, None]
    area = 2 / (edges[2:] - edges[:-2])
    return (np.maximum(0, np.minimum(up, down)) * area[:, None]).astype(np.float32)
