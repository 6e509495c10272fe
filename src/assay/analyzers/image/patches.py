"""Choose patches of a picture at native resolution, spread over it and rich in texture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Patches", "native_patches"]

_MOST_A_SIDE = 2
_TRIES = 3  # candidates along each axis of a cell


class Patches(NamedTuple):
    """``pixels`` [n, size, size, 3] row by row over ``rows`` x ``columns`` cells of the picture.

    ``boxes`` holds (left, top, width, height) of each patch in the picture; where the
    picture was smaller than a patch, mirrored borders fill the rest.
    """

    pixels: NDArray[np.uint8]
    boxes: tuple[tuple[float, float, float, float], ...]
    rows: int
    columns: int


def native_patches(pixels: NDArray[np.uint8], size: int) -> Patches:
    """One patch from each of up to 2 x 2 cells of RGB ``pixels`` [h, w, 3], never rescaled.

    Rescaling would wash out the trace that is looked for. In each cell the candidate
    with most detail (mean absolute difference of neighbours, dark and clipped areas
    count as they are) is taken, so that sky and walls do not speak for the picture.
    """
    height, width = pixels.shape[:2]
    if height < size or width < size:
        tall, wide = max(0, size - height), max(0, size - width)
        pixels = np.pad(
            pixels,
            ((tall // 2, tall - tall // 2), (wide // 2, wide - wide // 2), (0, 0)),
            mode="symmetric",
        )
    high, across = pixels.shape[:2]
    rows = int(np.clip(round(high / size), 1, _MOST_A_SIDE))
    columns = int(np.clip(round(across / size), 1, _MOST_A_SIDE))
    chosen, boxes = [], []
    for r in range(rows):
        for c in range(columns):
            top, left = _richest(pixels, size, r, rows, c, columns)
            chosen.append(pixels[top : top + size, left : left + size])
            x0 = max(0, left - max(0, size - width) // 2)
            y0 = max(0, top - max(0, size - height) // 2)
            boxes.append((float(x0), float(y0), float(min(size, width)), float(min(size, height))))
    return Patches(np.stack(chosen), tuple(boxes), rows, columns)


def _starts(cell: int, cells: int, length: int, size: int) -> list[int]:
    """First pixels of the candidates along one axis of a cell."""
    free = length - size
    low, high = free * cell / cells, free * (cell + 1) / cells
    return sorted({round(low + (high - low) * (k + 0.5) / _TRIES) for k in range(_TRIES)})


def _richest(
    pixels: NDArray[np.uint8], size: int, r: int, rows: int, c: int, columns: int
) -> tuple[int, int]:
    best, where = -1.0, (0, 0)
    for top in _starts(r, rows, pixels.shape[0], size):
        for left in _starts(c, columns, pixels.shape[1], size):
            green = pixels[top : top + size, left : left + size, 1].astype(np.int16)
            detail = float(np.abs(np.diff(green, axis=1)).mean())
            detail += float(np.abs(np.diff(green, axis=0)).mean())
            if detail > best + 1e-9:
                best, where = detail, (top, left)
    return where
