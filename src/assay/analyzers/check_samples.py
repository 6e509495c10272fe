"""Small media of awkward kinds for :mod:`assay.analyzers.checks`, made by code.

Every file is written into the given folder and read back by Pillow or PyAV directly, so
that the contract suite does not rest on the decoder it helps to test.
"""

from __future__ import annotations

import hashlib
import io
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.media import Audio, Image, Media, MediaKind, Packet, Source, Stream, Video

__all__ = ["Sample", "samples"]

_MIME = {
    "png": "image/png", "jpeg": "image/jpeg", "wav": "audio/wav", "mp4": "video/mp4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """``media`` is ready to be analysed; ``name`` says what is awkward about it."""

    name: str
    media: Media


def samples(kind: MediaKind, folder: Path) -> Iterator[Sample]:
    """The samples of one ``kind``, their files in ``folder``; the same each time."""
    makers: dict[MediaKind, Callable[[Path], Iterator[Sample]]] = {
        MediaKind.IMAGE: _images, MediaKind.VIDEO: _videos, MediaKind.AUDIO: _sounds,
    }  # fmt: skip
    yield from makers[kind](folder)


def _source(folder: Path, name: str, data: bytes, kind: str) -> Source:
    path = folder / name
    path.write_bytes(data)
    return Source(
        path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data), format=kind,
        mime=_MIME[kind], extension_matches=True,
    )  # fmt: skip


def _scene(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Shading, an edge and sensor-like noise, uint8 [height, width, 3]."""
    random = np.random.default_rng(seed)
    x = np.linspace(0, 1, width)[None, :, None]
    y = np.linspace(0, 1, height)[:, None, None]
    picture = 40 + 120 * x + 60 * y * np.array([1.0, 0.6, 0.3])
    picture = picture + 30 * ((x > 0.4) & (y > 0.3)) + random.normal(0, 3, (height, width, 3))
    pixels: NDArray[np.uint8] = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return pixels


def _frozen(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    pixels = np.ascontiguousarray(pixels)
    pixels.setflags(write=False)
    return pixels


def _image(source: Source, pixels: NDArray[np.uint8]) -> Image:
    return Image(
        source=source, pixels=_frozen(pixels), stored_width=pixels.shape[1],
        stored_height=pixels.shape[0],
    )  # fmt: skip


def _images(folder: Path) -> Iterator[Sample]:
    from PIL import Image as Pillow

    def png(name: str, array: NDArray[np.uint8] | NDArray[np.uint16]) -> Source:
        out = io.BytesIO()
        Pillow.fromarray(array).save(out, "PNG")
        return _source(folder, f"{name}.png", out.getvalue(), "png")

    def jpeg(name: str, picture: Pillow.Image) -> tuple[Source, NDArray[np.uint8]]:
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=88)
        with Pillow.open(io.BytesIO(out.getvalue())) as back:
            pixels = np.asarray(back.convert("RGB"))
        return _source(folder, f"{name}.jpg", out.getvalue(), "jpeg"), pixels

    shapes = {
        "one_pixel": (1, 1), "ordinary_png": (160, 120), "very_wide": (2000, 2),
        "very_tall": (3, 1500), "seven_pixels": (7, 7),
    }  # fmt: skip
    for name, (width, height) in shapes.items():
        pixels = _scene(width, height)
        yield Sample(name, _image(png(name, pixels), pixels))

    source, pixels = jpeg("ordinary_jpeg", Pillow.fromarray(_scene(200, 150, 1)))
    yield Sample("ordinary_jpeg", _image(source, pixels))

    flat = np.full((96, 128, 3), 127, np.uint8)
    yield Sample("one_colour", _image(png("one_colour", flat), flat))

    grey = _scene(128, 96, 2)[:, :, 1]
    image = _image(png("grey", grey), np.repeat(grey[:, :, None], 3, axis=2))
    yield Sample("grey", replace(image, mode="L"))

    source, pixels = jpeg("cmyk", Pillow.fromarray(_scene(128, 96, 3)).convert("CMYK"))
    yield Sample("cmyk", replace(_image(source, pixels), mode="CMYK"))

    deep = _scene(128, 96, 4)[:, :, 0].astype(np.uint16) * 257
    image = _image(png("deep", deep), np.repeat((deep >> 8).astype(np.uint8)[:, :, None], 3, 2))
    yield Sample("sixteen_bit", replace(image, mode="I;16", bit_depth=16))

    pixels = _scene(128, 96, 5)
    alpha = np.tile(np.arange(128, dtype=np.uint8), (96, 1))
    image = _image(png("alpha", np.dstack([pixels, alpha])), pixels)
    yield Sample("alpha", replace(image, mode="RGBA", alpha=_frozen(alpha)))

    source, pixels = jpeg("whole", Pillow.fromarray(_scene(200, 150, 6)))
    data = source.path.read_bytes()
    cut = _source(folder, "truncated.jpg", data[: len(data) // 2], "jpeg")
    pixels = pixels.copy()
    pixels[75:] = 128  # what a lenient decoder shows for the missing half
    notes = ("the file is truncated; what is missing is grey",)
    yield Sample("truncated", replace(_image(cut, pixels), notes=notes))


def _sound(source: Source, rate: int, samples: NDArray[np.float32]) -> Audio:
    """``samples`` float32 [count, channels]."""

    def blocks(wanted: int | None, mono: bool, seconds: float) -> Iterator[NDArray[np.float32]]:
        from scipy.signal import resample_poly

        x = samples.mean(axis=1, dtype=np.float32) if mono else samples
        if wanted is not None and wanted != rate and len(x):
            ratio = Fraction(wanted, rate)
            x = resample_poly(x, ratio.numerator, ratio.denominator, axis=0).astype(np.float32)
        size = max(1, round(seconds * (wanted or rate)))
        for first in range(0, len(x), size):
            block = x[first : first + size].copy()
            block.setflags(write=False)
            yield block

    return Audio(
        source=source, rate=rate, channels=samples.shape[1], duration=len(samples) / rate,
        codec="pcm_s16le", bit_rate=16 * rate * samples.shape[1], sample_format="s16",
        _decode=blocks,
    )  # fmt: skip


def _voice(rate: int, seconds: float, channels: int) -> NDArray[np.float32]:
    """Harmonics in syllables over a noise floor: enough to take for speech at a glance."""
    random = np.random.default_rng(7)
    t = np.arange(round(rate * seconds)) / rate
    pitch = 2 * np.pi * np.cumsum(120 + 15 * np.sin(2 * np.pi * 2.1 * t)) / rate
    tone = sum(np.sin(k * pitch) / k for k in range(1, 20) if k * 140 < rate / 2)
    envelope = np.clip(np.sin(2 * np.pi * 3.3 * t), 0, None)
    x = 0.2 * tone * envelope + 0.004 * random.standard_normal(len(t))
    return np.repeat(x.astype(np.float32)[:, None], channels, axis=1)


def _sounds(folder: Path) -> Iterator[Sample]:
    def wav(name: str, rate: int, x: NDArray[np.float32], drop: int = 0) -> Audio:
        out = io.BytesIO()
        pcm = np.clip(np.rint(x * 32767), -32768, 32767).astype("<i2")
        with wave.open(out, "wb") as file:
            file.setnchannels(x.shape[1])
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(pcm.tobytes())
        data = out.getvalue()
        source = _source(folder, f"{name}.wav", data[: len(data) - drop], "wav")
        kept = len(pcm) - drop // (2 * x.shape[1])
        return _sound(source, rate, (pcm[:kept] / 32768).astype(np.float32))

    yield Sample("no_sample", wav("no_sample", 16000, np.zeros((0, 1), np.float32)))
    yield Sample("one_sample", wav("one_sample", 16000, np.full((1, 1), 0.5, np.float32)))
    yield Sample("silence", wav("silence", 16000, np.zeros((32000, 1), np.float32)))
    yield Sample("voice_16k", wav("voice_16k", 16000, _voice(16000, 5.0, 1)))
    yield Sample("stereo_48k", wav("stereo_48k", 48000, _voice(48000, 2.0, 2)))
    yield Sample("telephone", wav("telephone", 8000, _voice(8000, 3.0, 1)))
    clipped = np.clip(_voice(16000, 2.0, 1) * 20, -1, 1).astype(np.float32)
    yield Sample("clipped", wav("clipped", 16000, clipped))
    yield Sample("truncated", wav("truncated", 16000, _voice(16000, 4.0, 1), drop=64000))


def _write_video(path: Path, frames: int, size: tuple[int, int], sound: bool) -> None:
    import av

    with av.open(str(path), "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        voice = file.add_stream("aac", rate=16000, layout="mono") if sound else None
        for i in range(frames):
            pixels = np.roll(_scene(size[0], size[1], 8), 2 * i, axis=1)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode(None))
        if voice is not None:
            x = _voice(16000, frames / 10, 1).T.copy()
            frame = av.AudioFrame.from_ndarray(x, format="fltp", layout="mono")
            frame.sample_rate = 16000
            file.mux(voice.encode(frame))
            file.mux(voice.encode(None))


def _video(source: Source, size: tuple[int, int], *, most: int | None = None) -> Video:
    """Read by PyAV; ``most`` frames and packets at most, as if the rest were lost."""
    import av

    def pictures() -> Iterator[Image]:
        count = 0
        with av.open(str(source.path)) as file:
            for frame in file.decode(video=0):
                if most is not None and count >= most:
                    return
                pixels = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
                image = _image(source, pixels)
                yield replace(image, time=float(frame.time or 0.0))
                count += 1

    def frames(times: Sequence[float] | None) -> Iterator[Image]:
        if times is None:
            yield from pictures()
            return
        wanted = list(times)
        shown: Image | None = None
        for image in pictures():
            while wanted and shown is not None and wanted[0] < (image.time or 0.0):
                yield shown
                wanted = [t for t in wanted if t >= (image.time or 0.0)]
            shown = image
        if shown is not None and wanted:
            yield shown

    def packets() -> Iterator[Packet]:
        count = 0
        with av.open(str(source.path)) as file:
            base = file.streams.video[0].time_base or Fraction(1, 1)
            for packet in file.demux(video=0):
                if packet.size == 0 or (most is not None and count >= most):
                    continue
                yield Packet(
                    time=None if packet.pts is None else float(packet.pts * base),
                    decode_time=None if packet.dts is None else float(packet.dts * base),
                    duration=float(packet.duration * base) if packet.duration else None,
                    size=packet.size, keyframe=packet.is_keyframe,
                )  # fmt: skip
                count += 1

    with av.open(str(source.path)) as file:
        length = float(file.duration or 0) / av.time_base
        sound: Audio | None = None
        streams = [Stream(index=0, kind="video", codec="mpeg4", duration=length)]
        if file.streams.audio:
            parts = [f.to_ndarray() for f in file.decode(audio=0)]
            x = np.concatenate(parts, axis=1).T.astype(np.float32)
            sound = replace(_sound(source, 16000, x), codec="aac", sample_format="fltp")
            streams.append(Stream(index=1, kind="audio", codec="aac", duration=length))
    return Video(
        source=source, width=size[0], height=size[1], duration=length, frame_rate=10.0,
        rotation=0, codec="mpeg4", pixel_format="yuv420p", bit_rate=0, streams=tuple(streams),
        sound=sound, notes=("the file is truncated",) if most is not None else (),
        _frames=frames, _packets=packets,
    )  # fmt: skip


def _videos(folder: Path) -> Iterator[Sample]:
    plans = {
        "one_frame": (1, (64, 48), False),
        "ordinary_with_sound": (20, (96, 64), True),
        "very_wide": (3, (640, 16), False),
    }
    for name, (count, size, sound) in plans.items():
        path = folder / f"{name}.mp4"
        _write_video(path, count, size, sound)
        yield Sample(name, _video(_source(folder, path.name, path.read_bytes(), "mp4"), size))
    path = folder / "truncated.mp4"
    _write_video(path, 20, (96, 64), False)
    source = _source(folder, path.name, path.read_bytes(), "mp4")
    yield Sample("truncated", _video(source, (96, 64), most=5))
    yield Sample("nothing_decodes", _video(source, (96, 64), most=0))
