"""What a recording goes through on its way: codecs, telephone, rooms, noise, distortion.

Applied to real and synthetic speech alike, so that a detector cannot use them as a sign.
All functions take and give float32 mono at 16 kHz, keep the length, and are deterministic
for a given generator. Filters and noise follow the idea of RawBoost (Tak et al., ICASSP
2022): linear convolutive, additive and impulsive distortion with random parameters.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Codec:
    """An encoder of FFmpeg with the container it is put in and its usual bit rates (bit/s)."""

    encoder: str
    container: str
    rates: tuple[int, ...]
    sample_rates: tuple[int, ...]
    layout: str = "mono"


_USUAL = (16_000, 22_050, 24_000, 44_100)
_OPUS = (16_000, 24_000, 48_000)
WIDE = (
    Codec("libmp3lame", "mp3", (24_000, 32_000, 48_000, 64_000, 96_000, 128_000), _USUAL),
    Codec("aac", "adts", (24_000, 32_000, 48_000, 64_000, 96_000), _USUAL),
    Codec("libopus", "ogg", (12_000, 16_000, 20_000, 24_000, 32_000, 48_000), _OPUS),
    Codec("wmav2", "asf", (32_000, 48_000, 64_000), (16_000, 22_050, 44_100)),
    Codec("g722", "wav", (64_000,), (16_000,)),
    # Voice chat: speech mode of Opus at low rates, which real voices must not be told by.
    Codec("libopus", "ogg", (6_000, 8_000, 10_000, 13_000, 16_000, 24_000), (16_000, 24_000)),
)  # fmt: skip
NARROW = (
    Codec("pcm_alaw", "wav", (64_000,), (8_000,)),
    Codec("pcm_mulaw", "wav", (64_000,), (8_000,)),
    Codec("libopencore_amrnb", "amr", (4_750, 5_900, 7_400, 7_950, 10_200, 12_200), (8_000,)),
    Codec("libopus", "ogg", (6_000, 8_000, 12_000), (8_000,)),
    Codec("g726", "wav", (24_000, 32_000, 40_000), (8_000,)),
    Codec("libmp3lame", "mp3", (8_000, 16_000, 24_000), (8_000, 11_025)),
)  # fmt: skip


def resample(x: Floats, source: int, target: int) -> Floats:
    """Band-limited resampling."""
    import soxr

    return np.asarray(soxr.resample(x, source, target, quality="HQ"), np.float32)


def fit(x: Floats, size: int) -> Floats:
    """Cut or zero-pad at the end to ``size`` samples."""
    if x.size >= size:
        return x[:size]
    return np.pad(x, (0, size - x.size))


def through_codec(x: Floats, codec: Codec, bit_rate: int, sample_rate: int) -> Floats:
    """Encode and decode in memory. Raises ValueError when the encoder refuses."""
    import av

    pcm = resample(x, RATE, sample_rate)
    pcm16 = np.clip(np.round(pcm * 32767), -32768, 32767).astype(np.int16)
    box = io.BytesIO()
    try:
        with av.open(box, "w", format=codec.container) as out:
            stream: Any = out.add_stream(codec.encoder, rate=sample_rate, layout=codec.layout)
            if bit_rate:
                stream.bit_rate = bit_rate
            frame = av.AudioFrame.from_ndarray(pcm16[None, :], format="s16", layout="mono")
            frame.sample_rate = sample_rate
            frame.pts = 0
            mixer = av.AudioResampler(
                format=stream.format.name, layout=codec.layout, rate=sample_rate,
                frame_size=stream.codec_context.frame_size or 0,
            )  # fmt: skip
            for part in (*mixer.resample(frame), *mixer.resample(None)):
                out.mux(stream.encode(part))
            out.mux(stream.encode(None))
        box.seek(0)
        parts: list[Floats] = []
        with av.open(box, "r") as back:
            sound = back.streams.audio[0]
            rate = int(sound.rate)
            flat = av.AudioResampler(format="flt", layout="mono", rate=rate)
            for decoded in back.decode(sound):
                parts.extend(p.to_ndarray()[0] for p in flat.resample(decoded))
    except (av.FFmpegError, ValueError, OSError, IndexError) as error:
        raise ValueError(f"{codec.encoder}: {error}") from error
    if not parts:
        raise ValueError(f"{codec.encoder}: nothing came back")
    y = resample(np.concatenate(parts).astype(np.float32), rate, RATE)
    return fit(y, x.size)


def random_codec(x: Floats, rng: np.random.Generator, narrow: bool) -> Floats:
    """One or two random codecs in a row; returns ``x`` itself if an encoder refuses."""
    table = NARROW if narrow else WIDE
    for _ in range(1 + int(rng.random() < 0.25)):
        codec = table[int(rng.integers(len(table)))]
        try:
            x = through_codec(
                x, codec, int(rng.choice(codec.rates)), int(rng.choice(codec.sample_rates))
            )
        except ValueError:
            continue
    return x


def telephone(x: Floats) -> Floats:
    """The fixed telephone path of the benchmark: 300-3400 Hz, 8 kHz, A-law (ITU-T G.711)."""
    spectrum = np.fft.rfft(x)
    freq = np.fft.rfftfreq(x.size, 1 / RATE)
    edge = 1 / (1 + np.exp(-(freq - 300) / 25)) / (1 + np.exp((freq - 3400) / 50))
    y = np.fft.irfft(spectrum * edge, x.size).astype(np.float32)
    return through_codec(y, NARROW[0], 0, 8_000)


def low_pass(x: Floats, cutoff: float) -> Floats:
    """Steep zero-phase low-pass at ``cutoff`` Hz."""
    freq = np.fft.rfftfreq(x.size, 1 / RATE)
    edge = 1 / (1 + np.exp((freq - cutoff) / 60))
    return np.asarray(np.fft.irfft(np.fft.rfft(x) * edge, x.size), np.float32)


def with_noise(x: Floats, snr_db: float, rng: np.random.Generator, tilt: float = 0.5) -> Floats:
    """Add Gaussian noise whose spectrum falls as frequency ** -tilt, at ``snr_db``."""
    white = np.fft.rfft(rng.standard_normal(x.size))
    freq = np.fft.rfftfreq(x.size, 1 / RATE)
    noise = np.fft.irfft(white / np.maximum(freq, 20.0) ** tilt, x.size)
    gain = np.sqrt(np.square(x).mean() / (np.square(noise).mean() + 1e-12)) * 10 ** (-snr_db / 20)
    return np.asarray(x + gain * noise, np.float32)


def room(x: Floats, rt60: float, rng: np.random.Generator, direct: float = 1.0) -> Floats:
    """Convolve with exponentially decaying noise of ``rt60`` seconds behind a direct path."""
    size = int(min(rt60, 1.0) * RATE)
    tail = rng.standard_normal(size) * 10 ** (-3 * np.arange(size) / (rt60 * RATE))
    tail *= 0.5 / np.sqrt(np.square(tail).sum())
    tail[0] = direct
    total = 1 << int(x.size + size).bit_length()
    y = np.fft.irfft(np.fft.rfft(x, total) * np.fft.rfft(tail, total), total)[: x.size]
    return np.asarray(y * (np.abs(x).max() / (np.abs(y).max() + 1e-9)), np.float32)
