"""Finds faces and five landmarks each in a picture.

The network is RetinaFace with a MobileNet-0.25 backbone (Deng et al., "RetinaFace:
Single-shot Multi-level Face Localisation in the Wild", CVPR 2020). Around it: letterbox
with an anti-alias filter, a second, finer look at large pictures, overlapping windows
over very long ones, and one more look at a padded copy when nothing is found, because a
crop filled by one face lies outside the sizes the network was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from assay.models.runtime import run

__all__ = ["MODEL", "DetectedFace", "detect_faces", "overlap"]

MODEL = "face-detector-v1"

_STRIDES = (8, 16, 32)
_ANCHORS = ((16.0, 32.0), (64.0, 128.0), (256.0, 512.0))  # px, two a cell at each stride
_CENTRE_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2
_MEAN_BGR = np.array([104.0, 117.0, 123.0], np.float32)
_COARSE, _FINE = 640, 1792  # long side of the picture the network sees, px
_SAME_FACE = 0.4  # intersection over union above which two boxes are one face
_INSIDE = 0.8  # share of the smaller box inside the larger above which they are one face
_MAX_CANDIDATES = 2000
_MAX_WINDOWS = 8


@dataclass(frozen=True, slots=True, eq=False)
class DetectedFace:
    """One face. ``box`` is (left, top, width, height) in pixels within the picture;
    ``landmarks`` is float32 [5, 2] in pixels (x, y): eye and mouth corner on the left of
    the picture come before those on the right, in the order eye, eye, nose, mouth, mouth;
    ``score`` is the network's confidence, 0..1 (not a calibrated probability)."""

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32]
    score: float

    @property
    def size(self) -> float:
        """Longer side of the box, pixels."""
        return max(self.box[2], self.box[3])


