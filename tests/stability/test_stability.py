"""Stability: variants are what they say, answers are repeatable, facts do not count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import assay
from assay.media import Audio, Image, decode
from assay.report.as_html import to_html
from assay.report.as_json import from_json, to_json
from assay.report.as_text import to_text
from assay.stability.variants import variants


def test_a_picture_and_its_copies(rocket_jpeg: Path) -> None:
    report = assay.analyze(rocket_jpeg, stability=True)
    found = report.stability
    assert found is not None
    assert [v.code for v in found.variants] == ["jpeg", "half", "crop", "network"]
    chances = [v.probability for v in found.variants if v.probability is not None]
    assert report.probability is not None
    assert found.low == min(report.probability, *chances)
    assert found.high == max(report.probability, *chances)
    assert found.flips == tuple(v.code for v in found.variants if v.verdict != found.verdict)
    assert assay.analyze(rocket_jpeg, stability=True).stability == found
    assert from_json(to_json(report)).stability == found
    for page in (to_text(report), to_html(report)):
        assert "Would the answer survive?" in page
        assert "saved as JPEG of quality 70" in page
    without = assay.analyze(rocket_jpeg)
    assert without.stability is None
    assert without.verdict == report.verdict
    assert without.probability == report.probability
    assert "survive" not in to_text(without)


def test_a_sound_and_its_copies(samples: Path) -> None:
    found = assay.analyze(samples / "speech.flac", stability=True).stability
    assert found is not None
    assert [v.code for v in found.variants] == ["telephone", "mp3", "noise"]
    assert 0 <= found.low <= found.high <= 1


def test_videos_are_not_measured(portrait_video: Path) -> None:
    assert assay.analyze(portrait_video, stability=True).stability is None


def test_a_small_picture_is_not_made_smaller(tmp_path: Path, rocket_jpeg: Path) -> None:
    from PIL import Image as Pillow

    with Pillow.open(rocket_jpeg) as picture:
        picture.crop((0, 0, 140, 140)).save(tmp_path / "small.png")
    media = decode(tmp_path / "small.png")
    assert isinstance(media, Image)
    codes = [code for code, _, _ in variants(media, tmp_path)]
    assert codes == ["jpeg", "network"]


def test_variants_of_a_picture_are_what_they_say(tmp_path: Path, rocket_jpeg: Path) -> None:
    media = decode(rocket_jpeg)
    assert isinstance(media, Image)
    made = {code: decode(path) for code, _, path in variants(media, tmp_path)}
    sizes = {code: (m.width, m.height) for code, m in made.items() if isinstance(m, Image)}
    assert sizes["jpeg"] == (media.width, media.height)
    assert sizes["half"] == (media.width // 2, media.height // 2)
    assert sizes["crop"] == (
        media.width - 2 * (media.width // 16),
        media.height - 2 * (media.height // 16),
    )
    assert made["network"].source.format == "webp"
    inner = made["crop"]
    assert isinstance(inner, Image)
    x, y = media.width // 16, media.height // 16
    assert np.array_equal(inner.pixels, media.pixels[y : y + inner.height, x : x + inner.width]), (
        "a crop changes no pixel"
    )


def test_variants_of_a_sound_are_what_they_say(tmp_path: Path, samples: Path) -> None:
    media = decode(samples / "speech.flac")
    assert isinstance(media, Audio)
    sound = media.samples(16_000)
    made = {}
    for code, _, path in variants(media, tmp_path):
        other = decode(path)
        assert isinstance(other, Audio)
        made[code] = other.samples(16_000)
        assert made[code].size == pytest.approx(sound.size, abs=2500)

    def band(x: np.ndarray, low: float, high: float) -> float:
        power = np.abs(np.fft.rfft(x)) ** 2
        hertz = np.fft.rfftfreq(x.size, 1 / 16_000)
        return float(power[(hertz >= low) & (hertz < high)].sum() / power.sum())

    assert band(made["telephone"], 4200, 8000) < 1e-3
    noise = made["noise"][: sound.size] - sound
    ratio = 10 * np.log10(np.mean(sound**2) / np.mean(noise**2))
    assert ratio == pytest.approx(25, abs=0.5)
