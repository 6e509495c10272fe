"""How was the video encoded, and does the stream hang together?"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.analyzers.video.packets import PacketTable, read_packets
from assay.analyzers.video.recompression import group_comb
from assay.findings import Claim, Finding, Json, Kind, NotApplicable, Question, Series
from assay.media import Media, MediaKind, Video

__all__ = ["VideoStructure"]

_MOST_POINTS = 2000
_COMB_SCORE = 5.0

_TOOLS = (
    (r"lavf|lavc|libav|ffmpeg", "FFmpeg"),
    (r"x264", "x264"),
    (r"x265", "x265"),
    (r"handbrake", "HandBrake"),
    (r"premiere|adobe", "Adobe software"),
    (r"final ?cut|imovie", "Apple editing software"),
    (r"davinci|blackmagic", "DaVinci Resolve"),
    (r"capcut|bytedance", "CapCut"),
    (r"obs[- ]studio|^obs", "OBS Studio"),
    (r"google|youtube", "Google"),
)
"""Programs named in encoder strings. That a program wrote the file says nothing against it:
platforms re-encode every upload."""


class VideoStructure:
    """Encoder, groups of pictures, sizes, frame rate and traces of an earlier compression."""

    @property
    def info(self) -> AnalyzerInfo:
        return AnalyzerInfo(
            name="video.structure",
            version=1,
            question="How was the video encoded, and does the stream hang together?",
            media=frozenset({MediaKind.VIDEO}),
            source=(
                "Wang, Farid: Exposing digital forgeries in video by detecting double MPEG "
                "compression, MM&Sec 2006; Stamm, Lin, Liu: Temporal forensics and "
                "anti-forensics for motion compensated video, IEEE TIFS 7(4), 2012"
            ),
            limitations=_LIMITS,
            bears_on=frozenset({Question.VIDEO_EDIT}),
        )

    def analyze(self, media: Media) -> Answer:
        """Findings ``video.structure.*``, all neutral; NotApplicable without any packet."""
        if not isinstance(media, Video):
            raise TypeError("video.structure looks at video")
        table = read_packets(media.packets())
        if not len(table):
            return NotApplicable(
                code="no_packets", reason="The file holds no compressed video frames.",
                question=Question.VIDEO_EDIT,
            )  # fmt: skip
        return (*_encoder(media), _groups(media, table), *_rate(table), *_earlier(table))


_LIMITS = (
    "Platforms and messengers re-encode every upload: structure tells the last encoder, seldom "
    "the first.",
    "Cutting along key frames without re-encoding can leave the structure intact.",
)


def _encoder(video: Video) -> tuple[Finding, ...]:
    strings = dict.fromkeys(
        s.strip()[:200]
        for s in (video.encoder, *(x.encoder for x in video.streams if x.kind == "video"))
        if s.strip()
    )
    if not strings:
        return ()
    text = "; ".join(strings)
    programs = [name for pattern, name in _TOOLS if re.search(pattern, text, re.IGNORECASE)]
    because = f"The file names its encoder: {text}."
    if programs:
        because += (
            f" It was last written by a program ({', '.join(programs)}), not straight by a "
            "camera; editing, converting and uploading all do that."
        )
    return (
        Finding(
            code="video.structure.encoder", kind=Kind.STRUCTURE, claim=Claim.NEUTRAL,
            because=because, limits=("The string can be altered or absent.", _LIMITS[0]),
            data={"strings": list(strings), "programs": programs},
        ),
    )  # fmt: skip


def _groups(video: Video, table: PacketTable) -> Finding:
    groups = table.groups
    inner = groups[:-1] if len(groups) > 1 else groups
    shown = table.shown
    seconds = float(shown[-1] - shown[0]) if len(shown) > 1 else 0.0
    if not table.key.any():
        say = "No frame is marked as a key frame, so the stream begins in the middle of a group."
    elif len(groups) == 1:
        say = f"The video is a single group of {groups[0]} frames with one key frame."
    elif inner.min() == inner.max():
        say = f"Key frames come every {inner[0]} frames without exception."
    else:
        say = (
            f"Key frames come every {inner.min()} to {inner.max()} frames (usually "
            f"{int(np.median(inner))}); encoders place extra ones at cuts."
        )
    rate = 8 * float(table.size.sum()) / seconds if seconds > 0 else 0.0
    data: dict[str, Json] = {
        "codec": video.codec,
        "pixel_format": video.pixel_format,
        "packets": len(table),
        "cut_short": table.cut_short,
        "key_frames": int(table.key.sum()),
        "group_median": int(np.median(inner)) if len(inner) else 0,
        "group_min": int(inner.min()) if len(inner) else 0,
        "group_max": int(inner.max()) if len(inner) else 0,
        "groups": [int(g) for g in groups[:200]],
        "reordered": table.reordered,
        "bit_rate": round(rate),
        "key_bytes": _median(table.size[table.key]),
        "other_bytes": _median(table.size[~table.key]),
    }
    return Finding(
        code="video.structure.groups", kind=Kind.STRUCTURE, claim=Claim.NEUTRAL, because=say,
        limits=_LIMITS, series=_size_series(table, video.duration), data=data,
    )  # fmt: skip


def _median(values: NDArray[np.int64]) -> int:
    return int(np.median(values)) if len(values) else 0


def _size_series(table: PacketTable, duration: float) -> Series | None:
    known = np.isfinite(table.time)
    order = np.argsort(table.time[known], kind="stable")
    times, sizes = table.time[known][order], table.size[known][order]
    if not len(times):
        return None
    every = max(1, -(-len(times) // _MOST_POINTS))
    return Series(
        # Containers may declare less than their last time stamp.
        times=tuple(min(max(float(t), 0.0), duration) for t in times[::every]),
        values=tuple(float(s) for s in sizes[::every]),
        meaning="Bytes of single compressed frames; large ones are key frames or new content.",
    )


def _rate(table: PacketTable) -> tuple[Finding, ...]:
    steps = np.diff(table.shown)
    steps = steps[steps > 0]
    if len(steps) < 8:
        return ()
    usual = float(np.median(steps))
    off = float((np.abs(steps - usual) > 0.2 * usual).mean())
    if off <= 0.05:
        return ()
    low, high = (float(v) for v in np.quantile(steps, (0.05, 0.95)))
    return (
        Finding(
            code="video.structure.variable_rate", kind=Kind.STRUCTURE, claim=Claim.NEUTRAL,
            because=f"Frames follow at uneven intervals ({1000 * low:.0f} to {1000 * high:.0f} "
            "ms), as phones and screen recorders write them; most editors write even ones.",
            limits=("Converters can keep uneven intervals or make even ones.",),
            data={"share_off": round(off, 4), "usual_s": round(usual, 6)},
        ),
    )  # fmt: skip


def _earlier(table: PacketTable) -> tuple[Finding, ...]:
    if table.reordered or not np.isfinite(table.time).all():
        return ()  # sizes of bidirectional frames have a rhythm of their own
    comb = group_comb(table.size, table.key)
    if comb is None or comb.score < _COMB_SCORE:
        return ()
    return (
        Finding(
            code="video.structure.earlier_compression",
            kind=Kind.STRUCTURE,
            claim=Claim.NEUTRAL,
            because=f"Every {comb.period} frames a frame between the key frames takes "
            f"{100 * (np.exp(comb.excess) - 1):.0f} % more bytes than its neighbours: probably the "
            "key frames of an earlier compression. The video was compressed at least twice.",
            question=Question.VIDEO_EDIT,
            group="video-recompression",
            raw_score=comb.score,
            limits=(
                "Recompression is no manipulation: every upload does it.",
                "Content with a rhythm of its own (blinking, turning) can do the same.",
            ),
            data={
                "period": comb.period,
                "phase": comb.phase,
                "teeth": comb.teeth,
                "excess_ln": round(comb.excess, 4),
            },
        ),
    )
