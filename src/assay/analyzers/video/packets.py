"""The order, size and time of compressed frames, without decoding them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from assay.media import Packet

__all__ = ["MOST_PACKETS", "PacketTable", "gaps", "read_packets"]

MOST_PACKETS = 1_000_000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PacketTable:
    """Packets in decoding order. ``time`` is NaN where the container gives none."""

    time: Floats
    size: Ints
    key: NDArray[np.bool_]
    cut_short: bool

    def __len__(self) -> int:
        return len(self.size)

    @property
    def reordered(self) -> bool:
        """Whether frames are shown in another order than decoded (bidirectional frames)."""
        known = self.time[np.isfinite(self.time)]
        return bool((np.diff(known) < 0).any())

    @property
    def shown(self) -> Floats:
        """Known presentation times, ascending."""
        return np.sort(self.time[np.isfinite(self.time)])

    @property
    def groups(self) -> Ints:
        """Lengths of the groups of pictures, in frames; the last may be cut off by the end."""
        starts = np.flatnonzero(self.key)
        return np.diff(np.append(starts, len(self.key)))


def read_packets(packets: Iterable[Packet], most: int = MOST_PACKETS) -> PacketTable:
    """The first ``most`` packets as arrays (25 bytes a packet)."""
    time, size, key = [], [], []
    source = iter(packets)
    for p in islice(source, most):
        time.append(np.nan if p.time is None or not np.isfinite(p.time) else p.time)
        size.append(max(0, p.size))
        key.append(p.keyframe)
    more = next(source, None) is not None if len(size) == most else False
    return PacketTable(
        np.array(time, np.float64), np.array(size, np.int64), np.array(key, bool), more
    )


def gaps(shown: Floats, factor: float = 1.6) -> tuple[float, list[tuple[float, float]]]:
    """(usual frame interval in s, gaps), a gap being (time of the last frame before it, length).

    A gap is an interval longer than ``factor`` times the usual one (the median). In video
    whose frame rate varies throughout, intervals up to the 99 % quantile are no gaps.
    """
    if len(shown) < 3:
        return 0.0, []
    steps = np.diff(shown)
    steps_up = steps[steps > 0]
    if not len(steps_up):
        return 0.0, []
    usual = float(np.median(steps_up))
    least = max(factor * usual, factor * float(np.quantile(steps_up, 0.99)) if
                _varies(steps_up, usual) else 0.0)  # fmt: skip
    at = np.flatnonzero(steps > least)
    return usual, [(float(shown[i]), float(steps[i])) for i in at]


def _varies(steps: Floats, usual: float) -> bool:
    # A twentieth of the frames off by a fifth: a phone's or a screen recorder's clock.
    return bool((np.abs(steps - usual) > 0.2 * usual).mean() > 0.05)
