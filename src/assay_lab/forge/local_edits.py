"""Local edits of photographs made by code, and the saving around them.

Untouched pictures and edits must go through the same functions of this module, or a network or a
calibration learns the saving instead of the edit.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from assay_lab.data import corruptions as c

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Rng = np.random.Generator

EDITS = ("copy_move", "splice", "removal", "retouch")
LONGEST = 768
LEAST_AREA, MOST_AREA = 0.008, 0.35
"""Shares of the picture that an edit covers."""
LEAST_CHANGE = 2.0
"""Mean change inside an edit, in levels of 0..255."""


class Edited(NamedTuple):
    """A picture [h, w, 3] and where it was changed [h, w]."""

    pixels: Pixels
    mask: Mask


def encode(pixels: Pixels, quality: int, subsampling: int = 0) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(pixels).save(out, "JPEG", quality=quality, subsampling=subsampling)
    return out.getvalue()


def decode(data: bytes) -> Pixels:
    with Pillow.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"), np.uint8)


def blob(shape: tuple[int, int], rng: Rng, most: float = 0.15) -> Mask:
    """A smooth random region of 2 % to ``most`` of the picture, less where the border cuts it."""
    height, width = shape
    area = rng.uniform(0.02, most) * height * width
    r = np.sqrt(area / np.pi)
    stretch = rng.uniform(0.7, 1.4)
    y, x = np.mgrid[0:height, 0:width]
    cy, cx = rng.uniform(r, max(r + 1, height - r)), rng.uniform(r, max(r + 1, width - r))
    angle = np.arctan2(y - cy, x - cx)
    wave = 1 + 0.2 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.1 * np.sin(5 * angle)
    inside = np.hypot((y - cy) * stretch, (x - cx) / stretch) < r * wave
    return np.asarray(inside, np.bool_)


def polygon(shape: tuple[int, int], rng: Rng) -> Mask:
    """A region with straight edges, as somebody clicks it around a thing."""
    height, width = shape
    count = int(rng.integers(3, 10))
    angle = np.sort(rng.uniform(0, 2 * np.pi, count))
    radius = rng.uniform(0.08, 0.3) * min(height, width) * rng.uniform(0.5, 1.3, count)
    cy, cx = rng.uniform(0.15, 0.85) * height, rng.uniform(0.15, 0.85) * width
    points = np.stack([cx + radius * np.cos(angle), cy + radius * np.sin(angle)], 1)
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [points.astype(np.int32)], 1)
    return mask > 0


def thing(pixels: Pixels, rng: Rng) -> Mask:
    """A region whose edges follow those of the picture, as if a thing had been cut out.

    The watershed of some random markers, of which a few neighbours are joined.
    """
    height, width = pixels.shape[:2]
    ratio = 192 / max(height, width)
    size = (max(32, round(width * ratio)), max(32, round(height * ratio)))
    small = cv2.GaussianBlur(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    count = int(rng.integers(12, 60))
    markers = np.zeros((size[1], size[0]), np.int32)
    ys, xs = rng.integers(0, size[1], count), rng.integers(0, size[0], count)
    markers[ys, xs] = np.arange(1, count + 1)
    cv2.watershed(np.ascontiguousarray(small), markers)
    start = int(rng.integers(0, count))
    near = np.argsort(np.hypot(ys - ys[start], xs - xs[start]))[: int(rng.integers(1, 6))]
    mask = np.isin(markers, near + 1).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    large = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large > 0.5, np.bool_)


def region(pixels: Pixels, rng: Rng, most: float = MOST_AREA) -> Mask:
    """A random region of ``pixels`` [h, w, 3] that covers a fair share of it."""
    shape = pixels.shape[:2]
    mask = np.zeros(shape, np.bool_)
    for _ in range(6):
        draw = rng.random()
        if draw < 0.55:
            mask = thing(pixels, rng)
        else:
            mask = polygon(shape, rng) if draw < 0.7 else blob(shape, rng)
        if LEAST_AREA <= mask.mean() <= most:
            return mask
    return blob(shape, rng, min(most, 0.15))


def _box(mask: Mask) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _placed(
    part: Pixels, mask: Mask, shape: tuple[int, int], rng: Rng, away: Mask | None = None
) -> tuple[Pixels, Mask]:
    """``part`` and its ``mask`` at a random place in an empty picture of ``shape``.

    Where ``away`` is given, of some places the one that overlaps it least.
    """
    height, width = shape
    high, wide = part.shape[:2]
    best: tuple[float, int, int] | None = None
    for _ in range(1 if away is None else 8):
        top, left = (
            int(rng.integers(min(0, n - m), max(0, n - m) + 1))
            for n, m in ((height, high), (width, wide))
        )
        cost = 0.0
        if away is not None:
            cost = float(away[max(0, top) : top + high, max(0, left) : left + wide].mean())
        if best is None or cost < best[0]:
            best = cost, top, left
    assert best is not None
    _, top, left = best
    new, inside = np.zeros((height, width, 3), np.uint8), np.zeros(shape, np.bool_)
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(height, top + high), min(width, left + wide)
    there = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    new[y0:y1, x0:x1], inside[y0:y1, x0:x1] = part[there], mask[there]
    return new, inside


def _turned(part: Pixels, mask: Mask, rng: Rng) -> tuple[Pixels, Mask]:
    """Perhaps mirrored, scaled and turned."""
    if rng.random() < 0.25:
        part, mask = part[:, ::-1], mask[:, ::-1]
    scale = float(rng.uniform(0.6, 1.5)) if rng.random() < 0.5 else 1.0
    angle = float(rng.uniform(-40, 40)) if rng.random() < 0.35 else 0.0
    if scale == 1 and not angle:
        return np.ascontiguousarray(part), np.ascontiguousarray(mask)
    high, wide = part.shape[:2]
    matrix = cv2.getRotationMatrix2D((wide / 2, high / 2), angle, scale)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = (max(8, int(high * sin + wide * cos)), max(8, int(high * cos + wide * sin)))
    matrix[:, 2] += (size[0] / 2 - wide / 2, size[1] / 2 - high / 2)
    how = c.INTERPOLATIONS[int(rng.integers(0, 3))]
    how = how if how != cv2.INTER_AREA else cv2.INTER_LINEAR
    moved = cv2.warpAffine(np.ascontiguousarray(part), matrix, size, flags=how,
                           borderMode=cv2.BORDER_REFLECT)  # fmt: skip
    inside = cv2.warpAffine(mask.astype(np.float32), matrix, size)
    return np.asarray(moved, np.uint8), inside > 0.5


def _toned(new: Pixels, mask: Mask, base: Pixels, rng: Rng) -> Pixels:
    """The material, perhaps brought nearer to the tones of where it goes, or just off."""
    draw = rng.random()
    if draw < 0.35 or not mask.any():
        return new
    values = new.astype(np.float32)
    if draw < 0.75:
        own, other = values[mask], base[mask].astype(np.float32)
        share = float(rng.uniform(0.3, 0.9))
        gain = np.clip(other.std(0) / (own.std(0) + 1), 0.6, 1.6) ** share
        shift = share * (other.mean(0) - own.mean(0))
        values = (values - own.mean(0)) * gain + own.mean(0) + shift
    else:
        values = values * rng.uniform(0.85, 1.15, 3).astype(np.float32)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _blended(base: Pixels, new: Pixels, mask: Mask, rng: Rng) -> Edited:
    """``new`` over ``base`` inside ``mask``: with a hard or a soft edge, or by Poisson's way."""
    draw = rng.random()
    if draw < 0.15:
        inner = mask.copy()
        inner[:2], inner[-2:], inner[:, :2], inner[:, -2:] = False, False, False, False
        if inner.sum() > 200:
            rows, columns = _box(inner)
            middle = ((columns.start + columns.stop) // 2, (rows.start + rows.stop) // 2)
            how = cv2.NORMAL_CLONE if rng.random() < 0.8 else cv2.MIXED_CLONE
            solved = cv2.seamlessClone(new, base, inner.astype(np.uint8) * 255, middle, how)
            # it solves for the whole box around the region
            return Edited(np.where(inner[..., None], solved, base).astype(np.uint8), inner)
    soft = mask.astype(np.float32)
    if draw > 0.5:
        soft = cv2.GaussianBlur(soft, (0, 0), float(rng.uniform(0.4, 2.5)))
    soft = soft[..., None]
    mixed = base.astype(np.float32) * (1 - soft) + new.astype(np.float32) * soft
    return Edited(np.clip(np.rint(mixed), 0, 255).astype(np.uint8), mask)


def _copy_move(base: Pixels, rng: Rng) -> Edited:
    mask = region(base, rng, 0.2)
    rows, columns = _box(mask)
    part, inside = _turned(base[rows, columns], mask[rows, columns], rng)
    new, there = _placed(part, inside, base.shape[:2], rng, mask)
    if rng.random() < 0.25:
        new = _toned(new, there, base, rng)
    return _blended(base, new, there, rng)


def _splice(base: Pixels, other: Pixels, rng: Rng) -> Edited:
    mask = region(other, rng)
    if rng.random() < 0.4:
        other = c.jpeg(other, int(rng.integers(50, 96)), subsample=rng.random() < 0.6)
    if rng.random() < 0.2:
        other = c.noise(other, float(rng.uniform(1, 5)), rng)
    rows, columns = _box(mask)
    part, inside = _turned(other[rows, columns], mask[rows, columns], rng)
    new, there = _placed(part, inside, base.shape[:2], rng)
    return _blended(base, _toned(new, there, base, rng), there, rng)


def _removal(base: Pixels, rng: Rng) -> Edited:
    """Inpainted from its border, or covered with what lies beside it and fits its border best."""
    mask = region(base, rng, 0.12)
    if rng.random() < 0.45:
        wide = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
        how = cv2.INPAINT_TELEA if rng.random() < 0.5 else cv2.INPAINT_NS
        return Edited(np.asarray(cv2.inpaint(base, wide, float(rng.uniform(2, 8)), how)), wide > 0)
    rim = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    rim &= ~mask
    values = base.astype(np.float32)
    best: tuple[float, Pixels] | None = None
    for _ in range(16):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.4) * min(base.shape[:2])
        moved = np.roll(base, (int(far * np.sin(angle)), int(far * np.cos(angle))), axis=(0, 1))
        cost = float(np.abs(moved[rim].astype(np.float32) - values[rim]).mean()) if rim.any() else 0
        if best is None or cost < best[0]:
            best = cost, moved
    assert best is not None
    return _blended(base, best[1], mask, rng)


