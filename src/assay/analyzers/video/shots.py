"""Small fingerprints of frames, and what comparing them says: cuts, stills, repetitions.

Bounded: a frame becomes some 4 kB, and at most :data:`MOST_FRAMES` are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.media import Image

__all__ = ["MOST_FRAMES", "FrameTable", "cuts", "read_frames", "repetitions", "stills"]

MOST_FRAMES = 3000
"""Frames decoded one after the other, 100 s at 30 a second."""

_GRID_ROWS, _GRID_COLUMNS = 90, 160  # pixels picked, not averaged: they keep the noise
_BLOCK = 5
_HUES = 4  # histogram of 4 x 4 x 4 colours
_AROUND = 12  # frames on each side that make the adaptive threshold
_LEAST_CUT = 0.25
_CUT_SIGMAS = 6.0
_STILL = 0.02  # grey levels: below what any sensor's or codec's noise leaves
_MOVING = 0.25
_MATCH = 0.7  # grey levels a block between copies compressed apart

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FrameTable:
    """``change[i]`` is the mean absolute difference of picked pixels between frames i-1 and
    i (grey levels 0..255), ``distance[i]`` the dissimilarity of their pictures (0 alike ..
    1 unlike) and ``across[i]`` that of frames i-1 and i+1; 0 at the ends.

    ``blocks`` is [frames, 576]: mean luma of 18 x 32 blocks.
    """

    times: NDArray[np.float64]
    change: Floats
    distance: Floats
    across: Floats
    blocks: NDArray[np.float16]
    cut_short: bool

    def __len__(self) -> int:
        return len(self.times)


def read_frames(
    frames: Iterable[Image], most: int = MOST_FRAMES, duration: float = math.inf
) -> FrameTable:
    """One pass over the first ``most`` frames.

    Frames without a time get that of the frame before; times lie in 0..``duration`` (s).
    """
    times: list[float] = []
    change, distance, across = [], [], []
    kept: list[NDArray[np.float16]] = []
    before: list[tuple[Floats, Floats, Floats]] = []  # the last two frames
    cut_short = False
    for frame in frames:
        if len(times) == most:
            cut_short = True
            break
        now = _fingerprint(frame.pixels)
        time = frame.time if frame.time is not None else (times[-1] if times else 0.0)
        times.append(min(max(time, times[-1] if times else 0.0), duration))
        if before:
            change.append(float(np.abs(now[0] - before[-1][0]).mean()))
            distance.append(_dissimilarity(before[-1], now))
        else:
            change.append(0.0)
            distance.append(0.0)
        if len(before) == 2:
            across.append(_dissimilarity(before[0], now))
        before = [*before[-1:], now]
        kept.append(now[1].astype(np.float16))
    # across[k] belongs to the middle one of frames k, k+1, k+2
    padded = [0.0, *across, 0.0][: len(times)] if len(times) > 1 else [0.0] * len(times)
    return FrameTable(
        np.array(times, np.float64), np.array(change, np.float32),
        np.array(distance, np.float32), np.array(padded, np.float32),
        np.array(kept, np.float16) if kept else np.zeros((0, 576), np.float16), cut_short,
    )  # fmt: skip


def _fingerprint(pixels: NDArray[np.uint8]) -> tuple[Floats, Floats, Floats]:
    """(picked luma [90, 160], block means [576], colour histogram [64] summing to 1)."""
    height, width = pixels.shape[:2]
    rows = (np.arange(_GRID_ROWS) * height) // _GRID_ROWS
    columns = (np.arange(_GRID_COLUMNS) * width) // _GRID_COLUMNS
    # Columns are picked from the picked rows only: copies 90 rows, not the frame.
    picked = pixels[rows][:, columns]
    luma = picked.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    shape = (_GRID_ROWS // _BLOCK, _BLOCK, _GRID_COLUMNS // _BLOCK, _BLOCK)
    blocks = luma.reshape(shape).mean(axis=(1, 3)).ravel()
    levels = (picked >> 6).astype(np.int64)
    bins = (levels[..., 0] * _HUES + levels[..., 1]) * _HUES + levels[..., 2]
    histogram = np.bincount(bins.ravel(), minlength=_HUES**3).astype(np.float32) / bins.size
    return luma, blocks, histogram


def _dissimilarity(a: tuple[Floats, Floats, Floats], b: tuple[Floats, Floats, Floats]) -> float:
    """Mean of the histogram distance (0..1) and of 1 - correlation of the blocks (0..1)."""
    colours = float(np.abs(a[2] - b[2]).sum()) / 2
    x, y = a[1] - a[1].mean(), b[1] - b[1].mean()
    # One grey level of noise a block keeps flat pictures from correlating by accident.
    scale = np.sqrt((float(x @ x) + x.size) * (float(y @ y) + y.size))
    alike = float((float(x @ y) + x.size) / scale)
    return (colours + min(1.0, max(0.0, 1.0 - alike))) / 2


def cuts(table: FrameTable) -> list[tuple[float, float]]:
    """(time of the first frame of a new shot, dissimilarity) of hard cuts.

    A cut stands out from the 12 frames on each side by six robust deviations and by 0.25
    at least (adaptive threshold after Yusoff, Christmas and Kittler, 2000); where the
    frames before and after a single odd one are alike, it was a flash or a damaged frame.
    """
    d = table.distance
    found = []
    for i in range(1, len(d)):
        if d[i] < _LEAST_CUT:
            continue
        near = np.concatenate([d[max(1, i - _AROUND) : i], d[i + 1 : i + 1 + _AROUND]])
        if len(near) and d[i] <= max(
            _median_plus(near), 2.0 * float(np.partition(near, -2)[-2]) if len(near) > 2 else 0.0
        ):
            continue
        flash = (i + 1 < len(d) and table.across[i] < 0.5 * d[i]) or (
            i >= 2 and table.across[i - 1] < 0.5 * d[i]
        )
        if not flash:
            found.append((float(table.times[i]), float(d[i])))
    return found


def _median_plus(near: Floats) -> float:
    middle = float(np.median(near))
    deviation = 1.4826 * float(np.median(np.abs(near - middle)))
    return middle + _CUT_SIGMAS * (deviation + 0.01)


def stills(table: FrameTable) -> list[tuple[int, int]]:
    """Runs (first, last) of frames that equal ``first`` but for the codec's rounding.

    A copy differs by at most 0.12 grey levels and by 15 % of the usual change of the
    video, which must move or carry noise: a camera's pictures change by a quarter of a
    level from frame to frame even where nothing moves, unless the encoder skipped it, and
    nothing can be said about such video.
    """
    if len(table) < 3:
        return []
    usual = float(np.median(table.change[1:]))
    if usual < _MOVING:
        return []
    same = table.change[1:] <= max(_STILL, min(0.12, 0.15 * usual))  # frame i+1 equals i
    padded = np.concatenate([[False], same, [False]])
    starts = np.flatnonzero(~padded[:-1] & padded[1:])
    ends = np.flatnonzero(padded[:-1] & ~padded[1:])
    moving = _moving(table)
    # An encoder leaves a frame of a resting scene out as readily as an editor copies one:
    # only where things move before and after does stillness say anything.
    return [
        (int(a), int(b))
        for a, b in zip(starts, ends, strict=True)
        if (a == 0 or moving[max(0, a - 2) : a + 1].any())
        and (b == len(table) - 1 or moving[b + 1 : b + 4].any())
    ]


def _moving(table: FrameTable) -> NDArray[np.bool_]:
    """Frames to which the picture moved; noise averages out over the 25 pixels of a block."""
    out = np.zeros(len(table), bool)
    blocks = table.blocks.astype(np.float32)
    motion = np.abs(np.diff(blocks, axis=0)).mean(axis=1)
    out[1:] = motion >= np.maximum(0.4, 0.35 * table.change[1:])
    return out


def repetitions(
    table: FrameTable, least_frames: int = 12, least_lag: float = 1.0
) -> list[tuple[int, int, int]]:
    """(first, first of the copy, frames): passages that come again ``least_lag`` s later.

    Every pair of frames must agree within 0.7 to 2 grey levels a block, which compression
    leaves, depending on how far frames are apart otherwise; within the passage the picture
    must change four times as much as that; and shifting it by three frames must spoil the
    match, or it is a scene at rest.
    """
    n = len(table)
    if n < 2 * least_frames:
        return []
    blocks = table.blocks.astype(np.float32)
    step = float(np.median(np.diff(table.times))) or 1 / 30
    taken = np.zeros(n, bool)
    active = _active(blocks)
    apart = float(np.median(np.abs(blocks[n // 2 :] - blocks[: n - n // 2]).mean(axis=1)))
    limit = min(2.0, max(_MATCH, 0.1 * apart))
    found: list[tuple[int, int, int]] = []
    for lag in range(max(least_frames, round(least_lag / step)), n - least_frames + 1):
        # A sixteenth of the blocks first: cheap, and nearly every lag ends here.
        coarse = np.abs(blocks[lag:, ::16] - blocks[:-lag, ::16]).mean(axis=1) <= 1.5 * limit
        coarse &= active[:-lag] & ~taken[lag:]
        for start, end in _runs(coarse, least_frames):
            exact = np.abs(blocks[lag + start : lag + end] - blocks[start:end]).mean(axis=1)
            for a, b in _runs(exact <= limit, least_frames):
                first, copy, count = start + a, start + a + lag, b - a
                if _locked(blocks, first, copy, count):
                    taken[copy : copy + count] = True
                    found.append((first, copy, count))
    return found


def _active(blocks: Floats) -> NDArray[np.bool_]:
    """Frames within half a second or so of motion; a scene at rest matches itself anywhere."""
    out = np.zeros(len(blocks), bool)
    moved = np.abs(blocks[6:] - blocks[:-6]).mean(axis=1) >= 0.5
    for i in np.flatnonzero(moved):
        out[max(0, i - 12) : i + 18] = True
    return out


def _locked(blocks: Floats, first: int, copy: int, count: int) -> bool:
    """Whether the passage moves, and matches its copy at this shift only."""
    here, there = blocks[first : first + count], blocks[copy : copy + count]
    match = float(np.abs(here - there).mean())
    moved = float(np.abs(here[count // 2 :] - here[: count - count // 2]).mean())
    shifted = min(
        float(np.abs(here[3:] - there[:-3]).mean()), float(np.abs(here[:-3] - there[3:]).mean())
    )
    return moved >= max(1.0, 4.0 * match) and shifted >= max(0.5, 1.8 * match)


def _runs(flags: NDArray[np.bool_], least: int) -> list[tuple[int, int]]:
    padded = np.concatenate([[False], flags, [False]]).astype(np.int8)
    edges = np.diff(padded)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [(int(a), int(b)) for a, b in zip(starts, ends, strict=True) if b - a >= least]
