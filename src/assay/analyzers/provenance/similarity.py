"""Does a small picture in the file show what the large one shows?"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from assay.media import Image

__all__ = ["correlation", "read_thumbnail"]

_SIDE = 16  # coarse: previews are often cropped or shifted by a little
_MOST_BYTES = 4 * 1024 * 1024
_MOST_PIXELS = 4_000_000


def read_thumbnail(data: bytes) -> NDArray[np.uint8] | None:
    """Decode an embedded JPEG, PNG or WebP preview to uint8 [height, width, 3], if small."""
    from PIL import Image as Pillow

    if not 16 < len(data) <= _MOST_BYTES:
        return None
    try:
        with Pillow.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                return None
            return np.asarray(picture.convert("RGB"))
    except Exception:  # noqa: BLE001 - a preview that cannot be decoded is no preview
        return None


def correlation(thumbnail: NDArray[np.uint8], image: Image) -> float | None:
    """Greatest Pearson correlation of both pictures' brightness over the ways to turn them.

    Both are shrunk to 16 x 16 by area. ``None`` when one is too flat to compare. Previews
    are stored before or after rotation, and some are letterboxed: they are compared as they
    are and without black bars, which night pictures seem to have as well.
    """
    large = _shrink(image.pixels)
    small = [s for s in (_shrink(thumbnail), _shrink(_uncovered(thumbnail))) if s is not None]
    if not small or large is None:
        return None
    ways = [np.rot90(s, k) for s in small for k in range(4)]
    ways += [np.fliplr(way) for way in ways]
    return max(float((way * large).mean()) for way in ways)


def _uncovered(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Without black bars of a letterboxed preview."""
    bright = pixels.max(axis=2) > 24
    rows = np.flatnonzero(bright.mean(axis=1) > 0.05)
    columns = np.flatnonzero(bright.mean(axis=0) > 0.05)
    if len(rows) < 8 or len(columns) < 8:
        return pixels
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _shrink(pixels: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Brightness, 32 x 32, zero mean and unit variance."""
    from PIL import Image as Pillow

    if min(pixels.shape[:2]) < 8:
        return None
    picture = Pillow.fromarray(np.ascontiguousarray(pixels)).convert("L")
    grey = np.asarray(picture.resize((_SIDE, _SIDE), Pillow.Resampling.BOX), np.float64)
    spread = grey.std()
    if spread < 4.0:
        return None
    return np.asarray((grey - grey.mean()) / spread, np.float64)
