"""The one pre-processing that training and serving share.

numpy and Pillow only, so that the lab imports exactly what the product runs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.models.card import InputSpec

__all__ = ["audio_windows", "face_square", "picture_tensor", "square_crop", "whole_picture"]


def face_square(
    box: tuple[float, float, float, float], margin: float, width: int, height: int
) -> tuple[float, float, float]:
    """Square (left, top, side) around ``box`` (left, top, width, height), grown by ``margin``.

    It is moved into the picture of ``width`` x ``height`` px rather than filled up, and
    never larger than its shorter side: no network has learned what lies outside.
    """
    left, top, wide, high = box
    side = min(margin * max(wide, high), float(width), float(height))
    left = min(max(left + (wide - side) / 2, 0.0), width - side)
    return left, min(max(top + (high - side) / 2, 0.0), height - side), side


def square_crop(
    pixels: NDArray[np.uint8], left: float, top: float, side: float, size: int
) -> NDArray[np.uint8]:
    """Cut a square from ``pixels`` [h, w, 3] and scale it to ``size`` with an anti-alias filter.

    Where the square leaves the picture the border pixels are repeated, as a face at the
    edge must not come with black bars that no training picture had.
    """
    from PIL import Image as PillowImage

    height, width = pixels.shape[:2]
    x0, y0 = int(np.floor(left)), int(np.floor(top))
    x1, y1 = int(np.ceil(left + side)), int(np.ceil(top + side))
    rows = np.clip(np.arange(y0, max(y1, y0 + 1)), 0, height - 1)
    columns = np.clip(np.arange(x0, max(x1, x0 + 1)), 0, width - 1)
    cut = np.ascontiguousarray(pixels[rows[:, None], columns[None, :]])
    picture = PillowImage.fromarray(cut)
    scaled = picture.resize(
        (size, size),
        PillowImage.Resampling.BICUBIC,
        box=(
            left - x0,
            top - y0,
            min(left - x0 + side, cut.shape[1]),
            min(top - y0 + side, cut.shape[0]),
        ),
        reducing_gap=None,
    )
    return np.asarray(scaled, np.uint8)


def whole_picture(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The whole of ``pixels`` [h, w, 3] squeezed into ``size`` x ``size``: what it shows, no trace.

    Large pictures are first reduced by whole factors, which costs little and is filtered too.
    """
    from PIL import Image as PillowImage

    picture = PillowImage.fromarray(pixels)
    kernel = PillowImage.Resampling.BICUBIC
    return np.asarray(picture.resize((size, size), kernel, reducing_gap=3.0), np.uint8)


def picture_tensor(crops: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """uint8 [n, h, w, 3] to float32 NCHW, normalised by the card's scale, mean and std."""
    mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
    scaled = (crops.astype(np.float32) / np.float32(spec.scale) - mean) / std
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), np.float32)


def audio_windows(
    samples: NDArray[np.float32], spec: InputSpec, hop: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Cut mono ``samples`` into windows [n, spec.samples] every ``hop`` samples.

    A sound shorter than a window is repeated to fill it (as in training); the last
    window is aligned with the end. Returns the windows and their first samples.
    """
    need = spec.samples
    if samples.size == 0:
        return np.zeros((0, need), np.float32), np.zeros(0, np.int64)
    if samples.size <= need:
        return np.resize(samples, need)[None].astype(np.float32), np.zeros(1, np.int64)
    starts = np.arange(0, samples.size - need + 1, hop, dtype=np.int64)
    if starts[-1] != samples.size - need:
        starts = np.append(starts, samples.size - need)
    return np.stack([samples[s : s + need] for s in starts]).astype(np.float32), starts
