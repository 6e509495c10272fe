"""Was the film made by a generator rather than by a camera?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from assay.analyzers.image import synthetic
from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.findings import Claim, Finding, Kind, NotApplicable, Question, Series
from assay.media import Media, MediaKind, Video
from assay.models import card

__all__ = ["CARD", "VideoSynthetic"]

CARD = "film-v2"
"""Calibration and points of the picture network on frames of films."""

_COUNT = 8
_LEAST_SHARE = 0.5
"""Share of the frames that must be suitable: a drawn or printed title is not the film."""

_INFO = AnalyzerInfo(
    name="video.synthetic",
    version=1,
    question="Was the film made by a generator (from text, from a picture or from another film)?",
    media=frozenset({MediaKind.VIDEO}),
    source="The network of image.synthetic on single frames, calibrated on frames of films",
    limitations=(
        "A high score means that frames resemble those of generated films that the network was "
        "trained on; upscaling and strong filters can raise it.",
        "Every frame is judged as a still picture: wrong motion alone does not raise the score.",
        "A low score does not prove that a camera took the film: new generators and strong "
        "compression may leave no trace that the network knows.",
        f"{_COUNT} frames, evenly spread, are judged; a generated scene between them is not seen.",
        "Drawn, rendered and recorded screens are not judged where they are recognised.",
    ),
    bears_on=frozenset({Question.GENERATED_IMAGE}),
    models=(synthetic.MODEL, CARD),
)


class VideoSynthetic:
    """One finding for the film: the mean score of its frames, and that of each over time."""

    @property
    def info(self) -> AnalyzerInfo:
        return _INFO

    def analyze(self, media: Media) -> Answer:
        """See :class:`assay.analyzers.protocol.Analyzer`.

        Raises:
            ModelError: the network is missing or altered, or its calibration on films is missing.
        """
        assert isinstance(media, Video)
        model = synthetic.installed()
        times: list[float] = []
        found: list[float] = []
        left: list[NotApplicable] = []
        for frame in media.frames(media.sample_times(_COUNT)):
            answer = synthetic.judge(frame.pixels, model)
            if isinstance(answer, NotApplicable):
                left.append(answer)
                continue
            times.append(frame.time or 0.0)
            found.append(answer.seen.score)
        looked = len(left) + len(found)
        if not looked:
            return NotApplicable(code="no_frames", reason="No frame of the video can be decoded.")
        if len(found) < _LEAST_SHARE * looked:
            return replace(left[0], reason=f"{len(left)} of {looked} frames: {left[0].reason}")
        scores = np.array(found)
        raw = float(scores.mean())
        claim = synthetic.claim_of(raw, card(CARD))
        return (
            Finding(
                code="synthetic.film",
                kind=Kind.MODEL,
                claim=claim,
                because=_sentence(claim, len(found)),
                question=Question.GENERATED_IMAGE,
                group="network",
                raw_score=raw,
                curve=CARD,
                model=model.ref,
                limits=_INFO.limitations[:4],
                series=Series(
                    times=tuple(times),
                    values=tuple(round(v, 4) for v in found),
                    meaning="Score (logit) of the picture network at each judged frame; higher "
                    "leans to generated.",
                ),
                data={
                    "frames_sampled": looked,
                    "frames_judged": len(found),
                    "lowest": round(float(scores.min()), 4),
                    "highest": round(float(scores.max()), 4),
                },
            ),
        )


def _sentence(claim: Claim, count: int) -> str:
    frames = f"{count} frames, judged as pictures, look"
    if claim is Claim.SYNTHETIC:
        return (
            f"{frames} to a trained network like frames of generated films; at most about one in "
            "a hundred films of cameras in its validation looked so."
        )
    if claim is Claim.AUTHENTIC:
        return (
            f"{count} frames, judged as pictures, show a trained network few of the traces that "
            "it knows of generated films."
        )
    return (
        f"{frames} to a trained network neither clearly like those of cameras nor clearly "
        "generated."
    )
