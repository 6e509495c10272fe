"""Local edits of photographs made by code, and the saving around them.

Untouched pictures and edits must go through the same functions of this module, or a
calibration learns the saving instead of the edit.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

Pixels = NDArray[np.uint8]

EDITS = ("copy_move", "splice", "splice_jpeg", "noise", "blur", "inpaint")
LONGEST = 768


def encode(pixels: Pixels, quality: int, subsampling: int = 0) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(pixels).save(out, "JPEG", quality=quality, subsampling=subsampling)
    return out.getvalue()


def decode(data: bytes) -> Pixels:
    with Pillow.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"), np.uint8)


def blob(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A smooth random region of 2 to 15 % of the picture."""
    height, width = shape
    area = rng.uniform(0.02, 0.15) * height * width
    r = np.sqrt(area / np.pi)
    stretch = rng.uniform(0.7, 1.4)
    y, x = np.mgrid[0:height, 0:width]
    cy, cx = rng.uniform(r, max(r + 1, height - r)), rng.uniform(r, max(r + 1, width - r))
    angle = np.arctan2(y - cy, x - cx)
    wave = 1 + 0.2 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.1 * np.sin(5 * angle)
    inside = np.hypot((y - cy) * stretch, (x - cx) / stretch) < r * wave
    return np.asarray(inside, np.bool_)


def edit(pixels: Pixels, other: Pixels, kind: str, rng: np.random.Generator) -> Pixels:
    """A copy of ``pixels`` with one local edit; ``other`` gives the material of splices."""
    height, width = pixels.shape[:2]
    mask = blob((height, width), rng)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)[..., None]
    base = pixels.astype(np.float32)
    if kind == "copy_move":
        shift = [int(rng.choice((-1, 1)) * rng.uniform(0.2, 0.5) * n) for n in (height, width)]
        new = np.roll(base, shift, axis=(0, 1))
        if rng.random() < 0.4:
            turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-20, 20), 1.1)
            new = cv2.warpAffine(new, turn, (width, height), flags=cv2.INTER_CUBIC)
    elif kind in ("splice", "splice_jpeg"):
        if kind == "splice_jpeg":
            other = decode(encode(other, int(rng.integers(60, 90))))
        new = cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    elif kind == "noise":
        new = base + rng.normal(0, rng.uniform(2, 6), base.shape)
    elif kind == "blur":
        new = cv2.GaussianBlur(base, (0, 0), rng.uniform(0.6, 1.5))
    else:
        small = cv2.inpaint(pixels, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)
        new = small.astype(np.float32)
    return np.clip(np.rint(base * (1 - soft) + new * soft), 0, 255).astype(np.uint8)


def prepared(data: bytes, rng: np.random.Generator) -> Pixels:
    """Pixels of a photograph: a native crop on or off the 8x8 lattice, or scaled down."""
    pixels = decode(data)
    if rng.random() < 0.3 and max(pixels.shape[:2]) > 500:
        ratio = rng.uniform(0.4, 0.9)
        size = (round(pixels.shape[1] * ratio), round(pixels.shape[0] * ratio))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    high, wide = (min(n, LONGEST) for n in pixels.shape[:2])
    step = 8 if rng.random() < 0.7 else 1
    top, left = (
        int(rng.integers(0, n - m + 1)) // step * step
        for n, m in zip(pixels.shape[:2], (high, wide), strict=True)
    )
    return np.ascontiguousarray(pixels[top : top + high, left : left + wide])
