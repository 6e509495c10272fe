"""Small pictures of the media, kept in the report so that it can be shown without them.

Axes are drawn by the renderings, not in the bitmaps. Memory does not grow with the length
of a sound: it is read once, in blocks, into columns that are merged in pairs when there
are too many.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from assay.media import Audio, Image, Video
from assay.report.document import Picture

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

__all__ = ["frames", "preview", "sound"]

_RATE = 24_000  # Hz; shows the band up to 12 kHz
_WINDOW = 512  # samples of one spectrum, 21 ms at 24 kHz
_WINDOWS = 8  # spectra averaged into one column, at most
_COLUMNS = 960
_SHORTEST = 128  # samples of a column
_ROWS = 128
_WAVE_ROWS = 121
_LOUDEST = 16.0  # sample value
_RANGE = 80.0  # dB from the darkest to the brightest colour
_INK = (70, 110, 160)  # of the waveform; readable on white and on black
# Anchors of the colour map, from quiet to loud; lightness rises all the way.
_COLOURS = (
    (14, 17, 27), (32, 44, 84), (52, 90, 133), (100, 143, 148), (187, 192, 148), (250, 243, 208),
)  # fmt: skip


def preview(image: Image, max_side: int = 960) -> Picture:
    """``image`` as a JPEG whose longer side has at most ``max_side`` pixels."""
    picture = _small(image, max_side)
    caption = "" if image.alpha is None else "Transparent parts are shown on white."
    return Picture(
        role="preview",
        mime="image/jpeg",
        width=picture.width,
        height=picture.height,
        data=_encoded(picture, "JPEG"),
        scale=picture.width / image.width,
        caption=caption,
    )


def frames(
    video: Video, count: int, max_side: int = 480, also: Iterable[float] = ()
) -> tuple[Picture, ...]:
    """Up to ``count`` frames spread over ``video``, as JPEG, each with its time in seconds.

    ``also``: further times (seconds) that must be shown, as evidence points to them.
    """
    found = []
    times = sorted({*video.sample_times(count), *also})
    for frame in video.frames(times):
        picture = _small(frame, max_side)
        found.append(
            Picture(
                role="frame",
                mime="image/jpeg",
                width=picture.width,
                height=picture.height,
                data=_encoded(picture, "JPEG"),
                time=frame.time or 0.0,
                scale=picture.width / frame.width,
            )
        )
        if len(found) >= len(times):
            break
    return tuple(found)


def sound(audio: Audio) -> tuple[Picture, ...]:
    """Waveform and spectrogram of ``audio`` as PNG over the same time axis.

    The spectrogram is of the mean of the channels, linear in frequency up to 12 kHz or
    half the sample rate, in decibels over a range of 80 dB below its loudest place; the
    waveform shows the lowest and highest sample of each column, drawn to its own peak.
    Empty for a sound without samples.
    """
    rate = min(audio.rate, _RATE)
    columns = _Columns(max(_SHORTEST, math.ceil(audio.duration * rate / _COLUMNS)))
    for block in audio.blocks(rate, mono=True):
        columns.add(block)
    columns.finish()
    if not columns.samples:
        return ()
    low, high, power = columns.low, columns.high, columns.power
    scale = rate / columns.length
    peak = float(max(high.max(), -low.min()))
    wave, spectrum = _draw_wave(low, high, peak), _draw_spectrum(power)
    return (
        Picture(
            role="waveform",
            mime="image/png",
            width=wave.width,
            height=wave.height,
            data=_encoded(wave, "PNG"),
            scale=scale,
            caption=_loudness(peak),
        ),
        Picture(
            role="spectrogram",
            mime="image/png",
            width=spectrum.width,
            height=spectrum.height,
            data=_encoded(spectrum, "PNG"),
            scale=scale,
            caption="Brighter is louder, over a range of 80 dB.",
            top_hz=rate / 2,
        ),
    )


def _loudness(peak: float) -> str:
    if peak <= 0:
        return "Digital silence."
    level = f"{20 * math.log10(peak):.0f}".replace("-", "−")
    return f"Drawn to its own peak, which lies at {level} dB of full scale."


class _Columns:
    """Extremes and mean power spectrum of equal stretches of a sound, in bounded memory."""

    def __init__(self, length: int) -> None:
        self.samples = 0
        self.low: NDArray[np.float32] = np.zeros(0, np.float32)
        self.high: NDArray[np.float32] = np.zeros(0, np.float32)
        self.power: NDArray[np.float32] = np.zeros((0, _ROWS), np.float32)
        self.length = length
        self._rest: NDArray[np.float32] = np.zeros(0, np.float32)
        self._taper = np.hanning(_WINDOW).astype(np.float32)

    def add(self, block: NDArray[np.float32]) -> None:
        self.samples += len(block)
        # Floating-point sound may hold anything; beyond 24 dB over full scale is noise.
        tame = np.clip(np.nan_to_num(block), -_LOUDEST, _LOUDEST)
        data = np.concatenate([self._rest, tame])
        # The last spectrum of a column may reach into the next one.
        count = max(0, (len(data) - _WINDOW) // self.length)
        count -= (len(self.low) + count) % 2 if count else 0  # columns merge in pairs
        self._append(data, count)
        self._rest = data[count * self.length :]
        while len(self.low) > 2 * _COLUMNS and len(self.low) % 2 == 0:
            self._merge()

    def finish(self) -> None:
        count = math.ceil(len(self._rest) / self.length)
        padded = np.zeros(count * self.length + _WINDOW, np.float32)
        padded[: len(self._rest)] = self._rest
        self._append(padded, count)
        self._rest = self._rest[:0]

    def _append(self, data: NDArray[np.float32], count: int) -> None:
        if not count:
            return
        length = self.length
        table = data[: count * length].reshape(count, length)
        self.low = np.concatenate([self.low, table.min(axis=1)])
        self.high = np.concatenate([self.high, table.max(axis=1)])
        views = np.lib.stride_tricks.sliding_window_view(data, _WINDOW)
        number = min(_WINDOWS, max(1, length // _WINDOW))
        total = np.zeros((count, _ROWS), np.float32)
        for j in range(number):
            starts = np.arange(count) * length + j * length // number
            spectra = np.abs(np.fft.rfft(views[starts] * self._taper, axis=1)) ** 2
            total += spectra[:, 1:].reshape(count, _ROWS, -1).mean(axis=2).astype(np.float32)
        self.power = np.concatenate([self.power, total / number])

    def _merge(self) -> None:
        self.low = self.low.reshape(-1, 2).min(axis=1)
        self.high = self.high.reshape(-1, 2).max(axis=1)
        self.power = self.power.reshape(-1, 2, _ROWS).mean(axis=1)
        self.length *= 2


def _draw_wave(low: NDArray[np.float32], high: NDArray[np.float32], peak: float) -> PillowImage:
    from PIL import Image as Pillow

    middle = _WAVE_ROWS // 2
    step = middle / peak if peak > 0 else 0.0
    top = middle - np.rint(high * step).astype(int)
    bottom = middle - np.rint(low * step).astype(int)
    rows = np.arange(_WAVE_ROWS)[:, None]
    inked = ((rows >= top) & (rows <= bottom)) | (rows == middle)
    picture = Pillow.fromarray(inked.astype(np.uint8), "P")
    picture.putpalette([255, 255, 255, *_INK])
    picture.info["transparency"] = 0
    return picture


def _draw_spectrum(power: NDArray[np.float32]) -> PillowImage:
    from PIL import Image as Pillow

    level = 10 * np.log10(np.maximum(power.T[::-1].astype(np.float64), 1e-12))
    top = level.max()
    shade = np.clip((level - (top - _RANGE)) / _RANGE, 0, 1) if top > -100 else level * 0
    anchors = np.array(_COLOURS, np.float64)
    at = np.linspace(0, 1, len(anchors))
    ramp = np.stack([np.interp(np.linspace(0, 1, 64), at, anchors[:, c]) for c in range(3)], 1)
    picture = Pillow.fromarray(np.rint(shade * 63).astype(np.uint8), "P")
    picture.putpalette(np.rint(ramp).astype(np.uint8).tobytes())
    return picture


def _small(image: Image, max_side: int) -> PillowImage:
    from PIL import Image as Pillow

    picture = Pillow.fromarray(image.pixels)
    size = _size(image.width, image.height, max_side)
    small = picture.resize(size, Pillow.Resampling.BICUBIC, reducing_gap=2.0)
    if image.alpha is not None:
        cover = Pillow.fromarray(image.alpha).resize(
            size, Pillow.Resampling.BICUBIC, reducing_gap=2.0
        )
        small = Pillow.composite(small, Pillow.new("RGB", size, "white"), cover)
    return small


def _size(width: int, height: int, max_side: int) -> tuple[int, int]:
    factor = min(1.0, max_side / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _encoded(picture: PillowImage, form: str) -> str:
    target = io.BytesIO()
    options = {"quality": 82} if form == "JPEG" else {"optimize": True}
    picture.save(target, form, **options)
    return base64.b64encode(target.getvalue()).decode("ascii")