def _retouch(base: Pixels, rng: Rng) -> Edited:
    """A part smoothed, sharpened, made noisy, brighter, of other colour, or compressed."""
    mask = region(base, rng)
    draw = int(rng.integers(0, 8))
    if draw == 0:
        new = c.blur(base, float(rng.uniform(0.8, 3)))
    elif draw == 1:
        new = c.sharpen(base, float(rng.uniform(0.8, 2)))
    elif draw == 2:
        new = c.noise(base, float(rng.uniform(3, 12)), rng, grey=rng.random() < 0.5)
    elif draw == 3:
        new = c.tone(base, float(rng.uniform(0.6, 1.5)), 0.0, float(rng.uniform(0.7, 1.4)))
    elif draw == 4:
        gains = tuple(float(v) for v in rng.uniform(0.75, 1.3, 3))
        new = c.colour(base, (gains[0], gains[1], gains[2]), float(rng.uniform(0, 2)))
    elif draw == 5:
        new = np.asarray(cv2.medianBlur(base, int(rng.choice((3, 5, 7)))))
    elif draw == 6:
        new = np.asarray(cv2.bilateralFilter(base, 9, float(rng.uniform(20, 60)), 5))
    else:
        new = c.jpeg(base, int(rng.integers(20, 60)))
    return _blended(base, np.asarray(new, np.uint8), mask, rng)


