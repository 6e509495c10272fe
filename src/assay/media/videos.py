"""Moving pictures: lazily, in order, upright, as sRGB."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.errors import Corrupt, TooLarge
from assay.limits import Limits
from assay.media.audio import Audio
from assay.media.colour import upright
from assay.media.containers import (
    Survey,
    Track,
    codec_name,
    opened,
    raw_packets,
    seconds,
    seekable_keys,
    stream_at,
)
from assay.media.foreign import mapped
from assay.media.image import Image
from assay.media.source import Source
from assay.media.video import Packet, Video

__all__ = ["video_of"]

_MOST_ERRORS = 200  # damaged packets skipped in one pass
_MOST_LATE = 50  # frames out of order before it is taken for a new beginning of time
_HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics of ITU-T H.273
_DEGREES = {1: 0, 2: 0, 3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}


@dataclass(frozen=True, slots=True)
class _First:
    """Facts taken from the first frame that decodes."""

    time: float
    rate: float
    width: int
    height: int
    orientation: int
    pixel_format: str
    codec: str
    notes: tuple[str, ...]


def video_of(source: Source, found: Survey, sound: Audio | None, limits: Limits) -> Video:
    """The video in ``source`` as :func:`containers.survey` found it.

    Raises:
        Corrupt: not one frame can be decoded.
        TooLarge: frames beyond the limits.
    """
    track = found.picture
    assert track is not None
    first = _first_frame(source, track, limits)
    duration = min(track.duration, limits.max_video_seconds)
    rate = track.count / duration if duration > 0 else 0.0
    notes = [*found.notes, *first.notes, *_more(found, track)]

    def frames(times: Sequence[float] | None) -> Iterator[Image]:
        return _frames(source, track, first, limits, times)

    def packets() -> Iterator[Packet]:
        return _packets(source, track, first, limits)

    turned = first.orientation >= 5
    return Video(
        source=source,
        width=first.height if turned else first.width,
        height=first.width if turned else first.height,
        duration=duration,
        frame_rate=rate if math.isfinite(rate) else 0.0,
        rotation=_DEGREES[first.orientation],
        codec=first.codec,
        pixel_format=first.pixel_format,
        bit_rate=round(track.size * 8 / duration) if duration > 0 else 0,
        streams=found.streams,
        attached_picture=found.attached,
        encoder=found.encoder,
        tags=found.tags,
        sound=sound,
        notes=tuple(dict.fromkeys(notes)),
        _frames=frames,
        _packets=packets,
    )


def _more(found: Survey, track: Track) -> list[str]:
    notes = []
    if found.pictures > 1:
        notes.append(f"the file holds {found.pictures} videos; only the largest was looked at")
    if found.sounds > 1:
        notes.append(f"the file holds {found.sounds} sounds; only the first was looked at")
    gap = _longest_gap(track)
    if gap > max(30.0, track.duration / 2):
        # Times spread evenly over such a video would all fall on one frame.
        notes.append(f"one frame is shown for {gap:.6g} s of {track.duration:.6g} s")
    longest = max(track.duration, found.sound.duration if found.sound else 0.0)
    if not track.full and _differ(found.declared, longest):
        notes.append(f"the header declares {found.declared:.6g} s, the file holds {longest:.6g} s")
    return notes


def _longest_gap(track: Track) -> float:
    times = np.sort(np.frombuffer(track.times, np.float64)) if track.count else np.zeros(0)
    times = times[np.isfinite(times)]
    return float(np.diff(times).max()) if len(times) > 1 else 0.0


def _differ(declared: float, real: float) -> bool:
    return declared > 0 and abs(declared - real) > max(0.5, 0.05 * real)


def _decoder(source: Source, container: Any, track: Track, limits: Limits) -> Any:
    stream = stream_at(container, track, source)
    # One thread: with more, what is shown of a damaged stream depends on their timing.
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(limits.max_pixels)}
    return stream


def _first_frame(source: Source, track: Track, limits: Limits) -> _First:
    with opened(source, limits) as container, mapped(source.path, "decode the video"):
        stream = _decoder(source, container, track, limits)
        _within(stream.width, stream.height, source, limits)
        for frame in _decoded(container, stream, track):
            _within(frame.width, frame.height, source, limits)
            time = _time(frame, stream)
            rate = float(stream.average_rate or 0)
            notes = []
            if name := _HDR.get(int(frame.color_trc)):
                notes.append(f"high dynamic range ({name}): shown without tone mapping")
            ratio = stream.sample_aspect_ratio
            if ratio and ratio != 1:
                notes.append(f"pixels are not square ({ratio}); frames are as stored")
            return _First(
                time=track.first if time is None else time,
                rate=rate if 0 < rate < 10_000 else 25.0,
                width=frame.width,
                height=frame.height,
                orientation=_turn(frame),
                pixel_format=frame.format.name,
                codec=codec_name(stream),
                notes=tuple(notes),
            )
    raise Corrupt(source.path, "not one frame of the video can be decoded")


def _within(width: int, height: int, source: Source, limits: Limits) -> None:
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        raise TooLarge(source.path, f"frames of {width} x {height} pixels, beyond the limits")


def _decoded(
    container: Any,
    stream: Any,
    track: Track,
    wanted: Callable[[int], bool | None] = lambda position: True,
) -> Iterator[Any]:
    """Frames in order of presentation. ``wanted`` says for each packet whether to decode it
    (``None``: begin anew with it); damaged packets are skipped, up to a bound."""
    errors = 0
    position = -1
    context = stream.codec_context
    for packet in _filled(container, stream):
        position += 1
        if position >= track.count:
            break
        answer = wanted(position)
        if answer is False:
            continue
        if answer is None:
            context.flush_buffers()
        try:
            frames = packet.decode()
        except Exception:  # noqa: BLE001 - damage costs this packet, not the file
            errors += 1
            if errors > _MOST_ERRORS:
                break
            continue
        yield from (f for f in frames if not f.is_corrupt)
    try:
        rest = context.decode(None)
    except Exception:  # noqa: BLE001
        return
    yield from (f for f in rest if not f.is_corrupt)


def _filled(container: Any, stream: Any) -> Iterator[Any]:
    """Packets that hold something."""
    return (packet for packet in raw_packets(container, stream) if packet.size)


def _time(frame: Any, stream: Any) -> float | None:
    ticks = frame.pts if frame.pts is not None else frame.dts
    # Frames that a decoder gives back at the end come without a base of their own.
    return seconds(ticks, frame.time_base or stream.time_base)


class _Clock:
    """Times that only grow, from those that a damaged or joined file may have."""

    def __init__(self, start: float, spacing: float) -> None:
        self._shift = -start
        self._spacing = spacing
        self._last: float | None = None
        self._late = 0

    def of(self, ticks: float | None) -> float | None:
        """The frame's time from the start, or ``None`` for a frame out of order."""
        if ticks is None or not math.isfinite(ticks):
            time = 0.0 if self._last is None else self._last + self._spacing
        else:
            time = ticks + self._shift
        if self._last is not None and time <= self._last:
            self._late += 1
            if self._late < _MOST_LATE:
                return None
            # Not a stray frame: time itself began anew, as where recordings were joined.
            self._shift += self._last + self._spacing - time
            time = self._last + self._spacing
        self._late = 0
        self._last = time
        return time


