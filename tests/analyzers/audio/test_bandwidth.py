from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import soxr
from scipy.signal import butter, lfilter, sosfilt, welch

from assay.analyzers.audio.bandwidth import (
    Bandwidth,
    cut_off,
    hole_share,
    long_term_spectrum,
)
from assay.analyzers.checks import check_analyzer, check_answer
from assay.findings import Claim, Finding, NotApplicable
from assay.media import Audio

Make = Callable[..., Audio]


def music(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Pink-like noise and chords that swell: content up to half the rate."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    noise = lfilter([1], [1, -0.9], rng.normal(0, 1, len(t)))
    chord = sum(np.sin(2 * np.pi * 220 * k * t) / k for k in range(1, 40))
    x = (0.05 * noise + 0.1 * chord) * (1 + 0.6 * np.sin(2 * np.pi * 0.5 * t))
    return (0.5 * x / np.abs(x).max()).astype(np.float32)


def _first(audio: Audio) -> Finding:
    answer = Bandwidth().analyze(audio)
    assert isinstance(answer, tuple)
    check_answer(Bandwidth().info, audio, answer)
    assert all(f.claim is Claim.NEUTRAL and f.raw_score is None for f in answer)
    return answer[0]


def test_contract() -> None:
    check_analyzer(Bandwidth())


def test_spectrum_agrees_with_scipy() -> None:
    x = music(5.0, 44_100)[: 2048 * 100]
    ours = long_term_spectrum(np.array_split(x, 17), 44_100)
    hertz, theirs = welch(
        x, 44_100, "hann", 2048, 0, detrend=False, scaling="spectrum", return_onesided=True
    )
    # Full scale is the peak of a sine here (0 dB) and its mean square there (-3 dB).
    assert np.allclose(ours.hertz, hertz)
    assert np.allclose(ours.decibels[1:-1], 10 * np.log10(2 * theirs[1:-1] + 1e-14), atol=0.01)


@pytest.mark.parametrize("edge", [4000, 7000, 11_000, 16_000])
def test_cut_off_is_where_the_filter_is(edge: int) -> None:
    x = sosfilt(butter(20, edge, fs=44_100, output="sos"), music(4.0, 44_100)).astype(np.float32)
    frequency, drop = cut_off(long_term_spectrum([x], 44_100))
    assert frequency == pytest.approx(edge, abs=350)
    assert drop > 15


def test_full_band(make_audio: Make) -> None:
    assert _first(make_audio(music(4.0, 44_100), 44_100)).code == "audio.bandwidth.full"


@pytest.mark.parametrize("old", [8000, 16_000, 22_050, 24_000])
def test_upsampled(make_audio: Make, old: int) -> None:
    x = soxr.resample(music(4.0, old), old, 48_000)
    found = _first(make_audio(x, 48_000))
    assert found.code == "audio.bandwidth.upsampled"
    assert found.data["earlier_rate_hz"] in {old, 22_050 if old == 24_000 else old}
    assert found.data["limit_hz"] == pytest.approx(old / 2, rel=0.1)


def test_mp3_in_a_wav(make_audio: Make, through_mp3: Callable[..., np.ndarray]) -> None:
    x = through_mp3(music(6.0, 44_100), 44_100, 128_000)
    found = _first(make_audio(x, 44_100))
    assert found.code == "audio.bandwidth.codec_history"
    assert 15_500 < float(str(found.data["limit_hz"])) < 17_500
    # The same sound in an MP3 file is no surprise.
    assert _first(make_audio(x, 44_100, codec="mp3float")).code == "audio.bandwidth.limited"


def test_emptied_bands() -> None:
    rng = np.random.default_rng(0)
    x = (0.1 * rng.normal(0, 1, 2048 * 200)).astype(np.float32)
    whole = long_term_spectrum([x], 44_100)
    assert hole_share(whole, 22_050) == 0.0
    z = np.fft.rfft(x.reshape(-1, 2048), axis=1)
    z[::4, 400:520] = 0
    holed = np.fft.irfft(z, axis=1).ravel().astype(np.float32)
    share = hole_share(long_term_spectrum([holed], 44_100), 22_050)
    # One frame in four; at a band's edges the tile under it is empty as well.
    assert 0.005 <= share <= 0.25 * 6 / 39


@pytest.mark.parametrize("n", [0, 1, 2047, 2048])
def test_too_short(make_audio: Make, n: int) -> None:
    answer = Bandwidth().analyze(make_audio(np.full(n, 0.1, np.float32), 44_100))
    assert isinstance(answer, NotApplicable)
    assert answer.code == "short"


def test_silence(make_audio: Make) -> None:
    answer = Bandwidth().analyze(make_audio(np.zeros(44_100, np.float32), 44_100))
    assert isinstance(answer, NotApplicable)
    assert answer.code == "silence"


def test_tiles_of_long_sound_are_thinned_out() -> None:
    x = np.zeros(2048 * 9000, np.float32)
    spectrum = long_term_spectrum((x[i : i + 65_536] for i in range(0, len(x), 65_536)), 16_000)
    assert spectrum.frames == 9000
    assert len(spectrum.tiles) <= 4000
