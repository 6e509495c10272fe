"""A video, read lazily."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.media.audio import Audio
    from assay.media.image import Image
    from assay.media.source import Source

__all__ = ["Packet", "Stream", "Video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One stream of a container as declared by it."""

    index: int
    kind: str  # "video", "audio", "subtitle", "data", "attachment"
    codec: str
    encoder: str = ""
    language: str = ""
    bit_rate: int = 0
    duration: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One compressed video frame in decoding order, without its pixels.

    ``time`` is the presentation time and ``duration`` in seconds (``None`` when the
    container does not say), ``size`` in bytes.
    """

    time: float | None
    decode_time: float | None
    duration: float | None
    size: int
    keyframe: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Video:
    """A video. Pixels are decoded when asked for, in order, never all at once.

    ``width`` and ``height`` are those of the upright picture (``rotation`` in degrees
    clockwise already applied to the frames), ``duration`` in seconds, ``frame_rate`` the
    average in 1/s (0 = unknown), ``sound`` the first audio stream or ``None``.
    ``attached_picture`` counts cover art streams, which are not the video.
    """

    source: Source
    width: int
    height: int
    duration: float
    frame_rate: float
    rotation: int
    codec: str
    pixel_format: str
    bit_rate: int
    streams: tuple[Stream, ...]
    encoder: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    sound: Audio | None = None
    attached_picture: int = 0
    notes: tuple[str, ...] = ()
    _frames: Callable[[Sequence[float] | None], Iterator[Image]] = field(repr=False)
    _packets: Callable[[], Iterator[Packet]] = field(repr=False)

    def frames(self, times: Sequence[float] | None = None) -> Iterator[Image]:
        """Frames as upright sRGB images, each with its true ``time`` in seconds.

        ``times`` (seconds, increasing): the frame shown at each time, decoded in one
        sequential pass; a frame is yielded once even when several times fall on it.
        ``None``: every frame up to the limits. Damage in mid-stream ends the iteration
        early with what was decoded, or leaves a gap; whoever samples compares the times.
        Frames of another size than the first, out of order, or marked as corrupt by the
        decoder are left out.
        """
        return self._frames(times)

    def packets(self) -> Iterator[Packet]:
        """Compressed frames of the video stream in decoding order."""
        return self._packets()

    def sample_times(self, count: int) -> tuple[float, ...]:
        """``count`` times spread evenly over the duration, at the middles of equal parts."""
        if count < 1 or self.duration <= 0:
            return (0.0,)
        return tuple((i + 0.5) * self.duration / count for i in range(count))