def _turn(frame: Any) -> int:
    """The Exif orientation that equals the frame's display matrix (ISO/IEC 14496-12, 8.3.2)."""
    from av.sidedata.sidedata import Type

    try:
        raw = bytes(frame.side_data[Type.DISPLAYMATRIX])
    except KeyError:
        return 1
    if len(raw) < 36:
        return 1
    a, b, _, c, d = np.frombuffer(raw, np.int32)[:5].tolist()

    def sign(value: int) -> int:
        return (value > 0) - (value < 0) if abs(value) >= 1 << 12 else 0

    return {
        (1, 0, 0, 1): 1,
        (-1, 0, 0, 1): 2,
        (-1, 0, 0, -1): 3,
        (1, 0, 0, -1): 4,
        (0, 1, 1, 0): 5,
        (0, 1, -1, 0): 6,
        (0, -1, -1, 0): 7,
        (0, -1, 1, 0): 8,
    }.get((sign(a), sign(b), sign(c), sign(d)), 1)


def _pixels(frame: Any, orientation: int) -> NDArray[np.uint8]:
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    # ITU-T H.273 matrix coefficients; where the file is silent, players go by the height.
    spaces = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601,
              6: Colorspace.ITU601, 7: Colorspace.SMPTE240M, 9: Colorspace.BT2020,
              10: Colorspace.BT2020}  # fmt: skip
    silent = Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
    space = spaces.get(int(frame.colorspace), silent)
    full = frame.format.name.startswith("yuvj") or int(frame.color_range) == 2
    rgb = frame.reformat(
        format="rgb24",
        src_colorspace=space,
        dst_colorspace=space,
        src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        # Without accurate rounding swscale is 7 times as fast, a level too dark, and does not
        # interpolate colour; bilinear is as close to the exact matrix as bicubic and cheaper.
        interpolation=Interpolation.BILINEAR
        | Interpolation.ACCURATE_RND
        | Interpolation.FULL_CHR_H_INT
        | Interpolation.BITEXACT,
    )
    pixels = upright(rgb.to_ndarray(), orientation)
    pixels.setflags(write=False)
    return pixels


