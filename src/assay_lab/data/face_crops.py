"""From a picture to the crop of a face as the lab stores it."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image.face_detection import detect_faces

Image = NDArray[np.uint8]

STORED_MARGIN = 1.5  # picture kept around a detector box, in sides of the box
STORED_SIDE = 320
LEAST_BOX = 72


class Face(NamedTuple):
    """A detector's answer in pixels: box x0 y0 x1 y1, five points as 10 numbers, score."""

    box: tuple[float, float, float, float]
    points: tuple[float, ...]
    score: float


def find_faces(rgb: Image, *, least: float = 0.7, fine: bool = False) -> list[Face]:
    """The product's own detector: boxes and points in pixels of ``rgb``, largest first."""
    return [
        Face(
            (f.box[0], f.box[1], f.box[0] + f.box[2], f.box[1] + f.box[3]),
            tuple(float(v) for v in f.landmarks.ravel()),
            f.score,
        )
        for f in detect_faces(rgb, min_score=least, fine=fine)
    ]


def decode(data: bytes) -> Image | None:
    """RGB pixels, or None when the bytes are no picture that OpenCV reads."""
    if not data:  # which OpenCV takes for an error of the caller
        return None
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if bgr is None else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8)


def cut(rgb: Image, face: Face) -> tuple[bytes, list[float], list[float]]:
    """Square around the face, at most STORED_SIDE px, as JPEG 95 4:4:4; box and points in it."""
    x0, y0, x1, y1 = face.box
    side = STORED_MARGIN * max(x1 - x0, y1 - y0)
    h, w = rgb.shape[:2]
    side = min(side, h, w)
    left = float(np.clip((x0 + x1 - side) / 2, 0, w - side))
    top = float(np.clip((y0 + y1 - side) / 2, 0, h - side))
    a, b, s = round(left), round(top), int(side)
    piece: Any = rgb[b : b + s, a : a + s]
    scale = min(1.0, STORED_SIDE / s)
    if scale < 1:
        piece = cv2.resize(piece, (STORED_SIDE, STORED_SIDE), interpolation=cv2.INTER_AREA)
    shift = np.array([a, b])
    box = (np.array(face.box).reshape(2, 2) - shift) * scale
    points = (np.array(face.points).reshape(-1, 2) - shift) * scale
    ok, data = cv2.imencode(
        ".jpg",
        cv2.cvtColor(piece, cv2.COLOR_RGB2BGR),
        [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111],
    )
    if not ok:
        raise ValueError("cannot encode")
    return data.tobytes(), list(box.ravel()), list(points.ravel())
