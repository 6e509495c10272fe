"""What do the image questions say about single frames of the video?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import cast

import numpy as np

from assay.analyzers.protocol import Analyzer, AnalyzerInfo, Answer
from assay.findings import Claim, Finding, Json, NotApplicable, Question, Series, Where
from assay.limits import Limits
from assay.media import Image, Media, MediaKind, Video

__all__ = ["DEFAULT_QUESTIONS", "VideoFrames"]

DEFAULT_QUESTIONS: tuple[str, ...] = (
    "assay.analyzers.image.spectrum:Spectrum",
    "assay.analyzers.image.noise:NoiseLevel",
)
"""``module:Class`` of the image analyzers that make sense on frames. Those that need the
file's own JPEG data do not, nor does the colour filter array, which video coding wipes out;
copy-move is left out for its time."""

_MOST_PIXELS = 4_000_000
_LEAST_SHARE = 0.5
_WORTH_SAYING = 0.25
"""Share of the frames that must bring a code up; below it is the scatter of single frames."""


@dataclass(frozen=True, slots=True)
class _Said:
    time: float
    finding: Finding


class VideoFrames:
    """Puts evenly sampled frames to image analyzers and pools what they say over time."""

    def __init__(
        self, analyzers: Sequence[Analyzer] | None = None, count: int = Limits().sampled_frames
    ) -> None:
        """``analyzers`` for images, by default those of DEFAULT_QUESTIONS; ``count`` frames."""
        if count < 1:
            raise ValueError("count must be positive")
        self._given = None if analyzers is None else tuple(analyzers)
        self._count = count

    @property
    def _analyzers(self) -> tuple[Analyzer, ...]:
        if self._given is None:
            self._given = tuple(_load(name) for name in DEFAULT_QUESTIONS)
        return self._given

    @property
    def info(self) -> AnalyzerInfo:
        infos = [a.info for a in self._analyzers]
        return AnalyzerInfo(
            name="video.frames",
            version=1,
            question="What do the image questions say about single frames of the video?",
            media=frozenset({MediaKind.VIDEO}),
            source="; ".join(dict.fromkeys(i.source for i in infos)) or "median over frames",
            limitations=_LIMITS,
            bears_on=frozenset(_asked_of_video(q) for i in infos for q in i.bears_on),
            models=tuple(dict.fromkeys(m for i in infos for m in i.models)),
        )

    def analyze(self, media: Media) -> Answer:
        """One finding ``video.frames.<code>`` for each code that a quarter of the frames raised.

        NotApplicable when no frame can be decoded or no question applies to any frame.
        """
        if not isinstance(media, Video):
            raise TypeError("video.frames looks at video")
        said: dict[str, list[_Said]] = defaultdict(list)
        asked, refused = 0, ""
        times: list[float] = []
        for frame in media.frames(media.sample_times(self._count)):
            time = frame.time if frame.time is not None else 0.0
            if times and time < times[-1]:
                continue
            asked, times = asked + 1, [*times, time]
            small, corner = _bounded(frame)
            for analyzer in self._analyzers:
                answer = analyzer.analyze(small)
                if isinstance(answer, NotApplicable):
                    refused = refused or answer.reason
                    continue
                for finding in _strongest_of_each(answer):
                    said[finding.code].append(_Said(time, _moved(finding, small, corner)))
        if not asked:
            return NotApplicable(code="no_frames", reason="No frame of the video can be decoded.")
        if not said:
            if refused:
                return NotApplicable(code="no_question_applies", reason=refused)
            return ()
        return tuple(
            _pooled(code, found, asked, media)
            for code, found in sorted(said.items())
            if len(found) >= _WORTH_SAYING * asked
        )


_LIMITS = (
    "Frames are a sample: a change that lasts less than the time between them can be missed.",
    "Image questions were calibrated on still pictures; video compression changes what they "
    "measure, so no likelihood ratio is taken over from them.",
)


def _load(name: str) -> Analyzer:
    module, _, cls = name.partition(":")
    return cast(Analyzer, getattr(import_module(module), cls)())


def _bounded(frame: Image) -> tuple[Image, tuple[int, int] | None]:
    """The frame, or its middle and where that begins, when it has over 4 million pixels.

    Cut and not shrunk: the image questions measure what resampling destroys.
    """
    if frame.width * frame.height <= _MOST_PIXELS:
        return frame, None
    scale = (_MOST_PIXELS / (frame.width * frame.height)) ** 0.5
    w, h = max(1, int(frame.width * scale)), max(1, int(frame.height * scale))
    # On the 8x8 grid of the codec, which some questions look at.
    x, y = (frame.width - w) // 2 // 8 * 8, (frame.height - h) // 2 // 8 * 8
    return replace(frame, pixels=frame.pixels[y : y + h, x : x + w], alpha=None), (x, y)


def _moved(finding: Finding, part: Image, corner: tuple[int, int] | None) -> Finding:
    """The finding with its place in the frame instead of in the part looked at."""
    if corner is None:
        return finding
    left, top, width, height = finding.where.box or (0.0, 0.0, part.width, part.height)
    box = (left + corner[0], top + corner[1], width, height)
    return replace(finding, where=replace(finding.where, box=box))


def _strongest_of_each(findings: Sequence[Finding]) -> list[Finding]:
    best: dict[str, Finding] = {}
    for f in findings:
        old = best.get(f.code)
        if old is None or (f.raw_score or 0.0) > (old.raw_score or 0.0):
            best[f.code] = f
    return list(best.values())


def _pooled(code: str, found: list[_Said], asked: int, video: Video) -> Finding:
    """The median frame speaks for the video: one odd frame in a hundred proves nothing."""
    claims = [s.finding.claim for s in found]
    usual = max(Claim, key=lambda c: (claims.count(c), c is Claim.NEUTRAL))
    share = claims.count(usual) / asked
    claim = usual if usual is not Claim.NEUTRAL and share >= _LEAST_SHARE else Claim.NEUTRAL
    scored = [s for s in found if s.finding.raw_score is not None]
    scores = [float(cast(float, s.finding.raw_score)) for s in scored]
    middle = float(np.median(scores)) if scores else None
    typical = _typical(found, claim, middle)
    held = [s.time for s in found if s.finding.claim is claim]
    start, end = held[0], held[-1]
    if video.duration > 0:
        start, end = min(start, video.duration), min(end, video.duration)
    whole = len(found) == asked and claim is Claim.NEUTRAL
    box, asked_in = typical.finding.where.box, typical.finding.question
    data: dict[str, Json] = {
        "frames_asked": asked,
        "frames_saying_so": len(found),
        "share": round(share, 4),
        "claim_in_frames": usual.value,
        "typical_time": round(typical.time, 4),
        "typical": typical.finding.data,
    }
    if scores:
        low, high = (float(v) for v in np.quantile(scores, (0.1, 0.9)))
        data |= {"score_10": round(low, 5), "score_90": round(high, 5)}
    return Finding(
        code=f"video.frames.{code}",
        kind=typical.finding.kind,
        claim=claim,
        because=f"In {len(found)} of {asked} frames looked at, typically at "
        f"{typical.time:.1f} seconds: {typical.finding.because}",
        question=None if asked_in is None else _asked_of_video(asked_in),
        group=f"video-frames-{typical.finding.group or code}",
        raw_score=middle,
        where=Where(box=box) if whole else Where(box=box, start=start, end=max(start, end)),
        model=typical.finding.model,
        limits=(*typical.finding.limits, *_LIMITS),
        grid=typical.finding.grid,
        series=Series(
            times=tuple(s.time for s in scored), values=tuple(scores),
            meaning=f"Score of {code} in single frames.",
        ) if scored else None,
        data=data,
    )  # fmt: skip


def _typical(found: list[_Said], claim: Claim, middle: float | None) -> _Said:
    """The frame of that claim whose score is nearest to the median."""
    same = [s for s in found if s.finding.claim is claim] or found
    if middle is None:
        return same[len(same) // 2]

    def distance(s: _Said) -> float:
        score = s.finding.raw_score
        return float("inf") if score is None else abs(score - middle)

    return min(same, key=distance)


def _asked_of_video(question: Question) -> Question:
    """A local edit of a frame is an edit of the video; other questions stay what they are."""
    return Question.VIDEO_EDIT if question is Question.LOCAL_EDIT else question
