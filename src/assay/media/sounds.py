"""Sound: decoded block by block, resampled in a stream, as float32 in -1..1."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.errors import Corrupt
from assay.limits import Limits
from assay.media.audio import Audio
from assay.media.containers import Survey, Track, codec_name, opened, raw_packets, stream_at
from assay.media.foreign import mapped
from assay.media.source import Source

__all__ = ["samples_of", "sound_of"]

Floats = NDArray[np.float32]

_MOST_ERRORS = 200  # damaged packets skipped in one pass
_MOST_CHANNELS = 64
_RATES = (1_000, 1_536_000)  # Hz; a lower one would swell when it is resampled


@dataclass(frozen=True, slots=True)
class _First:
    rate: int
    channels: int
    sample_format: str
    codec: str
    bit_rate: int


def sound_of(source: Source, found: Survey, limits: Limits, *, alone: bool = True) -> Audio:
    """The first sound in ``source``; ``alone`` unless it belongs to a video.

    Raises:
        Corrupt: not one sample can be decoded, or an implausible rate or number of channels.
    """
    track = found.sound
    assert track is not None
    first = _first_frame(source, track, limits)

    def decode(rate: int | None, mono: bool, seconds: float) -> Iterator[Floats]:
        if rate is not None and rate < 1:
            raise ValueError(f"the sample rate must be positive, got {rate!r}")
        if not seconds > 0:
            raise ValueError(f"blocks must be longer than nothing, got {seconds!r} s")
        return _blocks(source, track, first, limits, rate or first.rate, mono, seconds)

    notes = list(found.notes) if alone else []
    duration = min(track.duration, limits.max_audio_seconds)
    if alone:
        if found.sounds > 1:
            notes.append(f"the file holds {found.sounds} sounds; only the first was looked at")
        lies = abs(found.declared - duration) > max(0.5, 0.05 * duration)
        if not track.full and found.declared > 0 and duration > 0 and lies:
            notes.append(
                f"the header declares {found.declared:.6g} s, the file holds {duration:.6g} s"
            )
    elif found.picture is not None:
        lag = track.first - found.picture.first
        if math.isfinite(lag) and abs(lag) > 0.1:
            notes.append(f"the sound starts {lag:+.3f} s from the picture")
    return Audio(
        source=source,
        rate=first.rate,
        channels=first.channels,
        duration=duration,
        codec=first.codec,
        bit_rate=first.bit_rate or (round(track.size * 8 / duration) if duration > 0 else 0),
        sample_format=first.sample_format,
        encoder=found.encoder,
        notes=tuple(notes),
        _decode=decode,
    )


def _first_frame(source: Source, track: Track, limits: Limits) -> _First:
    with opened(source, limits) as container, mapped(source.path, "decode the sound"):
        stream = stream_at(container, track, source)
        for frame in _decoded(container, stream, track):
            channels = frame.layout.nb_channels
            if not (_RATES[0] <= frame.sample_rate <= _RATES[1]):
                raise Corrupt(source.path, f"a sample rate of {frame.sample_rate} Hz")
            if not 1 <= channels <= _MOST_CHANNELS:
                raise Corrupt(source.path, f"a sound of {channels} channels")
            return _First(
                rate=frame.sample_rate,
                channels=channels,
                sample_format=frame.format.name,
                codec=codec_name(stream),
                bit_rate=stream.codec_context.bit_rate or 0,
            )
    raise Corrupt(source.path, "not one sample of the sound can be decoded")


def _decoded(container: Any, stream: Any, track: Track) -> Iterator[Any]:
    errors = count = 0
    for packet in raw_packets(container, stream):
        if packet.size:
            count += 1
            if count > track.count:
                return
        try:
            frames = packet.decode()
        except Exception:  # noqa: BLE001 - damage costs this packet, not the file
            errors += 1
            if errors > _MOST_ERRORS:
                return
            continue
        yield from (frame for frame in frames if frame.samples)


def _values(frame: Any, first: _First) -> Floats | None:
    """[samples, channels], or ``None`` when the stream changed its nature midway."""
    if frame.sample_rate != first.rate or frame.layout.nb_channels != first.channels:
        return None
    return samples_of(frame)


def samples_of(frame: Any) -> Floats:
    """[samples, channels] of a decoded frame in -1..1, whatever its sample format."""
    channels = frame.layout.nb_channels
    raw: NDArray[Any] = frame.to_ndarray()
    raw = raw.T if frame.format.is_planar else raw.reshape(-1, channels)
    if raw.dtype == np.uint8:
        small: Floats = ((raw.astype(np.float32) - 128) / 128).astype(np.float32)
        return small
    if raw.dtype.kind == "i":
        # Exact: a power of two. 32-bit samples round to the 24 bits of a float32.
        scale = float(2 ** (8 * raw.dtype.itemsize - 1))
        exact: Floats = (raw / scale).astype(np.float32)
        return exact
    # Lossy decoders overshoot; a hostile file may hold anything.
    sane = np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0)
    clipped: Floats = np.clip(sane, -1.0, 1.0).astype(np.float32)
    return clipped


def _blocks(
    source: Source,
    track: Track,
    first: _First,
    limits: Limits,
    rate: int,
    mono: bool,
    seconds: float,
) -> Iterator[Floats]:
    resampler: Any = None
    if rate != first.rate:
        import soxr

        lanes = 1 if mono else first.channels
        resampler = soxr.ResampleStream(first.rate, rate, lanes, dtype="float32", quality="HQ")
    length = max(1, round(seconds * rate))
    left = round(min(limits.max_audio_seconds * first.rate, 2**62))
    pending: list[Floats] = []
    have = 0
    with opened(source, limits) as container, mapped(source.path, "decode the sound"):
        stream = stream_at(container, track, source)
        frames = _decoded(container, stream, track)
        more = True
        while more:
            frame = next(frames, None)
            part = _values(frame, first) if frame is not None and left > 0 else None
            more = part is not None
            if part is None:
                part = np.zeros((0, first.channels), np.float32)
            part = part[:left]
            left -= len(part)
            values = part.mean(axis=1) if mono and first.channels > 1 else part
            values = values.reshape(-1) if mono else values
            if resampler is not None:
                values = resampler.resample_chunk(np.ascontiguousarray(values), last=not more)
                values = np.clip(values, -1.0, 1.0)
            if len(values):
                pending.append(values)
                have += len(values)
            if have >= length or (have and not more):
                joined = np.concatenate(pending)
                whole = len(joined) // length * length if more else len(joined)
                for at in range(0, whole, length):
                    yield joined[at : at + length]
                pending = [joined[whole:]]
                have = len(joined) - whole
