"""Is a face in the video manipulated or generated?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image import face_detection, face_quality, face_scoring
from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.analyzers.video.face_tracks import Sighting, Track, follow
from assay.findings import Claim, Finding, Json, Kind, NotApplicable, Question, Series, Where
from assay.limits import Limits
from assay.media import Media, MediaKind, Video
from assay.models import Card

__all__ = ["VideoFaces", "trimmed_mean"]

_PER_TRACK = 16  # faces of one track put to the network
_MOST_TRACKS = 12
_LEAST_SIZE = 48.0  # px, when the card states none
_TRIM = 0.2  # share of the lowest and of the highest scores left out

_INFO = AnalyzerInfo(
    name="video.faces",
    version=1,
    question="Is the face of a person in the video swapped, reenacted or generated?",
    media=frozenset({MediaKind.VIDEO}),
    source="Network of the model card; detection: Deng et al., RetinaFace, CVPR 2020",
    limitations=(
        *face_scoring.LIMITS,
        "Frames are sampled evenly; a manipulation between two samples is not seen. In long "
        "videos samples lie far apart, and two people of like look may be taken for one.",
        "Every frame is judged as a still picture: wrong motion alone does not raise the score.",
        f"At most {_MOST_TRACKS} people are judged, those seen in most frames first.",
    ),
    bears_on=frozenset({Question.FACE_MANIPULATION}),
    models=(face_detection.MODEL, face_scoring.MODEL),
)


class VideoFaces:
    """One finding a track: its score over time, or why it cannot be judged.

    ``frames`` is the number of sampled frames; ``None`` takes ``Limits.sampled_frames``.
    """

    def __init__(self, frames: int | None = None) -> None:
        self._frames = Limits().sampled_frames if frames is None else frames

    @property
    def info(self) -> AnalyzerInfo:
        return _INFO

    def analyze(self, media: Media) -> Answer:
        """See :class:`assay.analyzers.protocol.Analyzer`.

        Raises:
            ModelError: the detector or the face network is missing or altered.
        """
        assert isinstance(media, Video)
        model = face_scoring.installed()
        tracks, looked, cuts = follow(
            media.frames(media.sample_times(self._frames)),
            lambda pixels, face: face_scoring.crop(pixels, face, model),
            spacing=media.duration / self._frames,
        )
        # A single sighting among many frames is more often a false detection than a person.
        least = 2 if looked >= 8 else 1
        kept = [t for t in tracks if len(t.sightings) >= least]
        if not kept and 3 * len(tracks) >= looked:
            kept = tracks  # every sample shows somebody else: too many to be false detections
        if not kept:
            return NotApplicable(
                code="no_face",
                reason=f"No face was found in {looked} sampled frames.",
                question=Question.FACE_MANIPULATION,
            )
        longest = sorted(range(len(kept)), key=lambda i: (-len(kept[i].sightings), i))
        judged = sorted(longest[:_MOST_TRACKS])
        facts: dict[str, Json] = {
            "frames_sampled": looked,
            "tracks_found": len(kept),
            "cuts": [round(t, 3) for t in cuts[:100]],
        }
        return tuple(_judge(i, kept[i], model, facts) for i in judged)


def _judge(index: int, track: Track, model: Card, facts: dict[str, Json]) -> Finding:
    least = model.gates.get("min_face_px", _LEAST_SIZE)
    most = model.gates.get("max_turn", math.inf)
    reasons = [
        face_quality.unsuitable(s.quality, least_size=least, most_turn=most)
        for s in track.sightings
    ]
    good = [s for s, reason in zip(track.sightings, reasons, strict=True) if reason is None]
    data: dict[str, Json] = {
        **facts,
        "sightings": len(track.sightings),
        "suitable": len(good),
    }
    if not good:
        return _not_judged(index, track, [r for r in reasons if r is not None], model, data)
    chosen = _spread(good, _PER_TRACK)
    logits, maps = face_scoring.score([s.crop for s in chosen], model)
    pooled = trimmed_mean(logits)
    best = max(range(len(chosen)), key=lambda i: (_clarity(chosen[i]), -i))
    claim = face_scoring.claim_of(pooled, model)
    return Finding(
        code="faces.track",
        kind=Kind.MODEL,
        claim=claim,
        because=_sentence(index, claim, len(chosen), track),
        question=Question.FACE_MANIPULATION,
        group="faces",
        raw_score=pooled,
        curve=model.key if model.calibration is not None else None,
        where=Where(box=chosen[best].square, start=track.start, end=track.end, track=index),
        model=model.ref,
        limits=(*_INFO.limitations[:2], *_INFO.limitations[3:5], *model.limits),
        grid=None if maps is None else face_scoring.face_grid(maps[best]),
        series=Series(
            times=tuple(s.time for s in chosen),
            values=tuple(float(v) for v in logits),
            meaning="Score (logit) of the face network at each judged frame; above 0 leans to "
            "manipulated.",
        ),
        data={
            **data,
            **face_scoring.face_facts(chosen[best].face),
            "box_time": round(chosen[best].time, 3),
            "lowest": round(float(logits.min()), 4),
            "highest": round(float(logits.max()), 4),
        },
    )


def trimmed_mean(values: NDArray[np.float32]) -> float:
    """Mean without the lowest and the highest fifth (rounded down) of ``values``."""
    ordered = np.sort(values.astype(np.float64))
    cut = int(_TRIM * len(ordered))
    return float(ordered[cut : len(ordered) - cut].mean())


def _spread(sightings: Sequence[Sighting], count: int) -> list[Sighting]:
    """Up to ``count`` sightings, one out of each of as many equal stretches: the clearest."""
    if len(sightings) <= count:
        return list(sightings)
    edges = [round(i * len(sightings) / count) for i in range(count + 1)]
    return [max(sightings[a:b], key=lambda s: (_clarity(s), -s.time)) for a, b in pairwise(edges)]


def _clarity(sighting: Sighting) -> float:
    quality = sighting.quality
    frontal = max(0.1, 1 - abs(quality.yaw) / 90)
    return min(quality.size, 224.0) * min(quality.sharpness, 0.5) * frontal * quality.coverage


def _sentence(index: int, claim: Claim, count: int, track: Track) -> str:
    who = f"Person {index + 1} ({track.start:.1f} to {track.end:.1f} s, {count} frames judged)"
    if claim is Claim.MANIPULATED:
        return f"{who} looks to a trained network like a swapped, reenacted or generated face."
    if claim is Claim.AUTHENTIC:
        return f"{who} shows a trained network few of the traces it knows of manipulated faces."
    return f"{who} looks to a trained network neither clearly real nor clearly manipulated."


def _not_judged(
    index: int, track: Track, reasons: Sequence[str], model: Card, data: dict[str, Json]
) -> Finding:
    counts = Counter(reasons)
    reason = min(counts, key=lambda r: (-counts[r], r))
    biggest = max(track.sightings, key=lambda s: (s.face.size, -s.time))
    return Finding(
        code="faces.not_judged",
        kind=Kind.MODEL,
        claim=Claim.NEUTRAL,
        because=f"Person {index + 1} was not judged: {face_quality.REASONS[reason]}.",
        question=Question.FACE_MANIPULATION,
        group="faces",
        where=Where(box=biggest.face.box, start=track.start, end=track.end, track=index),
        model=model.ref,
        data={**data, **face_scoring.face_facts(biggest.face), "not_applicable": reason},
    )