def edit(pixels: Pixels, other: Pixels, kind: str, rng: Rng) -> Edited:
    """A copy of ``pixels`` with one local edit of ``EDITS``; splices take from ``other``.

    Tried again, some times, until it covers a fair share of the picture and changes it visibly.

    Raises:
        ValueError: there is no such kind of edit.
    """
    if kind not in EDITS:
        raise ValueError(f"no kind of edit: {kind}")
    for _ in range(8):
        if kind == "copy_move":
            made = _copy_move(pixels, rng)
        elif kind == "splice":
            made = _splice(pixels, other, rng)
        elif kind == "removal":
            made = _removal(pixels, rng)
        else:
            made = _retouch(pixels, rng)
        if LEAST_AREA <= made.mask.mean() <= MOST_AREA:
            change = cv2.absdiff(made.pixels, pixels)[made.mask].mean()
            if change > LEAST_CHANGE:
                break
    return made


def finished(pixels: Pixels, rng: Rng) -> Pixels:
    """What happens to a picture after the last edit, and to one without: scaling and saving.

    The same state of ``rng`` treats two pictures of one size alike.
    """
    draw = rng.random(6)
    if draw[0] < 0.3:
        down = c.INTERPOLATIONS[int(draw[2] * 4)]
        pixels = c.resize(pixels, float(0.55 + 0.4 * draw[1]), down=down)
    elif draw[0] < 0.4:
        pixels = c.sharpen(pixels, float(0.2 + 0.4 * draw[1]))
    if draw[3] < 0.8:
        return c.jpeg(pixels, int(60 + 38 * draw[4]), subsample=draw[5] < 0.6)
    return c.webp(pixels, int(70 + 26 * draw[4])) if draw[3] < 0.88 else pixels


def prepared(data: bytes, rng: Rng) -> Pixels:
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
