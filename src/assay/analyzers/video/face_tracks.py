"""Follows faces through sampled frames of a video.

Sampled frames lie a fraction of a second apart, in long videos many seconds. A face is
followed by place (overlap of boxes, distance of landmarks) *and* by look (a small colour
histogram), and never across a cut, where another face may stand at the old place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image.face_detection import DetectedFace, detect_faces, overlap
from assay.analyzers.image.face_quality import FaceQuality, measure
from assay.media import Image

__all__ = ["Cropper", "Sighting", "Track", "follow", "likeness", "look"]

Cropper = Callable[
    [NDArray[np.uint8], DetectedFace], tuple[NDArray[np.uint8], tuple[float, float, float, float]]
]

_MOST_FACES = 8  # a frame
_CUT = 0.6  # likeness of two frames below which a cut lies between them
_LIKE = 0.5  # least likeness of a face to its track
_LONGEST_GAP = 2.0  # seconds a face may be unseen and still be the same track
_STEPS = 1.6  # the same in distances of samples, where those lie further apart
_FAR = 0.8  # distance of two faces in sizes of the face beyond which they are two
_GROWTH = 1.7  # change of size beyond which they are two


@dataclass(slots=True, eq=False, kw_only=True)
class Sighting:
    """One face in one frame; ``crop`` and ``square`` are what the network will see."""

    time: float
    face: DetectedFace
    quality: FaceQuality
    look: NDArray[np.float32]
    crop: NDArray[np.uint8]
    square: tuple[float, float, float, float]


@dataclass(slots=True, eq=False)
class Track:
    """Sightings of one face in the order of time."""

    sightings: list[Sighting] = field(default_factory=list)

    @property
    def start(self) -> float:
        return self.sightings[0].time

    @property
    def end(self) -> float:
        return self.sightings[-1].time


def follow(
    frames: Iterable[Image], cropper: Cropper, *, spacing: float = 0.0
) -> tuple[list[Track], int, tuple[float, ...]]:
    """Tracks by first sighting, the number of frames looked at, and the times of cuts.

    ``spacing``: seconds between two samples. In a long video it exceeds the time a face may
    be out of sight, and would otherwise end every track after one sighting.
    """
    gap = max(_LONGEST_GAP, _STEPS * spacing)
    done: list[Track] = []
    open_: list[Track] = []
    cuts: list[float] = []
    before: NDArray[np.float32] | None = None
    count = 0
    for frame in frames:
        count += 1
        time = frame.time or 0.0
        now = look(frame.pixels)
        if before is not None and likeness(before, now) < _CUT:
            cuts.append(time)
            done.extend(open_)
            open_ = []
        before = now
        ended = [t for t in open_ if time - t.end > gap]
        done.extend(ended)
        open_ = [t for t in open_ if time - t.end <= gap]
        _assign(open_, _sightings(frame, time, cropper))
    tracks = done + open_
    tracks.sort(key=lambda t: (t.start, t.sightings[0].face.box))
    return tracks, count, tuple(cuts)


def look(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colour histogram [64] (four steps a channel), smoothed by area-averaging, sum 1."""
    import cv2

    small = np.asarray(cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA), np.uint8)
    index = (small >> 6).astype(np.int64) @ np.array([16, 4, 1])
    counts = np.bincount(index.ravel(), minlength=64).astype(np.float32)
    return np.asarray(counts / counts.sum(), np.float32)


def likeness(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Bhattacharyya coefficient of two histograms, 0..1."""
    return float(np.sqrt(a * b).sum())


def _sightings(frame: Image, time: float, cropper: Cropper) -> list[Sighting]:
    result = []
    for face in detect_faces(frame.pixels, max_faces=_MOST_FACES, fine=False):
        left, top, wide, high = face.box
        inner = frame.pixels[int(top) : int(top + high) + 1, int(left) : int(left + wide) + 1]
        crop, square = cropper(frame.pixels, face)
        result.append(
            Sighting(
                time=time,
                face=face,
                quality=measure(frame.pixels, face),
                look=look(inner),
                crop=crop,
                square=square,
            )
        )
    return result


def _assign(tracks: list[Track], found: list[Sighting]) -> None:
    """Append each sighting to the best free track, best pairs first, or open a new one."""
    pairs = [
        (worth, i, j)
        for i, track in enumerate(tracks)
        for j, sighting in enumerate(found)
        if (worth := _worth(track.sightings[-1], sighting)) is not None
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    used_tracks: set[int] = set()
    used_found: set[int] = set()
    for _, i, j in pairs:
        if i not in used_tracks and j not in used_found:
            tracks[i].sightings.append(found[j])
            used_tracks.add(i)
            used_found.add(j)
    tracks.extend(Track([s]) for j, s in enumerate(found) if j not in used_found)


def _worth(last: Sighting, new: Sighting) -> float | None:
    """How well ``new`` continues ``last``; ``None`` if it cannot."""
    size = (last.face.size + new.face.size) / 2
    growth = max(last.face.size, new.face.size) / max(1.0, min(last.face.size, new.face.size))
    distance = float(np.abs(last.face.landmarks - new.face.landmarks).mean()) / max(size, 1.0)
    like = likeness(last.look, new.look)
    if growth > _GROWTH or distance > _FAR or like < _LIKE:
        return None
    return overlap(last.face.box, new.face.box) - distance + like
