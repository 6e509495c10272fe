"""Small pictures and drawings, against independent tools."""

from __future__ import annotations

import base64
import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from assay.findings import Grid, Series
from assay.limits import Limits
from assay.media import Audio, Image, Video, decode
from assay.report import figures, pictures
from assay.report.document import Picture

SAMPLES = Path(__file__).parents[1] / "media" / "samples"


def _open(picture: Picture) -> Pillow.Image:
    image = Pillow.open(io.BytesIO(base64.b64decode(picture.data, validate=True)))
    image.load()
    assert image.size == (picture.width, picture.height)
    return image


def _sound(source: Audio, rate: int, duration: float, blocks: object) -> Audio:
    def read(wanted: int | None, mono: bool, seconds: float) -> Iterator[np.ndarray]:
        assert wanted in (None, rate)
        yield from blocks()  # type: ignore[operator]

    return Audio(
        source=source.source, rate=rate, channels=1, duration=duration, codec="pcm", _decode=read
    )


@pytest.fixture(scope="module")
def speech() -> Audio:
    media = decode(SAMPLES / "speech.flac", Limits())
    assert isinstance(media, Audio)
    return media


@pytest.fixture(scope="module")
def astronaut() -> Image:
    media = decode(SAMPLES / "astronaut.png", Limits())
    assert isinstance(media, Image)
    return media


def test_a_preview_looks_like_the_picture(astronaut: Image) -> None:
    picture = pictures.preview(astronaut, 200)
    small = np.asarray(_open(picture).convert("RGB"), float)
    assert max(picture.width, picture.height) == 200
    assert picture.scale == 200 / 512
    expected = np.asarray(
        Pillow.fromarray(astronaut.pixels).resize((200, 200), Pillow.Resampling.LANCZOS), float
    )
    assert np.abs(small - expected).mean() < 6


def test_a_small_picture_is_not_enlarged(astronaut: Image) -> None:
    assert pictures.preview(astronaut, 5000).width == 512


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1)])
def test_extreme_shapes(astronaut: Image, shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 90, np.uint8)
    image = Image(
        source=astronaut.source, pixels=pixels, stored_width=shape[1], stored_height=shape[0]
    )
    _open(pictures.preview(image))


def test_transparent_parts_are_white(astronaut: Image) -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    alpha = np.zeros((32, 32), np.uint8)
    image = Image(
        source=astronaut.source, pixels=pixels, alpha=alpha, stored_width=32, stored_height=32
    )
    picture = pictures.preview(image)
    assert np.asarray(_open(picture)).min() > 250
    assert "white" in picture.caption


def test_frames_carry_their_times() -> None:
    video = decode(SAMPLES / "portrait.mp4", Limits())
    assert isinstance(video, Video)
    shown = pictures.frames(video, 5, 100)
    assert len(shown) == 5
    times = [p.time for p in shown]
    assert times == sorted(times)
    assert all(0 <= t <= video.duration for t in times if t is not None)
    assert all(max(_open(p).size) == 100 for p in shown)


