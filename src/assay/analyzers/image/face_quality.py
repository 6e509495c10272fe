"""Whether a face is good enough to be judged, and if not, why.

Everything here is measured on the picture and the five landmarks; nothing is an opinion
on authenticity. Pose comes from a scaled-orthographic fit of a mean head to the
landmarks (DeMenthon and Davis, "Model-based object pose in 25 lines of code", 1995).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image.face_detection import DetectedFace

__all__ = ["REASONS", "FaceQuality", "measure", "pose", "unsuitable"]

REASONS = {
    "face_too_small": "the face is too small",
    "face_blurred": "the face is too blurred",
    "face_too_dark": "the face is too dark",
    "face_overexposed": "the face is overexposed",
    "face_in_profile": "the face is turned away",
    "face_cut_off": "too much of the face lies outside the picture",
}
"""Code of each reason why a face is not judged, with its plain words."""

# Mean head in mm: x to the right of the picture, y down, z towards the camera.
_HEAD = np.array(
    [[-31.5, -36, 0], [31.5, -36, 0], [0, 0, 28], [-26, 37, 6], [26, 37, 6]], np.float64
)
_NORMAL_SIDE = 96  # px at which sharpness is compared


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceQuality:
    """Measurements of one face.

    ``size``: longer side of the box, px. ``sharpness``: standard deviation of the
    Laplacian over that of the brightness, at 96 px (about 0.1 very blurred, 1 sharp).
    ``brightness``: median luma 0..255. ``dark`` and ``bright``: share of pixels with
    luma below 16 and above 250. ``yaw``, ``pitch``, ``roll``: degrees, 0 = frontal and
    upright, positive = turned towards the right of the picture, upwards, clockwise.
    ``turn``: sideways distance of the nose from between the eyes, in eye distances.
    ``coverage``: share of the square around the face that lies in the picture, 0..1.
    """

    size: float
    sharpness: float
    brightness: float
    dark: float
    bright: float
    yaw: float
    turn: float
    pitch: float
    roll: float
    coverage: float


def measure(pixels: NDArray[np.uint8], face: DetectedFace) -> FaceQuality:
    """Measure ``face`` in ``pixels`` (uint8 RGB [height, width, 3])."""
    import cv2

    height, width = pixels.shape[:2]
    left, top, wide, high = face.box
    x0, y0 = max(0, math.floor(left)), max(0, math.floor(top))
    x1, y1 = min(width, math.ceil(left + wide)), min(height, math.ceil(top + high))
    cut = pixels[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    ratio = min(1.0, _NORMAL_SIDE / max(cut.shape[:2]))
    shape = (max(1, round(cut.shape[1] * ratio)), max(1, round(cut.shape[0] * ratio)))
    small = cv2.resize(cut, shape, interpolation=cv2.INTER_AREA).astype(np.float32)
    luma = small @ np.array([0.299, 0.587, 0.114], np.float32)
    spread = float(luma.std())
    edges = cv2.Laplacian(luma, cv2.CV_32F)
    yaw, pitch, roll = pose(face.landmarks)
    return FaceQuality(
        size=face.size,
        sharpness=float(edges.std()) / spread if spread > 1e-3 else 0.0,
        brightness=float(np.median(luma)),
        dark=float((luma < 16).mean()),
        bright=float((luma > 250).mean()),
        yaw=yaw,
        turn=_turn(face.landmarks),
        pitch=pitch,
        roll=roll,
        coverage=_coverage(face, width, height),
    )


def unsuitable(
    quality: FaceQuality, *, least_size: float, most_turn: float = math.inf
) -> str | None:
    """Code of the first reason (see :data:`REASONS`) not to judge a face, or ``None``.

    ``least_size`` is the smallest face the network was validated on, px, and ``most_turn``
    the largest ``turn``. The other
    bounds are wide: they catch faces in which a person could not see much either.
    """
    if quality.size < least_size:
        return "face_too_small"
    if quality.coverage < 0.6:
        return "face_cut_off"
    if quality.brightness < 20 or quality.dark > 0.7:
        return "face_too_dark"
    if quality.brightness > 250 or quality.bright > 0.5:
        return "face_overexposed"
    if abs(quality.yaw) > 65 or quality.turn > most_turn:
        return "face_in_profile"
    if quality.sharpness < 0.08:
        return "face_blurred"
    return None


def pose(landmarks: NDArray[np.float32]) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees from five landmarks [5, 2] (see :class:`FaceQuality`).

    Good to about ten degrees near the front; only the order of size beyond 45.
    """
    points = landmarks.astype(np.float64)
    head = _HEAD - _HEAD.mean(axis=0)
    affine = np.linalg.lstsq(head, points - points.mean(axis=0), rcond=None)[0].T
    scale = math.sqrt(float(np.linalg.norm(affine[0]) * np.linalg.norm(affine[1])))
    if not math.isfinite(scale) or scale < 1e-9:
        return 0.0, 0.0, 0.0
    # Nearest rotation: the fit alone does not make the two rows orthonormal.
    rows = affine / scale
    u, _, vt = np.linalg.svd(np.vstack([rows, np.cross(rows[0], rows[1])]))
    rotation = u @ np.diag([1.0, 1.0, float(np.sign(np.linalg.det(u @ vt)))]) @ vt
    yaw = math.degrees(math.asin(float(np.clip(rotation[0, 2], -1, 1))))
    pitch = math.degrees(math.atan2(-rotation[1, 2], rotation[2, 2]))
    roll = math.degrees(math.atan2(-rotation[0, 1], rotation[0, 0]))
    return yaw, pitch, roll


def _turn(landmarks: NDArray[np.float32]) -> float:
    """As the lab measures it when it sets the gate: sideways, whatever the roll."""
    points = np.asarray(landmarks, np.float64)
    eyes = float(np.hypot(*(points[1] - points[0])))
    return float(abs(points[2, 0] - points[:2, 0].mean()) / max(eyes, 1.0))


def _coverage(face: DetectedFace, width: int, height: int) -> float:
    """How much of the head is in the picture, judged from the landmarks.

    The detector's box ends at the edge of the picture, hence tells nothing about what
    is missing; a square of 2.2 distances between eyes and mouth around the points does.
    """
    points = face.landmarks.astype(np.float64)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    half = 1.1 * max(float(np.linalg.norm(mouth - eyes)), 1e-3)
    x, y = (eyes + mouth) / 2
    wide = min(x + half, width) - max(x - half, 0.0)
    high = min(y + half, height) - max(y - half, 0.0)
    return float(max(wide, 0.0) * max(high, 0.0) / (4 * half * half))
