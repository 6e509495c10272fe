"""A decoded still picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from assay.media.source import Source

__all__ = ["Image"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Image:
    """A still picture, upright, as 8-bit sRGB.

    ``pixels`` is uint8 [height, width, 3], read-only, EXIF orientation applied, alpha
    *not* composited (it stands in ``alpha``, uint8 [height, width], or ``None``).
    ``stored_width`` and ``stored_height`` are those of the file before orientation.
    ``mode`` is the colour mode of the file as Pillow names it, ``bit_depth`` its bits a
    channel. ``exif``, ``xmp``, ``icc`` and ``iptc`` are the embedded blocks as bytes
    (empty when absent; ``exif`` begins with its TIFF header, ``iptc`` with its first record;
    the Exif of a TIFF is the file itself); ``texts`` are the PNG/GIF/JPEG text chunks and
    comments as (keyword, text) pairs. ``notes`` declare every truncation or repair.

    For a frame of a video ``time`` is its time in seconds and the metadata are empty.
    """

    source: Source
    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    mode: str = "RGB"
    bit_depth: int = 8
    orientation: int = 1
    stored_width: int
    stored_height: int
    exif: bytes = b""
    xmp: bytes = b""
    icc: bytes = b""
    iptc: bytes = b""
    texts: tuple[tuple[str, str], ...] = field(default=())
    time: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])
