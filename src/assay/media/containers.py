"""Containers of moving pictures and sound, through FFmpeg (PyAV).

FFmpeg is fenced in: it gets one open file object, the one demuxer that :mod:`sniff`
named, a list of allowed decoders, no protocol at all, and a callback that refuses every
further file. A file that refers to others (playlists, external tracks of a QuickTime
film) therefore reads nothing but itself.

Opening reads all packets once, without decoding: headers lie, packets cannot.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from assay.errors import Corrupt, NotMedia, TooLarge, Unsupported
from assay.limits import Limits
from assay.media.foreign import mapped
from assay.media.opening import format_of, reopen
from assay.media.source import Source
from assay.media.video import Stream

if TYPE_CHECKING:
    import av.container
    import av.stream

__all__ = ["Survey", "Track", "codec_name", "opened", "pick", "raw_packets", "seconds", "survey"]

_MOST_PACKETS = 5_000_000  # of all tracks, in one reading
_LONGEST_TAG = 4096

DECODERS = frozenset(
    """
    h264 hevc vvc av1 libdav1d vp8 vp9 mpeg1video mpeg2video mpeg4 h263 h263i flv1 flv mjpeg
    msmpeg4v1 msmpeg4v2 msmpeg4v3 msmpeg4 wmv1 wmv2 wmv3 vc1 prores dnxhd ffv1 huffyuv ffvhuff
    utvideo theora gif png rawvideo dvvideo cinepak svq1 svq3 rpza qtrle apng webp
    aac aac_latm mp3 mp3float mp2 mp2float mp1 mp1float opus libopus vorbis flac alac ac3 eac3
    dca amrnb amr_nb amrwb amr_wb wmav1 wmav2 wmapro wmalossless gsm gsm_ms libgsm speex
    adpcm_ms adpcm_ima_wav adpcm_ima_qt adpcm_g722 adpcm_g726 adpcm_swf nellymoser g723_1 g729
    pcm_alaw pcm_mulaw pcm_u8 pcm_s8 pcm_s16le pcm_s16be pcm_s24le pcm_s24be pcm_s32le pcm_s32be
    pcm_f32le pcm_f32be pcm_f64le pcm_f64be pcm_s64le pcm_s64be pcm_u16le pcm_u16be pcm_bluray
    pcm_dvd truehd mlp ape wavpack tta qdm2 qdmc mace3 mace6
    """.split()  # noqa: SIM905
)

# Only for these is the keyframe flag of the container taken as a place to start decoding.
_TRUSTED_KEYS = frozenset(
    "h264 hevc av1 vp8 vp9 mpeg1video mpeg2video mpeg4 mjpeg prores dnxhd ffv1 h263".split()  # noqa: SIM905
)


@contextmanager
def opened(source: Source, limits: Limits) -> Iterator[av.container.InputContainer]:
    """The container of ``source``, open for reading from its beginning."""
    import av

    demuxer = format_of(source).demuxer
    allowed = ",".join(sorted(DECODERS))
    with reopen(source) as file:
        with mapped(source.path, f"open the {source.format} file"):
            container = av.open(
                file,
                "r",
                format=demuxer,
                options={
                    "protocol_whitelist": "none",
                    "codec_whitelist": allowed,
                    "max_streams": str(limits.max_streams + 1),
                },
                metadata_errors="replace",
                buffer_size=256 * 1024,
                io_open=_refuse,
            )
        with container:
            if len(container.streams) > limits.max_streams:
                raise TooLarge(
                    source.path,
                    f"{len(container.streams)} streams, more than the limit of"
                    f" {limits.max_streams}",
                )
            yield container


def _refuse(url: str, flags: int, options: dict[str, str]) -> Any:
    raise PermissionError("the file refers to another file, which is never opened")


@dataclass(slots=True)
class Track:
    """What the packets of one stream say. Times in seconds, ``nan`` where unknown.

    ``count`` packets lie within the limits; the lists are filled for the picture only.
    """

    index: int
    kind: str
    count: int = 0
    size: int = 0
    first: float = math.nan
    end: float = math.nan
    full: bool = False
    times: array[float] = field(default_factory=lambda: array("d"))
    keys: array[int] = field(default_factory=lambda: array("q"))
    timed: bool = True

    @property
    def duration(self) -> float:
        return self.end - self.first if self.end > self.first else 0.0


@dataclass(slots=True)
class Survey:
    """What one reading of a container found."""

    streams: tuple[Stream, ...]
    picture: Track | None
    sound: Track | None
    attached: int
    pictures: int
    sounds: int
    tags: tuple[tuple[str, str], ...]
    encoder: str
    declared: float
    notes: list[str]


def survey(source: Source, limits: Limits) -> Survey:
    """Describes the streams of ``source`` and reads all packets of picture and sound.

    Raises:
        MediaError: the container cannot be opened, has too many streams, or neither a
            picture nor a sound.
    """
    with opened(source, limits) as container, mapped(source.path, "read the container"):
        videos = [s for s in container.streams.video if not _attached(s)]
        picture = pick(videos)
        sound = next(iter(container.streams.audio), None)
        if picture is None and sound is None:
            raise NotMedia(source.path, "the container holds neither a picture nor a sound")
        for stream in (picture, sound):
            if stream is not None and _usable(stream) is False and sound is not picture:
                _complain(source, stream, alone=picture is None or sound is None)
        found = Survey(
            streams=tuple(_describe(s) for s in container.streams),
            picture=Track(picture.index, "video") if picture is not None else None,
            sound=Track(sound.index, "audio") if sound is not None else None,
            attached=sum(_attached(s) for s in container.streams.video),
            pictures=len(videos),
            sounds=len(container.streams.audio),
            tags=_tags(container.metadata),
            encoder=_encoder(container.metadata),
            declared=(container.duration or 0) / 1_000_000,
            notes=[],
        )
        wanted = [s for s in (picture, sound) if s is not None]
        _read_all(container, wanted, found, limits)
    return found


def _complain(source: Source, stream: Any, *, alone: bool) -> None:
    if alone or stream.type == "video":
        name = codec_name(stream) or "unknown"
        raise Unsupported(source.path, f"the {stream.type} codec {name} is not supported")


def _usable(stream: Any) -> bool:
    context = stream.codec_context
    return context is not None and (codec_name(stream) in DECODERS or context.name in DECODERS)


def codec_name(stream: Any) -> str:
    """The codec as FFmpeg names it, not the decoder that happens to be used."""
    context = stream.codec_context
    return str(context.codec.canonical_name) if context is not None else ""


def _attached(stream: Any) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def pick(videos: list[Any]) -> Any:
    """The largest picture; the first of equals."""
    return max(videos, key=lambda s: (s.width or 0) * (s.height or 0), default=None)


def _describe(stream: Any) -> Stream:
    kind = stream.type if stream.type in ("video", "audio", "subtitle", "attachment") else "data"
    length = seconds(stream.duration, stream.time_base)
    return Stream(
        index=stream.index,
        kind=kind,
        codec=codec_name(stream),
        encoder=_encoder(stream.metadata),
        language=(stream.metadata.get("language") or "")[:32],
        bit_rate=getattr(stream, "bit_rate", None) or 0,
        duration=length if length is not None and math.isfinite(length) and length > 0 else None,
    )


def _encoder(metadata: dict[str, str]) -> str:
    # Matroska writes the key in capitals.
    return (metadata.get("encoder") or metadata.get("ENCODER") or "")[:_LONGEST_TAG]


def _tags(metadata: dict[str, str]) -> tuple[tuple[str, str], ...]:
    pairs = list(metadata.items())[:1000]
    return tuple((key[:256], value[:_LONGEST_TAG]) for key, value in pairs)


def seconds(value: int | None, base: Any) -> float | None:
    """``value`` ticks of ``base`` in seconds."""
    if value is None or not base:
        return None
    # The numbers are hostile: Fraction arithmetic on them could be slow, floats are not.
    return float(value) * float(base.numerator) / float(base.denominator)


def _read_all(container: Any, wanted: list[Any], found: Survey, limits: Limits) -> None:
    tracks = {t.index: t for t in (found.picture, found.sound) if t is not None}
    bounds = {"video": limits.max_video_seconds, "audio": limits.max_audio_seconds}
    total = 0
    try:
        for packet in container.demux(wanted):
            if not packet.size:
                continue
            total += 1
            if total > _MOST_PACKETS:
                found.notes.append(f"only the first {_MOST_PACKETS} packets were read")
                break
            track = tracks[packet.stream_index]
            if track.full:
                if all(t.full for t in tracks.values()):
                    break
                continue
            _count(track, packet, bounds[track.kind], limits, found)
    except Exception as error:
        if total == 0:
            raise
        message = getattr(error, "strerror", None) or type(error).__name__
        found.notes.append(f"the file is damaged; reading ended early ({message})")
    for track in tracks.values():
        if not track.timed or math.isnan(track.first):
            track.timed = False


def _count(track: Track, packet: Any, longest: float, limits: Limits, found: Survey) -> None:
    video = track.kind == "video"
    ticks = packet.pts if packet.pts is not None else packet.dts
    time = seconds(ticks, packet.time_base)
    what = "picture" if video else "sound"
    if video and track.count >= limits.max_decoded_frames:
        track.full = True
        found.notes.append(
            f"only the first {limits.max_decoded_frames} frames of the {what} were looked at"
        )
        return
    if time is None:
        track.timed = False
    else:
        if math.isnan(track.first) or (time < track.first and track.count < 64):
            track.first = time
        if time - track.first >= longest:
            track.full = True
            track.end = track.first + longest
            found.notes.append(f"only the first {longest:g} s of the {what} were looked at")
            return
        length = seconds(packet.duration, packet.time_base) or 0.0
        end = min(time + max(length, 0.0), track.first + longest)
        if math.isnan(track.end) or end > track.end:
            track.end = end
    if video:
        if packet.pts is None:
            track.timed = False
        track.times.append(math.nan if time is None else time)
        if packet.is_keyframe:
            track.keys.append(track.count)
    track.count += 1
    track.size += packet.size


def seekable_keys(track: Track, codec: str) -> list[int]:
    """Positions (in packets) from which decoding may start; ``[0]`` where that is unsure."""
    keys = list(track.keys)
    if codec not in _TRUSTED_KEYS or not track.timed or not keys or keys[0] != 0:
        return [0]
    times = [track.times[k] for k in keys]
    if any(b <= a for a, b in itertools.pairwise(times)):
        return [0]
    return keys


def stream_at(container: Any, track: Track, source: Source) -> Any:
    """The stream of ``track`` in a container opened anew."""
    if track.index >= len(container.streams):
        raise Corrupt(source.path, "the file was changed while it was analysed")
    stream = container.streams[track.index]
    if stream.type != track.kind:
        raise Corrupt(source.path, "the file was changed while it was analysed")
    return cast(Any, stream)


def raw_packets(container: Any, stream: Any) -> Iterator[Any]:
    """Packets until the end or the first damage of the container (declared by the survey).

    The last one is empty: it asks a decoder for what it still holds.
    """
    demuxer = container.demux(stream)
    while True:
        try:
            packet = next(demuxer)
        except StopIteration:
            return
        except Exception:  # noqa: BLE001
            return
        yield packet