def detect_faces(
    pixels: NDArray[np.uint8], *, min_score: float = 0.7, max_faces: int = 64, fine: bool = True
) -> tuple[DetectedFace, ...]:
    """Faces in ``pixels`` (uint8 RGB [height, width, 3]), largest first.

    ``fine=False`` leaves out the second look at large pictures (about eight times
    faster; faces below about 1/30 of the longer side are then missed). At most
    ``max_faces`` are returned.

    Raises:
        ModelError: the detector is not installed or altered.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < 8:
        return ()
    found: list[NDArray[np.float32]] = []
    for left, top, right, bottom in _windows(width, height):
        part = pixels[top:bottom, left:right]
        rows = [_look(part, _COARSE, min_score)]
        if fine and max(part.shape[:2]) > 1.5 * _COARSE:
            close = _look(part, _FINE, min_score)
            # Large faces come apart at this scale, and the coarse look has seen them.
            side = np.maximum(close[:, 3] - close[:, 1], close[:, 4] - close[:, 2])
            rows.append(close[side < max(part.shape[:2]) / 4])
        found.extend(row + _offset(left, top) for row in rows)
    rows_all = _suppress(np.concatenate(found))
    if not len(rows_all):
        rows_all = _look_padded(pixels, min_score)
    faces = [_face(row, width, height) for row in rows_all]
    kept = [face for face in faces if face.box[2] >= 2 and face.box[3] >= 2]
    kept.sort(key=lambda face: (-face.size, face.box))
    return tuple(kept[:max_faces])


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Intersection over union of two (left, top, width, height) boxes, 0..1."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    both = wide * high
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def _windows(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """The whole picture, or overlapping windows along the long side of a very long one."""
    short, long = min(width, height), max(width, height)
    if long <= 2.5 * short:
        return [(0, 0, width, height)]
    length = max(2 * short, -(-long // (_MAX_WINDOWS - 2)))
    step = max(1, length - length // 4)
    starts = list(range(0, max(1, long - length + 1), step))
    if starts[-1] + length < long:
        starts.append(long - length)
    if width >= height:
        return [(s, 0, min(s + length, width), height) for s in starts]
    return [(0, s, width, min(s + length, height)) for s in starts]


def _offset(left: float, top: float) -> NDArray[np.float32]:
    """What moves a row (score, x0, y0, x1, y1, five points) by (left, top)."""
    return np.array([0.0, *(left, top) * 7], np.float32)


def _look(pixels: NDArray[np.uint8], long_side: int, min_score: float) -> NDArray[np.float32]:
    """One pass at ``long_side``; rows (score, x0, y0, x1, y1, x, y * 5) in ``pixels``' frame."""
    import cv2

    height, width = pixels.shape[:2]
    ratio = min(1.0, long_side / max(height, width))
    w, h = max(1, round(width * ratio)), max(1, round(height * ratio))
    seen = (
        pixels
        if (w, h) == (width, height)
        else cv2.resize(pixels, (w, h), interpolation=cv2.INTER_AREA)
    )
    # The padding is zero after subtraction of the mean: neither edge nor texture.
    canvas = np.zeros((1, 3, -(-h // 32) * 32, -(-w // 32) * 32), np.float32)
    canvas[0, :, :h, :w] = (seen[..., ::-1].astype(np.float32) - _MEAN_BGR).transpose(2, 0, 1)
    rows = _candidates(canvas, min_score)
    rows[:, 1::2] *= width / w
    rows[:, 2::2] *= height / h
    return rows


def _look_padded(pixels: NDArray[np.uint8], min_score: float) -> NDArray[np.float32]:
    """A last look with a border of half the picture, so that a filling face gets small."""
    import cv2

    height, width = pixels.shape[:2]
    ratio = min(1.0, _COARSE / 2 / max(height, width))
    if ratio < 1.0:
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    h, w = pixels.shape[:2]
    y, x = h // 2, w // 2
    padded = np.empty((h + 2 * y, w + 2 * x, 3), np.uint8)
    padded[:] = _MEAN_BGR[::-1].astype(np.uint8)
    padded[y : y + h, x : x + w] = pixels
    rows = _look(padded, _COARSE, min_score) + _offset(-x, -y)
    rows[:, 1::2] *= width / w
    rows[:, 2::2] *= height / h
    # What lies mostly in the border is not a face of this picture.
    centre_x, centre_y = (rows[:, 1] + rows[:, 3]) / 2, (rows[:, 2] + rows[:, 4]) / 2
    inside = (centre_x > 0) & (centre_x < width) & (centre_y > 0) & (centre_y < height)
    return _suppress(rows[inside])


def _candidates(canvas: NDArray[np.float32], min_score: float) -> NDArray[np.float32]:
    """Network output as rows in pixels of ``canvas``, the most confident first."""
    output = run(MODEL, {"input": canvas})
    scores = output["conf"][0, :, 1]
    chosen = np.flatnonzero(scores >= min_score)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")][:_MAX_CANDIDATES]
    anchors = _anchors(canvas.shape[2], canvas.shape[3])[chosen]
    centres, sizes = anchors[:, :2], anchors[:, 2:]
    boxes = output["loc"][0, chosen]
    middle = centres + boxes[:, :2] * _CENTRE_VARIANCE * sizes
    # A hostile picture must not overflow the exponential.
    half = sizes * np.exp(np.clip(boxes[:, 2:] * _SIZE_VARIANCE, -4.0, 4.0)) / 2
    points = output["landmarks"][0, chosen].reshape(-1, 5, 2)
    marks = centres[:, None] + points * _CENTRE_VARIANCE * sizes[:, None]
    return np.concatenate(
        [scores[chosen, None], middle - half, middle + half, marks.reshape(-1, 10)], axis=1
    ).astype(np.float32)


@lru_cache(maxsize=16)
def _anchors(height: int, width: int) -> NDArray[np.float32]:
    """Anchor boxes [n, 4] as centre x, centre y, width, height in pixels of the canvas."""
    parts = []
    for stride, sides in zip(_STRIDES, _ANCHORS, strict=True):
        rows, columns = -(-height // stride), -(-width // stride)
        y, x = np.mgrid[0:rows, 0:columns]
        grid = np.empty((rows, columns, len(sides), 4), np.float32)
        grid[..., 0] = ((x + 0.5) * stride)[..., None]
        grid[..., 1] = ((y + 0.5) * stride)[..., None]
        grid[..., 2] = grid[..., 3] = np.array(sides, np.float32)
        parts.append(grid.reshape(-1, 4))
    anchors = np.concatenate(parts)
    anchors.setflags(write=False)
    return anchors


def _suppress(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Greedy non-maximum suppression, best score first."""
    rows = rows[np.argsort(-rows[:, 0], kind="stable")]
    areas = (rows[:, 3] - rows[:, 1]) * (rows[:, 4] - rows[:, 2])
    kept: list[int] = []
    alive = np.ones(len(rows), bool)
    for i in range(len(rows)):
        if not alive[i]:
            continue
        kept.append(i)
        wide = np.minimum(rows[i, 3], rows[:, 3]) - np.maximum(rows[i, 1], rows[:, 1])
        high = np.minimum(rows[i, 4], rows[:, 4]) - np.maximum(rows[i, 2], rows[:, 2])
        both = np.maximum(wide, 0) * np.maximum(high, 0)
        alive &= both <= _SAME_FACE * (areas[i] + areas - both)
        alive &= both <= _INSIDE * np.minimum(areas[i], areas)
    return rows[kept]


def _face(row: NDArray[np.float32], width: int, height: int) -> DetectedFace:
    x0, x1 = (float(v) for v in np.clip(row[[1, 3]], 0, width))
    y0, y1 = (float(v) for v in np.clip(row[[2, 4]], 0, height))
    marks = row[5:].reshape(5, 2).copy()
    marks.setflags(write=False)
    return DetectedFace((x0, y0, x1 - x0, y1 - y0), marks, float(min(1.0, row[0])))
