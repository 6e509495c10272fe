"""Has the video been cut, frozen, looped or robbed of frames?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.analyzers.video.packets import gaps, read_packets
from assay.analyzers.video.shots import (
    MOST_FRAMES,
    FrameTable,
    cuts,
    read_frames,
    repetitions,
    stills,
)  # fmt: skip
from assay.findings import Claim, Finding, Json, Kind, NotApplicable, Question, Series, Where
from assay.media import Media, MediaKind, Video

__all__ = ["VideoEditing"]

_MOST_PIXELS = 4_000_000_000  # decoded in all: 1900 frames of 1920 x 1080, 480 of 4K
_MOST_LISTED = 200
_FREEZE_SECONDS = 0.5
_MOST_CLAIMS = 10


class VideoEditing:
    """Cuts, repeated passages, duplicated and frozen frames, gaps in the time stamps."""

    def __init__(self, most_frames: int = MOST_FRAMES) -> None:
        if most_frames < 1:
            raise ValueError("most_frames must be positive")
        self._most = most_frames

    @property
    def info(self) -> AnalyzerInfo:
        return AnalyzerInfo(
            name="video.editing",
            version=1,
            question="Has the video been cut, frozen, looped or robbed of frames?",
            media=frozenset({MediaKind.VIDEO}),
            source=(
                "Yusoff, Christmas, Kittler: Video shot cut detection using adaptive "
                "thresholding, BMVC 2000; Wang, Farid: Exposing digital forgeries in video by "
                "detecting duplication, MM&Sec 2007"
            ),
            limitations=_LIMITS,
            bears_on=frozenset({Question.VIDEO_EDIT}),
        )

    def analyze(self, media: Media) -> Answer:
        """Findings ``video.editing.*``; NotApplicable when no frame can be decoded.

        Decodes one pass of at most ``most_frames`` frames (declared in ``data``); time
        stamps are read to the end.
        """
        if not isinstance(media, Video):
            raise TypeError("video.editing looks at video")
        pixels = max(1, media.width * media.height)
        most = max(2, min(self._most, _MOST_PIXELS // pixels))
        table = read_frames(media.frames(), most, media.duration)
        if not len(table):
            return NotApplicable(
                code="no_frames", reason="No frame of the video can be decoded.",
                question=Question.VIDEO_EDIT,
            )  # fmt: skip
        if len(table) == 1:
            return NotApplicable(
                code="one_frame", reason="The video holds a single frame, which has no neighbours.",
                question=Question.VIDEO_EDIT,
            )  # fmt: skip
        return (
            _shots(table, media.duration),
            *_repeated(table),
            *_still(table),
            *_gaps(media),
        )


_LIMITS = (
    f"At most the first {MOST_FRAMES} frames are compared (1900 at 1920 x 1080); the rest of a "
    "longer video is read for its time stamps only.",
    "Cuts are the normal grammar of film. A cut within one unmoving shot, a fade or a morph is "
    "not seen.",
)


def _shots(table: FrameTable, duration: float) -> Finding:
    found = cuts(table)
    end = float(table.times[-1])
    part = f" in the first {end:.0f} of {duration:.0f} seconds" if table.cut_short else ""
    if not found:
        because = f"The video runs{part} without a visible cut."
    else:
        listed = ", ".join(f"{t:.1f}" for t, _ in found[:6])
        more = f" and {len(found) - 6} more" if len(found) > 6 else ""
        noun = "cut" if len(found) == 1 else "cuts"
        because = (
            f"The video has {len(found)} {noun}{part}, at {listed} seconds{more}. Cutting is "
            "ordinary; it matters where the video is said to be uncut."
        )
    data: dict[str, Json] = {
        "cuts": [{"time": round(t, 4), "distance": round(d, 4)} for t, d in found[:_MOST_LISTED]],
        "cut_count": len(found),
        "frames_compared": len(table),
        "seconds_compared": round(end, 3),
        "cut_short": table.cut_short,
    }
    return Finding(
        code="video.editing.cuts",
        kind=Kind.STRUCTURE,
        claim=Claim.NEUTRAL,
        because=because,
        question=Question.VIDEO_EDIT,
        group="video-cuts",
        raw_score=float(len(found)),
        limits=_LIMITS,
        series=Series(
            times=tuple(float(t) for t in table.times),
            values=tuple(round(float(d), 4) for d in table.distance),
            meaning="How unlike each frame is to the one before (0 alike, 1 unlike).",
        ),
        data=data,
    )


def _repeated(table: FrameTable) -> tuple[Finding, ...]:
    found = sorted(repetitions(table), key=lambda r: -r[2])
    out = []
    for first, copy, count in found[:_MOST_CLAIMS]:
        start, end = float(table.times[copy]), float(table.times[copy + count - 1])
        out.append(
            Finding(
                code="video.editing.repeated",
                kind=Kind.STRUCTURE,
                claim=Claim.MANIPULATED,
                because=f"The {count} frames from {start:.1f} to {end:.1f} seconds, in which "
                f"things move, equal those from {float(table.times[first]):.1f} seconds on down "
                "to the noise: the passage was copied or the video loops.",
                question=Question.VIDEO_EDIT,
                group="video-repeated",
                raw_score=float(count),
                where=Where(start=start, end=end),
                limits=(
                    "Animations, games, test patterns and slow-motion replays repeat frames "
                    "exactly without any intent to deceive.",
                    *_LIMITS[:1],
                ),
                data={
                    "original_start": round(float(table.times[first]), 4),
                    "frames": count,
                    "repetitions": len(found),
                },
            )
        )
    return tuple(out)


def _still(table: FrameTable) -> tuple[Finding, ...]:
    runs = stills(table)
    if not runs:
        return ()
    usual = float(np.median(np.diff(table.times)))
    long = [r for r in runs if (r[1] - r[0]) * usual >= _FREEZE_SECONDS]
    short = [r for r in runs if (r[1] - r[0]) * usual < _FREEZE_SECONDS]
    out = []
    if long:
        first, last = max(long, key=lambda r: r[1] - r[0])
        start, end = float(table.times[first]), float(table.times[last])
        out.append(
            Finding(
                code="video.editing.freeze",
                kind=Kind.STRUCTURE,
                claim=Claim.NEUTRAL,
                because=f"The picture stands perfectly still from {start:.1f} to {end:.1f} "
                "seconds, without even noise, while the rest moves: a frozen frame, an inserted "
                "picture or a stalled transmission.",
                question=Question.VIDEO_EDIT,
                group="video-still",
                raw_score=end - start,
                where=Where(start=start, end=end),
                limits=("Titles, slides and stalled video calls stand still, too.",),
                data={"freezes": _listed(table, long), "count": len(long)},
            )
        )
    if short:
        out.append(_duplicates(table, short))
    return tuple(out)


def _duplicates(table: FrameTable, short: list[tuple[int, int]]) -> Finding:
    count = sum(b - a for a, b in short)
    period = _period(np.diff([a for a, _ in short]))
    regular = period > 0
    first, last = short[0]
    if regular:
        because = f"Every {period} frames or so one is shown twice: the frame rate was converted."
    else:
        because = (
            f"{'One frame equals' if count == 1 else f'{count} frames equal'} the one before, "
            "first at "
            f"{float(table.times[first + 1]):.2f} seconds, though the picture moves: an overloaded "
            "recorder or encoder fills gaps this way, and so does an editor."
        )
    return Finding(
        code="video.editing.duplicates",
        kind=Kind.STRUCTURE,
        claim=Claim.NEUTRAL,
        because=because,
        question=Question.VIDEO_EDIT,
        group="video-still",
        raw_score=float(count),
        where=Where(start=float(table.times[first]), end=float(table.times[short[-1][1]]))
        if regular else Where(start=float(table.times[first]), end=float(table.times[last])),
        limits=("Frame-rate conversion and screen recording duplicate frames routinely.",),
        data={"count": count, "regular": regular, "places": _listed(table, short)},
    )  # fmt: skip


def _period(distances: NDArray[np.int64]) -> int:
    """The largest period, 3 to 12 frames, that divides four of five distances; 0 for none."""
    if len(distances) < 4:
        return 0
    fits = [p for p in range(3, 13) if (distances % p == 0).mean() >= 0.8]
    return max(fits, default=0)


def _listed(table: FrameTable, runs: list[tuple[int, int]]) -> list[Json]:
    return [
        {
            "start": round(float(table.times[a]), 4),
            "end": round(float(table.times[b]), 4),
            "frames": b - a,
        }
        for a, b in runs[:_MOST_LISTED]
    ]


def _gaps(video: Video) -> tuple[Finding, ...]:
    packets = read_packets(video.packets())
    usual, found = gaps(packets.shown)
    if not found:
        return ()
    longest_at, longest = max(found, key=lambda g: g[1])
    lost = round(longest / usual) - 1
    return (
        Finding(
            code="video.editing.time_gap",
            kind=Kind.STRUCTURE,
            claim=Claim.NEUTRAL,
            because=f"The time stamps leave out about {lost} "
            f"{'frame' if lost == 1 else 'frames'} at {longest_at:.2f} seconds"
            + (f" and some at {len(found) - 1} more places" if len(found) > 1 else "")
            + ": frames were dropped while recording or sending, or taken out.",
            question=Question.VIDEO_EDIT,
            group="video-gaps",
            raw_score=longest / usual,
            where=_within(longest_at, longest_at + longest, video.duration),
            limits=("Cameras and networks under load drop frames.",),
            data={
                "count": len(found),
                "usual_s": round(usual, 6),
                "gaps": [
                    {"time": round(t, 4), "seconds": round(s, 4)} for t, s in found[:_MOST_LISTED]
                ],
            },
        ),
    )


def _within(start: float, end: float, duration: float) -> Where:
    """Containers may declare less than their last time stamp, and stamps below zero."""
    start, end = (min(max(t, 0.0), duration) for t in (start, end))
    return Where(start=start, end=end)