def _frames(
    source: Source,
    track: Track,
    first: _First,
    limits: Limits,
    times: Sequence[float] | None,
) -> Iterator[Image]:
    def image(frame: Any, time: float) -> Image:
        return Image(
            source=source,
            pixels=_pixels(frame, first.orientation),
            mode=frame.format.name,
            orientation=first.orientation,
            stored_width=frame.width,
            stored_height=frame.height,
            time=time,
        )

    if times is not None and not len(times):
        return
    plan = _Plan(track, first, times) if times is not None else None
    with opened(source, limits) as container, mapped(source.path, "decode the video"):
        stream = _decoder(source, container, track, limits)
        wanted = plan.wanted if plan is not None else (lambda position: True)
        clock = _Clock(first.time, 1 / first.rate)
        for frame in _decoded(container, stream, track, wanted):
            if (frame.width, frame.height) != (first.width, first.height):
                continue
            time = clock.of(_time(frame, stream))
            if time is None:
                continue
            if plan is None:
                if time <= limits.max_video_seconds:
                    yield image(frame, time)
                continue
            for shown, at in plan.take(frame, time):
                yield image(shown, at)
            if plan.done:
                return
        if plan is not None and (held := plan.rest()) is not None:
            yield image(*held)


class _Plan:
    """Which packets to decode, and which frames to show, for increasing times.

    The frame shown at a time is the last one presented not after it. It depends on no
    packet before the last keyframe presented not after it, so decoding starts there.
    """

    def __init__(self, track: Track, first: _First, times: Sequence[float]) -> None:
        self._times = sorted(float(t) for t in times if math.isfinite(t))
        self._keys = seekable_keys(track, first.codec)
        self._key_times = [track.times[k] - first.time for k in self._keys]
        self._key_set = set(self._keys)
        self._next = 0
        self._decoding = False
        self._floor = -math.inf
        self._held: tuple[Any, float] | None = None
        self._shown: float | None = None

    @property
    def done(self) -> bool:
        return self._next >= len(self._times)

    def wanted(self, position: int) -> bool | None:
        if position in self._key_set and not self.done:
            index = bisect_right(self._key_times, self._times[self._next] + 1e-9) - 1
            start = self._keys[max(index, 0)]
            if self._decoding and position < start:
                self._decoding = False
                self._held = None
            elif not self._decoding and position >= start:
                self._decoding = True
                self._floor = self._key_times[self._keys.index(position)] if index > 0 else -1e300
                return None
        return self._decoding

    def take(self, frame: Any, time: float) -> Iterator[tuple[Any, float]]:
        if time < self._floor - 1e-9:
            return  # leading pictures of an open group: their references were skipped
        while not self.done and self._times[self._next] < time - 1e-9:
            shown = self._held if self._held is not None else (frame, time)
            self._next += 1
            if shown[1] != self._shown:
                self._shown = shown[1]
                yield shown
        self._held = (frame, time)

    def rest(self) -> tuple[Any, float] | None:
        if self.done or self._held is None or self._held[1] == self._shown:
            return None
        return self._held


def _packets(source: Source, track: Track, first: _First, limits: Limits) -> Iterator[Packet]:
    with opened(source, limits) as container, mapped(source.path, "read the video"):
        stream = stream_at(container, track, source)
        for position, packet in enumerate(_filled(container, stream)):
            if position >= track.count:
                return
            base = packet.time_base
            time, decode_time = seconds(packet.pts, base), seconds(packet.dts, base)
            yield Packet(
                time=None if time is None else time - first.time,
                decode_time=None if decode_time is None else decode_time - first.time,
                duration=seconds(packet.duration, base) or None,
                size=packet.size,
                keyframe=bool(packet.is_keyframe),
            )
