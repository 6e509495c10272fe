"""Makes media for tests, from the few real samples in ``samples/`` and from arithmetic.

Run as a program it writes ``samples/portrait.mp4`` anew.
"""

from __future__ import annotations

import struct
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

SAMPLES = Path(__file__).parent / "samples"

Pixels = NDArray[np.uint8]
Sound = NDArray[np.float32]


def astronaut() -> Pixels:
    """uint8 [512, 512, 3]: a portrait photograph with a face."""
    return np.asarray(Pillow.open(SAMPLES / "astronaut.png").convert("RGB"))


def speech() -> tuple[Sound, int]:
    """Three seconds of a person speaking, and the sample rate."""
    with av.open(str(SAMPLES / "speech.flac")) as container:
        parts = [f.to_ndarray().reshape(-1) for f in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    return (np.concatenate(parts) / 32768).astype(np.float32), rate


def tone(seconds: float, rate: int, hertz: float = 440.0, level: float = 0.3) -> Sound:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def wav(path: Path, samples: Sound, rate: int, width: int = 2) -> Path:
    """PCM of ``width`` bytes; ``samples`` [n] or [n, channels] in -1..1."""
    x = samples[:, None] if samples.ndim == 1 else samples
    full = 2 ** (8 * width - 1)
    whole = np.clip(np.rint(x.astype(np.float64) * full), -full, full - 1).astype("<i8")
    raw = whole.view(np.uint8).reshape(*whole.shape, 8)[..., :width]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(x.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw.tobytes())
    return path


def pan(count: int, width: int, height: int, step: int = 2) -> list[Pixels]:
    """``count`` frames in which the portrait moves right, or back where it ends."""
    whole = np.asarray(
        Pillow.fromarray(astronaut()).resize((round(width * 1.5), round(height * 1.5)))
    )
    slack = whole.shape[1] - width
    frames = []
    for i in range(count):
        at = i * step % (2 * slack)
        at = min(at, 2 * slack - at)
        top = at * (whole.shape[0] - height) // max(slack, 1)
        frames.append(np.ascontiguousarray(whole[top : top + height, at : at + width]))
    return frames


def video(
    path: Path,
    frames: list[Pixels],
    *,
    rate: int = 25,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    ticks: list[int] | None = None,
    sound: tuple[Sound, int] | None = None,
    sound_codec: str = "aac",
    container_options: dict[str, str] | None = None,
) -> Path:
    """Writes ``frames`` (uint8 [h, w, 3]) and, with it, ``sound`` (samples, rate).

    ``ticks`` are the frames' times in units of 1/``rate`` s, default 0, 1, 2 ...
    """
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w", options=container_options or {}) as container:
        picture = container.add_stream(codec, rate=rate, options=options or {})
        picture.width, picture.height, picture.pix_fmt = width, height, pixel_format
        voice = None
        if sound is not None:
            voice = container.add_stream(sound_codec, rate=sound[1], layout="mono")
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = ticks[i] if ticks else i
            frame.time_base = Fraction(1, rate)
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        if voice is not None and sound is not None:
            encode_sound(container, voice, *sound)
    return path


def sound(
    path: Path,
    samples: Sound,
    rate: int,
    codec: str,
    bit_rate: int = 0,
    tags: dict[str, str] = {},  # noqa: B006
) -> Path:
    """Writes one mono stream of ``samples``."""
    with av.open(str(path), "w") as container:
        container.metadata.update(tags)
        stream = container.add_stream(codec, rate=rate, layout="mono")
        if bit_rate:
            stream.bit_rate = bit_rate
        encode_sound(container, stream, samples, rate)
    return path


def encode_sound(container: object, stream: object, samples: Sound, rate: int) -> None:
    frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
    frame.sample_rate = rate
    frame.pts = 0
    frame.time_base = Fraction(1, rate)
    context = stream.codec_context
    size = context.frame_size or None
    fit = av.AudioResampler(
        format=context.format, layout=context.layout, rate=rate, frame_size=size
    )
    for ready in (*fit.resample(frame), *fit.resample(None)):
        container.mux(stream.encode(ready))
    container.mux(stream.encode(None))


def rotated(path: Path, degrees: int) -> Path:
    """Sets the display matrix of every track of an MP4: clockwise by ``degrees``."""
    a, b, c, d = {
        0: (1, 0, 0, 1),
        90: (0, 1, -1, 0),
        180: (-1, 0, 0, -1),
        270: (0, -1, 1, 0),
    }[degrees]
    one, w = 1 << 16, 1 << 30
    matrix = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, w)
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd")
    while at >= 0:
        start = at + 4 + (4 + 36 if data[at + 4] == 0 else 4 + 48)
        data[start : start + 36] = matrix
        at = data.find(b"tkhd", at + 4)
    path.write_bytes(data)
    return path


def portrait_video(path: Path, seconds: float = 4.0) -> Path:
    """A face in slow motion with speech: 320 x 240, H.264 and AAC."""
    voice, rate = speech()
    long = np.zeros(round(seconds * rate), np.float32)
    long[: len(voice)] = voice[: len(long)]
    return video(
        path,
        pan(round(25 * seconds), 320, 240, step=1),
        options={"crf": "23", "g": "25"},
        sound=(long, rate),
    )


if __name__ == "__main__":
    print(portrait_video(SAMPLES / "portrait.mp4").stat().st_size)
