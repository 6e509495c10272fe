"""Sounds made by code, and real speech where the samples hold any."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from assay.media import Audio, Source

Sound = NDArray[np.float32]
SAMPLES = Path(__file__).parents[2] / "media" / "samples"


@pytest.fixture(scope="session")
def make_audio() -> Callable[..., Audio]:
    """(samples, rate, codec="pcm_s16le", block=10 s) -> Audio that decodes from the array."""

    def make(
        samples: Sound, rate: int, codec: str = "pcm_s16le", block: float | None = None
    ) -> Audio:
        x = np.asarray(samples, np.float32)
        x = x[:, None] if x.ndim == 1 else x
        x.setflags(write=False)

        def blocks(wanted: int | None, mono: bool, seconds: float) -> Iterator[Sound]:
            y = x.mean(axis=1) if mono else x
            if wanted and wanted != rate and len(y):
                y = soxr.resample(y, rate, wanted, quality="HQ").astype(np.float32)
            size = max(1, round((block or seconds) * (wanted or rate)))
            for at in range(0, len(y), size):
                yield y[at : at + size]

        source = Source(
            path=Path("made.wav"), sha256="0" * 64, size=2 * x.size, format="wav",
            mime="audio/wav", extension_matches=True,
        )  # fmt: skip
        return Audio(
            source=source, rate=rate, channels=x.shape[1], duration=len(x) / rate, codec=codec,
            _decode=blocks,
        )  # fmt: skip

    return make


def voice(seconds: float, seed: int = 0, rate: int = 16_000, noise: float = 2e-4) -> Sound:
    """Syllables of a gliding buzz through three resonances with pauses, over coloured noise."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    pitch = 120 * (1 + 0.2 * np.sin(2 * np.pi * 0.7 * np.arange(n) / rate + rng.uniform(0, 6)))
    phase = np.cumsum(pitch) / rate
    buzz = np.diff(np.floor(phase), prepend=0.0) + 0.05 * rng.normal(0, 1, n)
    for hertz in (600, 1500, 2700):
        r = np.exp(-np.pi * 90 / rate)
        buzz = lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * hertz / rate), r * r], buzz)
    gate = np.repeat(rng.random(n // 1600 + 1) < 0.65, 1600)[:n].astype(float)
    gate = lfilter(np.hanning(800) / np.hanning(800).sum(), [1], gate)
    x = 0.3 * buzz / np.abs(buzz).max() * gate
    return (x + noise * rng.normal(0, 1, n)).astype(np.float32)


@pytest.fixture(scope="session")
def make_voice() -> Callable[..., Sound]:
    return voice


def mp3(samples: Sound, rate: int, bits: int) -> Sound:
    """Through MP3 and back, by FFmpeg."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as box:
        stream = box.add_stream("libmp3lame", rate=rate, layout="stereo")
        stream.bit_rate = bits
        pcm = np.repeat((np.clip(samples, -1, 1) * 32767).astype(np.int16), 2)[None]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="stereo")
        frame.sample_rate = rate
        fit = av.AudioResampler(format=stream.format, layout="stereo", rate=rate)
        for ready in (*fit.resample(frame), *fit.resample(None)):
            box.mux(stream.encode(ready))
        box.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as box:
        parts = [f.to_ndarray()[0] for f in box.decode(audio=0)]
    return np.concatenate(parts).astype(np.float32)


@pytest.fixture(scope="session")
def through_mp3() -> Callable[..., Sound]:
    return mp3


@pytest.fixture(scope="session")
def real_speech() -> list[tuple[str, Sound, int]]:
    """(name, samples, rate) of every sound file among the samples."""
    found = []
    for path in sorted(p for p in SAMPLES.rglob("*") if p.suffix in {".wav", ".flac", ".ogg"}):
        with av.open(str(path)) as box:
            rate = box.streams.audio[0].rate
            fit = av.AudioResampler(format="flt", layout="mono", rate=rate)
            parts = [p.to_ndarray()[0] for f in box.decode(audio=0) for p in fit.resample(f)]
        if parts:
            found.append((path.name, np.concatenate(parts).astype(np.float32), rate))
    return found