def test_a_tone_lies_at_its_frequency(speech: Audio) -> None:
    rate, tone = 24_000, 3000.0

    def blocks() -> Iterator[np.ndarray]:
        t = np.arange(2 * rate) / rate
        wave = (0.5 * np.sin(2 * np.pi * tone * t)).astype(np.float32)
        wave[rate:] = 0
        yield from np.array_split(wave, 7)

    wave, spectrum = pictures.sound(_sound(speech, rate, 2.0, blocks))
    assert wave.role == "waveform"
    assert spectrum.role == "spectrogram"
    assert spectrum.top_hz == 12_000
    table = np.asarray(_open(spectrum))  # palette indices rise with loudness
    half = round(spectrum.scale)  # columns of the first second
    row = int(table[:, half // 2].argmax())
    assert (1 - (row + 0.5) / spectrum.height) * 12_000 == pytest.approx(tone, abs=100)
    assert table[:, half + 3 :].max() == 0
    ink = np.asarray(_open(wave))
    assert ink[:, 5 : half - 3].sum(axis=0).min() > 100
    assert ink[:, half + 3 :].sum(axis=0).max() == 1
    assert "−6 dB" in wave.caption
    assert wave.width / wave.scale == pytest.approx(2.0, abs=0.03)


def test_the_waveform_holds_the_extremes(speech: Audio) -> None:
    wave = pictures.sound(speech)[0]
    samples = speech.samples()
    ink = np.asarray(_open(wave)).astype(bool)
    length = round(speech.rate / wave.scale)
    peak = np.abs(samples).max()
    for column in range(0, len(samples) // length, 17):
        part = samples[column * length : (column + 1) * length] / peak * 60
        rows = np.flatnonzero(ink[:, column])
        assert rows[0] == pytest.approx(60 - max(0.0, part.max()), abs=1)
        assert rows[-1] == pytest.approx(60 - min(0.0, part.min()), abs=1)


def test_hours_of_sound_need_little_memory(speech: Audio) -> None:
    rate = 8000
    block = np.random.default_rng(1).normal(0, 0.1, rate * 30).astype(np.float32)

    def blocks() -> Iterator[np.ndarray]:
        for _ in range(240):  # two hours, declared as one minute
            yield block

    tracemalloc.start()
    shown = pictures.sound(_sound(speech, rate, 60.0, blocks))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 120e6
    for picture in shown:
        assert 900 < _open(picture).width <= 2400
        assert picture.width / picture.scale == pytest.approx(7200, rel=0.01)
        assert len(picture.data) < 600_000


@pytest.mark.parametrize("count", [0, 1, 100, 511, 513])
def test_very_short_sounds(speech: Audio, count: int) -> None:
    shown = pictures.sound(
        _sound(speech, 8000, count / 8000, lambda: iter([np.ones(count, np.float32)]))
    )
    assert len(shown) == (2 if count else 0)
    for picture in shown:
        _open(picture)


def test_silence_and_odd_numbers(speech: Audio) -> None:
    odd = np.array([0, np.nan, np.inf, -np.inf] * 500, np.float32)
    quiet = np.zeros(2000, np.float32)
    assert "silence" in pictures.sound(_sound(speech, 8000, 0.25, lambda: iter([quiet])))[0].caption
    for picture in pictures.sound(_sound(speech, 8000, 0.25, lambda: iter([odd]))):
        _open(picture)


def test_a_heat_map_is_its_grid() -> None:
    values = tuple(i / 11 for i in range(12))
    uri = figures.heat_map(Grid(rows=3, columns=4, values=values, meaning="x"))
    image = Pillow.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))
    alpha = np.asarray(image)[..., 3]
    assert alpha.shape == (3, 4)
    assert alpha.ravel().tolist() == [round(190 * v) for v in values]


def test_an_outline_surrounds_high_cells() -> None:
    grid = Grid(rows=2, columns=3, values=(0, 1, 0, 0, 1, 0), meaning="x")
    assert figures.outline(grid).count("M") == 6  # a block of 1 by 2 has six sides
    checker = tuple(float((r + c) % 2) for r in range(256) for c in range(256))
    assert figures.outline(Grid(rows=256, columns=256, values=checker, meaning="x")) == ""


def test_ticks_are_few_and_inside() -> None:
    for seconds in (0.0, 0.004, 0.3, 3.0, 59.9, 600.0, 14_400.0, 1e9):
        marks = figures.ticks(seconds)
        assert len(marks) <= 7
        assert all(0 <= float(m.at.rstrip("%")) <= 100 for m in marks)


def test_a_curve_keeps_its_peak() -> None:
    values = [0.0] * 10_000
    values[7777] = 9.0
    series = Series(times=tuple(map(float, range(10_000))), values=tuple(values), meaning="x")
    curve = figures.curve(series, 10_000.0)
    assert curve.high == 9.0
    assert curve.zero is None
    assert "777.7,5.0" in curve.points
    assert curve.points.count(",") <= 800
