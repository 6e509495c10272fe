"""Is a face in the picture manipulated or generated?"""

from __future__ import annotations

import math
from dataclasses import asdict

from assay.analyzers.image import face_detection, face_quality, face_scoring, picture_kind
from assay.analyzers.image.face_detection import DetectedFace
from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.findings import Claim, Finding, Json, Kind, NotApplicable, Question, Where
from assay.media import Image, Media, MediaKind
from assay.models import Card

__all__ = ["Faces"]

_MOST_FACES = 24
_LEAST_SIZE = 48.0  # px, when the card states none

_INFO = AnalyzerInfo(
    name="image.faces",
    version=2,
    question="Is a face in the picture swapped, reenacted, retouched into another or generated?",
    media=frozenset({MediaKind.IMAGE}),
    source="Network of the model card; detection: Deng et al., RetinaFace, CVPR 2020",
    limitations=(
        *face_scoring.LIMITS,
        f"At most {_MOST_FACES} faces of a picture are judged, the largest first.",
        "Faces in drawings, paintings and renders are not judged where these are recognised; "
        "statues and masks are not recognised.",
    ),
    bears_on=frozenset({Question.FACE_MANIPULATION}),
    models=(face_detection.MODEL, face_scoring.MODEL, picture_kind.MODEL),
)


class Faces:
    """One finding a face: its score, or why it cannot be judged."""

    @property
    def info(self) -> AnalyzerInfo:
        return _INFO

    def analyze(self, media: Media) -> Answer:
        """See :class:`assay.analyzers.protocol.Analyzer`.

        Raises:
            ModelError: the detector, the face network or that of the picture's kind is missing
                or altered.
        """
        assert isinstance(media, Image)
        found = face_detection.detect_faces(media.pixels)
        if not found:
            return NotApplicable(
                code="no_face",
                reason="No face was found in the picture.",
                question=Question.FACE_MANIPULATION,
            )
        drawn = picture_kind.drawn(media.pixels)
        if drawn is not None:
            return NotApplicable(
                code="no_photograph",
                reason=f"{drawn}; faces are judged in photographs and films only.",
                question=Question.FACE_MANIPULATION,
            )
        model = face_scoring.installed()
        least = model.gates.get("min_face_px", _LEAST_SIZE)
        most = model.gates.get("max_turn", math.inf)
        findings: dict[int, Finding] = {}
        good: list[int] = []
        facts: list[dict[str, Json]] = []
        for i, face in enumerate(found[:_MOST_FACES]):
            quality = face_quality.measure(media.pixels, face)
            measured = {k: round(v, 3) for k, v in asdict(quality).items()}
            facts.append({**face_scoring.face_facts(face), "quality": measured})
            reason = face_quality.unsuitable(quality, least_size=least, most_turn=most)
            if reason is None:
                good.append(i)
            else:
                findings[i] = _not_judged(i, face, reason, facts[i], model)
        if good:
            crops = [face_scoring.crop(media.pixels, found[i], model) for i in good]
            logits, maps = face_scoring.score([square for square, _ in crops], model)
            for n, i in enumerate(good):
                logit = float(logits[n])
                findings[i] = Finding(
                    code="faces.manipulation",
                    kind=Kind.MODEL,
                    claim=face_scoring.claim_of(logit, model),
                    because=_sentence(face_scoring.claim_of(logit, model), i, len(found)),
                    question=Question.FACE_MANIPULATION,
                    group="faces",
                    raw_score=logit,
                    curve=model.key if model.calibration is not None else None,
                    where=Where(box=crops[n][1], face=i),
                    model=model.ref,
                    limits=(*face_scoring.LIMITS[:2], *model.limits),
                    grid=None if maps is None else face_scoring.face_grid(maps[n]),
                    data={**facts[i], "faces_found": len(found)},
                )
        answer = [findings[i] for i in sorted(findings)]
        if len(found) > _MOST_FACES:
            answer.append(_left_out(len(found)))
        return tuple(answer)


def _sentence(claim: Claim, index: int, count: int) -> str:
    who = "The face" if count == 1 else f"Face {index + 1} of {count}"
    if claim is Claim.MANIPULATED:
        return (
            f"{who} looks to a trained network like a swapped, reenacted or generated face; "
            "at most one in a hundred real faces of its validation looked so."
        )
    if claim is Claim.AUTHENTIC:
        return (
            f"{who} shows a trained network few of the traces that it knows of manipulated faces."
        )
    return f"{who} looks to a trained network neither clearly real nor clearly manipulated."


def _not_judged(
    index: int, face: DetectedFace, reason: str, facts: dict[str, Json], model: Card
) -> Finding:
    return Finding(
        code="faces.not_judged",
        kind=Kind.MODEL,
        claim=Claim.NEUTRAL,
        because=f"Face {index + 1} was not judged: {face_quality.REASONS[reason]}.",
        question=Question.FACE_MANIPULATION,
        group="faces",
        where=Where(box=face.box, face=index),
        model=model.ref,
        data={**facts, "not_applicable": reason},
    )


def _left_out(count: int) -> Finding:
    return Finding(
        code="faces.left_out",
        kind=Kind.MODEL,
        claim=Claim.NEUTRAL,
        because=(
            f"At least {count} faces were found; the {_MOST_FACES} largest were judged, "
            "the others were not."
        ),
        question=Question.FACE_MANIPULATION,
        group="faces",
        data={"faces_found": count, "faces_judged": _MOST_FACES},
    )
