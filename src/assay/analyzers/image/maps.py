"""What the analyzers of local edits share: bounded pictures, regions, grids."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.findings import Grid

__all__ = [
    "Region",
    "central",
    "luma",
    "smooth",
    "strongest_region",
    "to_grid",
    "upright",
    "upright_box",
]

Floats = NDArray[np.float32]

_MOST_CELLS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A connected region of cells that stand out.

    ``score``: mean evidence in the region, times the root of its number of cells (at most
    256 count: a larger picture must not score higher for being large). ``mask`` is bool
    [rows, columns]; ``box`` is (left, top, width, height) in cells; ``share`` of all cells.
    """

    score: float
    mask: NDArray[np.bool_]
    box: tuple[int, int, int, int]
    share: float
    mean: float


def luma(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """ITU-R BT.601 luma, uint8 [height, width]: a quarter of the memory of float32."""
    import cv2

    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def central(height: int, width: int, most: int, step: int) -> tuple[slice, slice]:
    """The middle of a picture with at most ``most`` pixels, its corner on a ``step`` lattice.

    Native pixels cannot be scaled without losing the traces, hence a bound on area is
    a crop.
    """
    if height * width <= most:
        return slice(0, height), slice(0, width)
    shrink = math.sqrt(most / (height * width))
    wide = min(width, max(step, int(width * shrink)))
    high = min(height, max(step, most // wide))
    wide = min(width, max(step, most // high))
    top, left = (height - high) // 2 // step * step, (width - wide) // 2 // step * step
    return slice(top, top + high), slice(left, left + wide)


def smooth(values: Floats, valid: NDArray[np.bool_], size: int) -> tuple[Floats, Floats]:
    """Mean of the valid cells in a ``size`` window around each cell, and their number."""
    import cv2

    weight = valid.astype(np.float32)
    total = cv2.boxFilter(
        np.where(valid, values, 0).astype(np.float32),
        -1,
        (size, size),
        normalize=False,
        borderType=cv2.BORDER_CONSTANT,
    )
    count = cv2.boxFilter(weight, -1, (size, size), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return (total / np.maximum(count, 1e-6)).astype(np.float32), np.asarray(count, np.float32)


def strongest_region(
    evidence: Floats, valid: NDArray[np.bool_], *, above: float, least_cells: int, most_share: float
) -> Region | None:
    """The 8-connected region of valid cells with evidence over ``above`` that scores highest."""
    import cv2

    mask = (valid & (evidence > above)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count <= 1:
        return None
    cells = np.bincount(labels.ravel(), minlength=count).astype(np.float64)
    sums = np.bincount(labels.ravel(), weights=evidence.ravel(), minlength=count)
    score = sums / np.maximum(cells, 1) * np.sqrt(np.minimum(cells, _MOST_CELLS))
    total = max(1, int(valid.sum()))
    score[(cells < least_cells) | (cells > most_share * total)] = -np.inf
    score[0] = -np.inf
    best = int(np.argmax(score))
    if not np.isfinite(score[best]):
        return None
    left, top, wide, high = (int(v) for v in stats[best, :4])
    return Region(
        score=float(score[best]),
        mask=labels == best,
        box=(left, top, wide, high),
        share=float(cells[best] / total),
        mean=float(sums[best] / cells[best]),
    )


def to_grid(values: NDArray[np.floating], meaning: str, *, most: int = 48) -> Grid:
    """A map of any size as a grid of at most ``most`` cells a side, by area averaging."""
    import cv2

    rows, columns = values.shape
    ratio = min(1.0, most / max(rows, columns))
    size = (max(1, round(columns * ratio)), max(1, round(rows * ratio)))
    small = np.asarray(values, np.float32)
    if size != (columns, rows):
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), np.float32)
    flat = np.clip(np.nan_to_num(small, nan=0.0), 0.0, 1.0)
    return Grid(
        rows=size[1],
        columns=size[0],
        values=tuple(round(float(v), 4) for v in flat.ravel()),
        meaning=meaning,
    )


def upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a map of the stored picture the way EXIF ``orientation`` (1..8) turns the picture."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values


def upright_box(
    box: tuple[float, float, float, float], width: int, height: int, orientation: int
) -> tuple[float, float, float, float]:
    """:func:`upright` for a (left, top, width, height) box of a stored picture of that size."""
    left, top, wide, high = box
    if orientation in (5, 6, 7, 8):
        left, top, wide, high = top, left, high, wide
        width, height = height, width
    if orientation in (2, 3, 6, 7):
        left = width - left - wide
    if orientation in (3, 4, 7, 8):
        top = height - top - high
    return left, top, wide, high
