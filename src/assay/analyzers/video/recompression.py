"""Rhythm in frame sizes left by the groups of pictures of an earlier compression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Comb", "group_comb"]

_LEAST_PERIOD, _MOST_PERIOD = 5, 300
_LEAST_TEETH = 5
_SIDE = 3  # neighbours on each side whose median is the expected size
_MOST_FRAMES = 20_000


@dataclass(frozen=True, slots=True)
class Comb:
    """Frames ``phase``, ``phase + period``, ... are larger than their neighbours.

    ``excess`` is the median ln ratio at the teeth, ``score`` its distance from that of
    all frames in standard errors, less what searching many combs yields by chance.
    """

    period: int
    phase: int
    teeth: int
    excess: float
    score: float


def group_comb(size: NDArray[np.int64], key: NDArray[np.bool_]) -> Comb | None:
    """The strongest comb in the sizes of frames in display order, or ``None``.

    Key frames and the frame after each are left out, combs whose teeth mostly fall on
    them are skipped, and three of four teeth must be larger than their neighbours. The
    frame that used to be a key frame is predicted worse, hence larger (Wang and Farid
    2006; Stamm, Lin and Liu 2012). ``None`` for fewer than 40 usable frames.
    """
    size, key = size[:_MOST_FRAMES], key[:_MOST_FRAMES]
    usable = ~key
    usable[1:] &= ~key[:-1]
    usable &= size > 0
    if int(usable.sum()) < 40:
        return None
    logs = np.where(usable, np.log(np.maximum(size, 1)), np.nan)
    excess = _above_neighbours(logs)
    fine = np.isfinite(excess)
    if int(fine.sum()) < 40:
        return None
    middle = float(np.median(excess[fine]))
    spread = 1.4826 * float(np.median(np.abs(excess[fine] - middle))) + 0.01
    z = np.clip((excess - middle) / spread, -4.0, 4.0)
    best: Comb | None = None
    for period in range(_LEAST_PERIOD, min(_MOST_PERIOD, len(size) // _LEAST_TEETH) + 1):
        for phase in range(period):
            teeth = z[phase::period]
            seen = teeth[np.isfinite(teeth)]
            if len(seen) < max(_LEAST_TEETH, 0.6 * len(teeth)) or (seen > 0.5).mean() < 0.75:
                continue
            # z of noise has variance 1 or so; the search over n combs reaches sqrt(2 ln n).
            score = float(seen.mean()) * np.sqrt(len(seen)) - np.sqrt(2 * np.log(period * 100))
            if best is None or score > best.score:
                at = excess[phase::period]
                best = Comb(
                    period, phase, len(seen), float(np.median(at[np.isfinite(at)])), float(score)
                )
    return best


def _above_neighbours(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(logs, _SIDE, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * _SIDE + 1).copy()
    around[:, _SIDE] = np.nan
    empty = ~np.isfinite(around).any(axis=1)
    around[empty] = 0.0
    out = logs - np.nanmedian(around, axis=1)
    out[empty] = np.nan
    return out
