"""Is this a photograph-like picture at all, or graphics, text, a chart or a blank page?

Simple statistics, no network. A detector of generated pictures was trained on
photographs and photograph-like pictures; on a slide or a logo its answer means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PictureStatistics", "measure", "out_of_scope"]

_BLOCK = 8
_MOST_PIXELS = 1 << 20  # enough for shares; a 12-megapixel picture is thinned by rows of blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureStatistics:
    """Shares in 0..1 over blocks of 8 x 8 pixels or over pixels.

    ``flat``: blocks of one tone (range of luma at most 2 of 255). ``main_colour``:
    pixels of the commonest colour (5 bits a channel). ``colours``: distinct colours
    (5 bits a channel) among the pixels looked at. ``contrast``: standard deviation of
    luma in levels.
    """

    flat: float
    main_colour: float
    colours: int
    contrast: float


def measure(pixels: NDArray[np.uint8]) -> PictureStatistics:
    """Measure RGB ``pixels`` [h, w, 3] of at least 8 px a side.

    Larger pictures are thinned by whole blocks, spread evenly, so that time is bounded.
    """
    height, width = pixels.shape[0] // _BLOCK * _BLOCK, pixels.shape[1] // _BLOCK * _BLOCK
    rows = np.arange(height // _BLOCK)
    step = max(1, int(np.ceil(height * width / _MOST_PIXELS)))
    picked = (rows[::step, None] * _BLOCK + np.arange(_BLOCK)).reshape(-1)
    part = pixels[picked, :width]
    luma = part.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    blocks = luma.reshape(-1, _BLOCK, width // _BLOCK, _BLOCK)
    span = blocks.max(axis=(1, 3)) - blocks.min(axis=(1, 3))
    code = (part >> 3).astype(np.int32)
    index = (code[..., 0] << 10) | (code[..., 1] << 5) | code[..., 2]
    count = np.bincount(index.reshape(-1), minlength=1 << 15)
    return PictureStatistics(
        flat=float((span <= 2.0).mean()),
        main_colour=float(count.max() / count.sum()),
        colours=int((count > 0).sum()),
        contrast=float(luma.std()),
    )


def out_of_scope(found: PictureStatistics) -> tuple[str, str] | None:
    """Code and sentence when the picture is not photograph-like, else None.

    The limits were set on photographs and on charts, screenshots and posters of the
    training sources; they let most posters with photographs in them pass.
    """
    if found.contrast < 4.0:
        return "blank", "The picture is almost one even tone: there is nothing to judge."
    if found.flat > 0.6 or (found.main_colour > 0.45 and found.flat > 0.25):
        return (
            "graphics",
            "Most of the picture is made of even areas, as in graphics, text, charts and "
            "screenshots; generated pictures can only be told from photographs.",
        )
    if found.colours < 24:
        return (
            "few_colours",
            "The picture has too few colours to be a photograph: it looks like a drawing, "
            "a chart or a palette picture.",
        )
    return None
