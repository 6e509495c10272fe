"""Copies keep length and words (spectral envelope), and are not the original samples."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
from assay_lab.data.mel import mel_filters
from assay_lab.forge import copy_synthesis as c

RATE = c.RATE


def vowel() -> np.ndarray:
    t = np.arange(RATE) / RATE
    f = 120 + 20 * np.sin(2 * np.pi * t)
    phase = 2 * np.pi * np.cumsum(f) / RATE
    x = sum(np.sin(k * phase) / (1 + abs(k - 6)) for k in range(1, 30))
    return (0.2 * x / np.abs(x).max()).astype(np.float32)


def envelope(x: np.ndarray) -> np.ndarray:
    n = x.size // 512 * 512
    power = np.abs(np.fft.rfft(x[:n].reshape(-1, 512) * np.hanning(512))) ** 2
    return np.log(mel_filters(RATE, 512, 20, 0, 8000) @ power.mean(0) + 1e-6)


@pytest.mark.parametrize("name", ["griffin_lim", "linear_prediction", "world"])
def test_copies_keep_the_envelope(name: str) -> None:
    if name == "world":
        pytest.importorskip("pyworld")
    x = vowel()
    y = getattr(c, name)(x, np.random.default_rng(1))
    assert y.shape == x.shape
    assert y.dtype == np.float32
    assert np.isfinite(y).all()
    assert np.corrcoef(envelope(x), envelope(y))[0, 1] > 0.8
    assert np.abs(y - x).max() > 1e-3
