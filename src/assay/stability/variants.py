"""The file once more, as messengers, networks and telephones would pass it on."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.media import Audio, Image

__all__ = ["LONGEST_SECONDS", "variants"]

LONGEST_SECONDS = 300.0  # of a sound; a longer one is not measured
_SMALLEST_SIDE = 128  # px; a picture is not made smaller than that
_SPEECH_RATE = 16_000  # Hz
_PHONE_RATE = 8_000
_NOISE_DB = 25.0


def variants(media: Image | Audio, folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Code, words and file of each variant; files are written into ``folder`` one by one."""
    if isinstance(media, Image):
        yield from _pictures(media, folder)
    else:
        yield from _sounds(media, folder)


def _pictures(image: Image, folder: Path) -> Iterator[tuple[str, str, Path]]:
    from PIL import Image as Pillow

    picture = Pillow.fromarray(np.ascontiguousarray(image.pixels))
    path = folder / "jpeg.jpg"
    picture.save(path, quality=70)
    yield "jpeg", "saved as JPEG of quality 70", path
    if min(picture.size) // 2 >= _SMALLEST_SIDE:
        path = folder / "half.png"
        half = (picture.width // 2, picture.height // 2)
        picture.resize(half, Pillow.Resampling.LANCZOS).save(path, compress_level=1)
        yield "half", "scaled to half its size", path
    x, y = picture.width // 16, picture.height // 16
    if min(picture.width - 2 * x, picture.height - 2 * y) >= _SMALLEST_SIDE:
        path = folder / "crop.png"
        inner = picture.crop((x, y, picture.width - x, picture.height - y))
        inner.save(path, compress_level=1)
        yield "crop", "cropped by an eighth of its width and height", path
    path = folder / "network.webp"
    small = picture.copy()
    small.thumbnail((1280, 1280), Pillow.Resampling.BICUBIC)
    small.save(path, quality=75)
    yield "network", "passed on by a social network (1280 px, WebP of quality 75)", path


def _sounds(audio: Audio, folder: Path) -> Iterator[tuple[str, str, Path]]:
    import soxr

    sound = audio.samples(_SPEECH_RATE, max_seconds=LONGEST_SECONDS)
    narrow = soxr.resample(sound, _SPEECH_RATE, _PHONE_RATE)
    phone = np.asarray(soxr.resample(_mu_law(narrow), _PHONE_RATE, _SPEECH_RATE), np.float32)
    yield "telephone", "sent through a telephone (8 kHz, G.711)", _wav(folder, "telephone", phone)
    yield "mp3", "saved as MP3 of 48 kbit/s", _mp3(folder / "small.mp3", sound)
    power = float(np.sqrt(np.mean(np.square(sound)))) if sound.size else 0.0
    # A fixed seed: the same file gets the same answer.
    hiss = np.random.default_rng(1).standard_normal(sound.size).astype(np.float32)
    noisy = sound + hiss * np.float32(power * 10 ** (-_NOISE_DB / 20))
    yield "noise", f"with noise {_NOISE_DB:.0f} dB below the sound", _wav(folder, "noise", noisy)


def _mu_law(sound: NDArray[Any]) -> NDArray[np.float32]:
    """Through the companding of ITU-T G.711 (mu = 255) with 8 bits and back."""
    x = np.clip(sound, -1.0, 1.0)
    companded = np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256)
    steps = np.round((companded + 1) * 127.5) / 127.5 - 1
    return np.asarray(np.sign(steps) * np.expm1(np.abs(steps) * np.log(256)) / 255, np.float32)


def _wav(folder: Path, name: str, sound: NDArray[np.float32]) -> Path:
    path = folder / f"{name}.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_SPEECH_RATE)
        file.writeframes(_pcm(sound).tobytes())
    return path


def _mp3(path: Path, sound: NDArray[np.float32]) -> Path:
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("libmp3lame", rate=_SPEECH_RATE)
        stream.bit_rate = 48_000
        frame = av.AudioFrame.from_ndarray(_pcm(sound)[None, :], format="s16", layout="mono")
        frame.sample_rate = _SPEECH_RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    return path


def _pcm(sound: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.round(np.clip(sound, -1.0, 1.0) * 32767).astype("<i2")
