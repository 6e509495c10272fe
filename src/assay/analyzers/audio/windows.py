"""Overlapping windows over a streamed sound, in bounded memory.

Not in here: measurements. The analyzers of this package share only this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["clean_blocks", "windows"]

Sound = NDArray[np.float32]


def clean_blocks(blocks: Iterable[Sound]) -> Iterator[Sound]:
    """Non-empty blocks with NaN and infinities replaced and values held in -8..8.

    Float files may hold anything; what lies beyond 8 times full scale is damage.
    """
    for block in blocks:
        if len(block):
            yield np.clip(np.nan_to_num(block, nan=0.0), -8.0, 8.0).astype(np.float32, copy=False)


def windows(blocks: Iterable[Sound], size: int, hop: int) -> Iterator[tuple[int, Sound]]:
    """(index of the first sample, window of ``size`` samples), every ``hop`` samples.

    The last window ends with the sound and may overlap the one before it by more; a
    sound shorter than ``size`` is one short window, an empty one none. A window is a
    view that the caller must not keep or change. ``hop`` may exceed ``size``.
    """
    if size < 1 or hop < 1:
        raise ValueError("size and hop must be positive")
    kept = np.zeros(0, np.float32)
    first = 0  # index of kept[0] in the sound
    due = 0  # index where the next window starts
    for block in clean_blocks(blocks):
        kept = np.concatenate([kept, block])
        while first + len(kept) >= due + size:
            yield due, kept[due - first : due - first + size]
            due += hop
        # `size` samples stay so that the last window can end with the sound.
        drop = min(due - first, len(kept) - size)
        if drop > 0:
            kept, first = kept[drop:].copy(), first + drop
    total = first + len(kept)
    covered = 0 if due == 0 else due - hop + size
    if total > covered:
        start = max(0, total - size)
        yield start, kept[start - first :]
