"""Does a part of the picture occur twice?

Keypoints (Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004)
are matched within the picture by the generalised nearest-neighbour test of Amerini et
al., "A SIFT-based forensic method for copy-move attack detection", IEEE TIFS 2011; groups
that one similarity transform explains are searched by RANSAC and then compared pixel by
pixel, because windows, tiles and letters match as keypoints but not in their fine detail.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image.maps import luma, to_grid
from assay.analyzers.image.structure_claims import claim_of, curve_of
from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.findings import Finding, Kind, NotApplicable, Question, Where
from assay.media import Image, Media, MediaKind

__all__ = ["Copy", "CopyMove", "find_copies"]

CURVE = "copy-move-v1"

_LONG_SIDE = 800
_MOST_KEYPOINTS = 2500
_RATIO = 0.6  # of successive descriptor distances
_NEIGHBOURS = 5
_LEAST_INLIERS = 6
_TOLERANCE = 2.5  # px at the searched size
_MOST_MODELS = 6
_LOWEST_SCORE = 1.0  # below this alikeness is ordinary

_INFO = AnalyzerInfo(
    name="image.copy_move",
    version=1,
    question="Does a part of the picture occur twice?",
    media=frozenset({MediaKind.IMAGE}),
    source="Amerini et al., IEEE TIFS 2011; Lowe, IJCV 2004",
    limitations=(
        "Smooth copies (sky, sand, skin) have no keypoints and are not found.",
        "Real things that are exactly alike (windows, tiles, print, reflections) can be "
        "taken for copies.",
        f"Pictures are searched at {_LONG_SIDE} px on the longer side: small copies in large "
        "pictures are missed.",
    ),
    bears_on=frozenset({Question.LOCAL_EDIT}),
)


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """Two parts of a picture alike. ``source`` and ``target`` are keypoints [n, 2] in px of
    the picture (which of the two is the original cannot be told); ``likeness`` the
    correlation of their fine detail, -1..1; ``scale`` and ``angle`` (degrees) of the
    transform; ``score`` combines the number of points and the likeness."""

    source: NDArray[np.float32]
    target: NDArray[np.float32]
    likeness: float
    scale: float
    angle: float
    score: float


def find_copies(grey: NDArray[np.uint8]) -> tuple[Copy, ...] | None:
    """Copied parts of ``grey`` (0..255), strongest first; ``None`` if it has no keypoints."""
    import cv2

    height, width = grey.shape
    ratio = min(1.0, _LONG_SIDE / max(height, width))
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA) if ratio < 1 else grey
    picture = np.ascontiguousarray(small, np.uint8)
    if min(picture.shape) < 48:
        return None
    detector = cv2.SIFT.create(nfeatures=_MOST_KEYPOINTS, contrastThreshold=0.02)
    keypoints, descriptors = detector.detectAndCompute(picture, None)
    if descriptors is None or len(keypoints) < 2 * _LEAST_INLIERS:
        return None
    points = np.array([k.pt for k in keypoints], np.float32)
    pairs = _matches(points, np.asarray(descriptors, np.float32), max(picture.shape))
    copies: list[Copy] = []
    for _ in range(_MOST_MODELS):
        if len(pairs) < _LEAST_INLIERS:
            break
        source, target = points[pairs[:, 0]], points[pairs[:, 1]]
        cv2.setRNGSeed(0)
        fitted = cv2.estimateAffinePartial2D(
            source,
            target,
            method=cv2.RANSAC,
            ransacReprojThreshold=_TOLERANCE,
            maxIters=1500,
            confidence=0.995,
        )
        model = np.asarray(fitted[0], np.float64)  # NaN where OpenCV finds none
        chosen = np.asarray(fitted[1]).ravel() > 0
        if model.shape != (2, 3) or chosen.sum() < _LEAST_INLIERS:
            break
        found = _copy(picture, source[chosen], target[chosen], model)
        if found is not None:
            copies.append(found)
        pairs = pairs[~chosen]
    # Where a motif repeats many times, it is a pattern and not a copy.
    penalty = 1 / max(1, len(copies) - 2)
    back = [
        Copy(c.source / ratio, c.target / ratio, c.likeness, c.scale, c.angle, c.score * penalty)
        for c in copies
    ]
    return tuple(sorted(back, key=lambda c: -c.score))


class CopyMove:
    """The two parts of the picture that are most clearly copies of each other."""

    @property
    def info(self) -> AnalyzerInfo:
        return _INFO

    def analyze(self, media: Media) -> Answer:
        """See :class:`assay.analyzers.protocol.Analyzer`."""
        assert isinstance(media, Image)
        copies = find_copies(luma(media.pixels))
        if copies is None:
            return NotApplicable(
                code="no_keypoints",
                reason="The picture is too small or too smooth to search for copied parts.",
                question=Question.LOCAL_EDIT,
            )
        if not copies or copies[0].score < _LOWEST_SCORE:
            return ()
        best = copies[0]
        boxes = [_box(p, media.width, media.height) for p in (best.source, best.target)]
        grid = np.zeros((48, 48), np.float32)
        for copy in copies:
            for part in (copy.source, copy.target):
                _paint(grid, part, media.width, media.height, max(0.0, copy.likeness))
        return (
            Finding(
                code="copy_move.repeated_part",
                kind=Kind.STRUCTURE,
                claim=claim_of(best.score, CURVE),
                because=(
                    f"Two parts of the picture agree in {len(best.source)} details and "
                    f"{max(0.0, best.likeness):.0%} of their fine structure, as if one was copied "
                    "over the other place."
                ),
                question=Question.LOCAL_EDIT,
                group="local_edit",
                raw_score=best.score,
                curve=curve_of(CURVE),
                where=Where(box=boxes[1]),
                limits=_INFO.limitations,
                grid=to_grid(
                    grid,
                    "Both places of every pair of like parts, as high as they are alike; which of "
                    "the two is the copy is not known.",
                ),
                data={
                    "points": len(best.source),
                    "likeness": round(best.likeness, 3),
                    "scale": round(best.scale, 3),
                    "angle": round(best.angle, 1),
                    "other_box": [round(v, 1) for v in boxes[0]],
                    "pairs_of_parts": len(copies),
                },
            ),
        )


def _matches(
    points: NDArray[np.float32], descriptors: NDArray[np.float32], long_side: int
) -> NDArray[np.int64]:
    """Pairs [n, 2] of keypoint indices by the g2NN test, ordered left to right."""
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6))
    count = len(points)
    least = max(12.0, 0.03 * long_side)
    pairs: set[tuple[int, int]] = set()
    for start in range(0, count, 512):
        rows = np.arange(start, min(count, start + 512))
        distance = np.sqrt(np.maximum(2 - 2 * (root[rows] @ root.T), 0))
        apart = points[rows, None] - points[None]
        # Keypoints found twice at one place (orientations, scales) are no copies.
        distance[np.hypot(apart[..., 0], apart[..., 1]) < least] = 9.0
        keep = min(_NEIGHBOURS + 1, count)
        nearest = np.argpartition(distance, keep - 1, axis=1)[:, :keep]
        values = np.take_along_axis(distance, nearest, axis=1)
        order = np.argsort(values, axis=1, kind="stable")
        nearest = np.take_along_axis(nearest, order, axis=1)
        values = np.take_along_axis(values, order, axis=1)
        good = values[:, :-1] < _RATIO * values[:, 1:]
        for i, j in zip(*np.nonzero(good), strict=True):
            if values[i, j] > 0.6:
                continue
            # g2NN: everything nearer than the first large step is a match.
            for k in range(int(j) + 1):
                a, b = int(rows[i]), int(nearest[i, k])
                first, second = sorted((a, b), key=lambda n: (points[n, 0], points[n, 1], n))
                pairs.add((first, second))
    unique: dict[tuple[int, ...], tuple[int, int]] = {}
    for a, b in sorted(pairs):
        place = tuple(int(v) for v in np.rint(np.concatenate([points[a], points[b]])))
        unique.setdefault(place, (a, b))
    return np.array(list(unique.values()), np.int64).reshape(-1, 2)


def _copy(
    picture: NDArray[np.uint8],
    source: NDArray[np.float32],
    target: NDArray[np.float32],
    model: NDArray[np.float64],
) -> Copy | None:
    """Check a group of matches; ``None`` if it is degenerate."""
    scale = float(np.hypot(model[0, 0], model[1, 0]))
    angle = float(np.degrees(np.arctan2(model[1, 0], model[0, 0])))
    if not 0.4 < scale < 2.5:
        return None
    # Distinct places: many matches of one corner are one match.
    places = min(len(np.unique(np.rint(p / 4), axis=0)) for p in (source, target))
    spread = min(float(np.sqrt(np.linalg.det(np.cov(p.T) + 1e-6))) for p in (source, target))
    if places < _LEAST_INLIERS or spread < 4.0:
        return None
    likeness = _likeness(picture, target, model)
    score = float(np.log2(places) * max(0.0, likeness) ** 2)
    return Copy(source, target, likeness, scale, angle, score)


def _likeness(
    picture: NDArray[np.uint8], target: NDArray[np.float32], model: NDArray[np.float64]
) -> float:
    """Correlation of the fine detail of the target with the transformed source.

    Only within the hull of the matched points, after removing everything coarse.
    """
    import cv2

    grey = picture.astype(np.float32)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.5)
    moved = cv2.warpAffine(fine, model, (fine.shape[1], fine.shape[0]), flags=cv2.INTER_CUBIC)
    known = cv2.warpAffine(np.ones_like(fine), model, (fine.shape[1], fine.shape[0]))
    mask = np.zeros(fine.shape, np.uint8)
    hull = cv2.convexHull(target.astype(np.float32)).astype(np.int32)
    cv2.fillConvexPoly(mask, hull, 1)
    inside = (mask > 0) & (known > 0.99)
    if inside.sum() < 64:
        return 0.0
    a, b = fine[inside].astype(np.float64), moved[inside].astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / norm) if norm > 1e-6 else 0.0


def _box(points: NDArray[np.float32], width: int, height: int) -> tuple[float, float, float, float]:
    x0, y0 = np.clip(points.min(axis=0), 0, (width, height))
    x1, y1 = np.clip(points.max(axis=0), 0, (width, height))
    return float(x0), float(y0), float(x1 - x0), float(y1 - y0)


def _paint(
    grid: NDArray[np.float32],
    points: NDArray[np.float32],
    width: int,
    height: int,
    value: float,
) -> None:
    """Raise the cells inside the hull of ``points`` to ``value``."""
    import cv2

    rows, columns = grid.shape
    cells = points * np.array([columns / width, rows / height], np.float32)
    mask = np.zeros(grid.shape, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(cells.astype(np.float32)).astype(np.int32), 1)
    grid[mask > 0] = np.maximum(grid[mask > 0], value)
