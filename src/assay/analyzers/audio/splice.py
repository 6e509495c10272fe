"""Traces of a join inside a few seconds of sound: pure functions on one window.

Two traces are measured. The *background change*: between words a microphone records the
noise of room, device and codec, whose spectrum stays put within one recording; where two
recordings are joined it steps (noise-level inconsistency: Pan, Zhang, Lyu, "Detecting
splicing in digital audios using local noise level estimation", ICASSP 2012; here as
low quantiles of band levels on both sides of every candidate point). The *isolated
jump*: one sample that linear prediction misses by far more than its neighbours
(Godsill and Rayner, "Digital Audio Restoration", 1998, ch. 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BANDS", "HOP", "RATE", "BackgroundChange", "background_change", "isolated_jumps"]

RATE = 16_000
"""Sample rate at which joins are looked for, Hz; the calibration holds at this rate only."""
HOP = 128
BANDS = 16
_FRAME = 256
_SIDE = 94  # frames (0.75 s) needed on each side of a candidate point
_STEP = 6  # frames between candidate points, 48 ms
_QUANTILE = 0.08
_HIGH = 5  # bands from 5.5 kHz up, where speech hides the background least

_ORDER = 16
_NEAR, _FAR = 24, 320  # samples: 1.5 ms and 20 ms at 16 kHz

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BackgroundChange:
    """The strongest change found in a window.

    ``decibels`` is the size of the change, ``sample`` its position in the window (good
    to a few tenths of a second: pauses set the resolution).
    """

    decibels: float
    sample: int


def band_levels(x: Floats) -> Floats:
    """[frames, BANDS] power in dB, bands of 500 Hz, 16 ms Hann frames every 8 ms."""
    if len(x) < _FRAME:
        return np.zeros((0, BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(x, _FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME).astype(np.float32), axis=1)) ** 2
    # The lowest two bins (0-125 Hz) hold rumble and hum, and are left out.
    edges = np.round(np.linspace(2, _FRAME // 2, BANDS + 1)).astype(int)
    sums = np.add.reduceat(power[:, : _FRAME // 2], edges[:-1], axis=1)
    return np.asarray(10 * np.log10(sums / np.diff(edges) + 1e-7), dtype=np.float32)


def background_change(x: Floats) -> BackgroundChange | None:
    """The largest step of the noise floor in window ``x`` (float32 at RATE), or ``None``.

    The floor of a side is the 8 % quantile of each band's level. A common change of
    level does not count in the first half of the measure (gain is ridden for good
    reasons); the second half is the change above 5.5 kHz. ``None`` when ``x`` is shorter
    than 1.5 s or silent.
    """
    levels = band_levels(x)
    if len(levels) < 2 * _SIDE + 1 or float(np.abs(x).max()) < 1e-4:
        return None
    best = BackgroundChange(-1.0, 0)
    for at in range(_SIDE, len(levels) - _SIDE, _STEP):
        step = _floor(levels[:at]) - _floor(levels[at:])
        shape = float(np.abs(step - np.median(step)).mean())
        high = float(np.abs(step[-_HIGH:]).mean())
        size = (shape + high) / 2
        if size > best.decibels:
            best = BackgroundChange(size, at * HOP + HOP)
    return best


def _floor(levels: Floats) -> Floats:
    rank = int(_QUANTILE * (len(levels) - 1))
    return np.asarray(np.partition(levels, rank, axis=0)[rank])


def isolated_jumps(x: Floats) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions and strengths of the samples that stand out most from their prediction.

    Strength is the natural log of the prediction error over the largest error 1.5 to
    20 ms before and after. One candidate for each 20 ms at most, those above 1 only;
    the first and last 20 ms are left out. ``x``: float32 at RATE.
    """
    from scipy.ndimage import maximum_filter1d

    nothing = (np.zeros(0, np.int64), np.zeros(0, np.float64))
    error = np.abs(_prediction_error(x))
    if len(error) <= 2 * _FAR:
        return nothing
    span = _FAR - _NEAR + 1
    shift = _NEAR + span // 2
    largest = maximum_filter1d(error, span, mode="constant")
    before = np.zeros_like(error)
    after = np.zeros_like(error)
    before[shift:] = largest[:-shift]
    after[:-shift] = largest[shift:]
    # 1e-4 is three steps of 16 bits: below it there is nothing to compare with.
    ratio = np.log((error + 1e-5) / (np.maximum(before, after) + 1e-4))
    ratio[:_FAR] = ratio[-_FAR:] = -1.0
    peaks = (ratio > 1.0) & (ratio >= maximum_filter1d(ratio, 2 * _FAR + 1))
    found = np.flatnonzero(peaks)
    return found + _HOP_LPC // 2, ratio[found].astype(np.float64)


_FRAME_LPC, _HOP_LPC = 512, 256


def _prediction_error(x: Floats) -> Floats:
    """Error of linear prediction fitted to 32 ms frames; element i belongs to x[i + 128]."""
    count = len(x) // _HOP_LPC - 1
    if count < 1:
        return np.zeros(0, np.float32)
    view = np.lib.stride_tricks.sliding_window_view
    frames = view(x[: (count + 1) * _HOP_LPC], _FRAME_LPC)[::_HOP_LPC]
    spectrum = np.fft.rfft(frames * np.hanning(_FRAME_LPC).astype(np.float32), 2 * _FRAME_LPC)
    r = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, : _ORDER + 1]
    r[:, 0] = r[:, 0] * 1.001 + 1e-7  # keeps the normal equations solvable in silence
    lag = np.abs(np.subtract.outer(np.arange(_ORDER), np.arange(_ORDER)))
    weights = np.linalg.solve(r[:, lag], r[:, 1:, None])[:, :, 0].astype(np.float32)
    padded = np.concatenate([np.zeros(_ORDER, np.float32), x])
    pieces = view(padded, _HOP_LPC + _ORDER)[_HOP_LPC // 2 :: _HOP_LPC][:count]
    error = pieces[:, _ORDER:].copy()
    for k in range(_ORDER):
        error -= weights[:, k, None] * pieces[:, _ORDER - 1 - k : _ORDER - 1 - k + _HOP_LPC]
    return error.ravel()
