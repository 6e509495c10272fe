from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import butter, hilbert, sosfiltfilt

from assay.analyzers.audio.mains_hum import MainsHum, contradicted, phase_breaks, track_tones
from assay.analyzers.checks import check_analyzer, check_answer
from assay.findings import Claim, NotApplicable
from assay.media import Audio

Make = Callable[..., Audio]
RATE = 16_000


def hum(seconds: float, hertz: float, seed: int = 0) -> np.ndarray:
    """Mains hum with two harmonics whose frequency wanders by millihertz."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    phase = 2 * np.pi * np.cumsum(hertz + np.cumsum(rng.normal(0, 1e-5, n))) / RATE
    return sum(a * np.sin(k * phase + k) for k, a in ((1, 0.004), (2, 0.002), (3, 0.001)))


def test_contract() -> None:
    check_analyzer(MainsHum())


@pytest.mark.parametrize("hertz", [49.95, 50.03, 60.02])
def test_frequency_and_phase_agree_with_the_analytic_signal(hertz: float) -> None:
    import soxr

    x = soxr.resample(hum(20.0, hertz), RATE, 1000).astype(np.float32)
    nominal = round(hertz, -1)
    tone = next(t for t in track_tones([x]) if t.nominal == nominal)
    band = butter(2, (nominal - 2, nominal + 2), "bandpass", fs=1000, output="sos")
    theirs = np.unwrap(np.angle(hilbert(sosfiltfilt(band, x.astype(np.float64)))))
    theirs -= 2 * np.pi * nominal * np.arange(len(x)) / 1000
    at = np.round(tone.times * 1000).astype(int)
    inner = (tone.times > 2) & (tone.times < 18)
    difference = tone.phase[inner] - theirs[at[inner]]
    assert np.ptp(difference) < 0.05
    assert tone.frequency == pytest.approx(hertz, abs=0.01)
    assert tone.present > 0.95


@pytest.mark.parametrize("hertz", [50.0, 60.0])
@pytest.mark.parametrize("turn", [0.25, 0.5, 0.75])
def test_a_cut_breaks_the_phase(
    make_audio: Make, make_voice: Callable[..., np.ndarray], hertz: float, turn: float
) -> None:
    x = 0.3 * make_voice(32.0, 1) + hum(32.0, hertz)
    whole = MainsHum().analyze(make_audio(x, RATE))
    assert isinstance(whole, tuple)
    assert [f.code for f in whole] == ["audio.mains_hum.continuous"]
    assert whole[0].claim is Claim.NEUTRAL

    cut = 15 * RATE
    removed = round((60 + turn) / hertz * RATE)
    edited = make_audio(np.concatenate([x[:cut], x[cut + removed :]]), RATE)
    found = MainsHum().analyze(edited)
    assert isinstance(found, tuple)
    check_answer(MainsHum().info, edited, found)
    assert [f.code for f in found] == ["audio.mains_hum.phase_break"]
    assert found[0].claim is Claim.MANIPULATED
    assert found[0].where.start is not None
    assert found[0].where.start + 0.3 == pytest.approx(15.0, abs=0.2)
    jump = float(str(found[0].data["jump_rad"]))
    tone = float(str(found[0].data["tone_hz"]))
    expected = 2 * np.pi * turn * round(tone / hertz)
    assert abs((jump - expected + np.pi) % (2 * np.pi) - np.pi) < 0.25


def test_a_harmonic_that_runs_on_contradicts() -> None:
    x = hum(20.0, 50.0)[::16]
    rng = np.random.default_rng(1)
    t = np.arange(len(x)) / 1000
    step = np.where(t > 10, 1.5, 0.0)
    low = 0.004 * np.sin(2 * np.pi * 50 * t + step)
    high = 0.002 * np.sin(2 * np.pi * 100 * t)
    mixed = (low + high + 1e-5 * rng.normal(0, 1, len(t))).astype(np.float32)
    tones = {tone.nominal: tone for tone in track_tones([mixed])}
    ((time, jump),) = phase_breaks(tones[50.0])[3]
    assert time == pytest.approx(10.0, abs=0.1)
    assert jump == pytest.approx(1.5, abs=0.1)
    assert contradicted(time, jump, tones[50.0], [tones[100.0]])
    assert not contradicted(time, jump, tones[50.0], [])


def test_no_hum_is_not_applicable(make_audio: Make, make_voice: Callable[..., np.ndarray]) -> None:
    for seed in range(4):
        answer = MainsHum().analyze(make_audio(make_voice(12.0, seed), RATE))
        assert isinstance(answer, NotApplicable)
        assert answer.code == "no_hum"


def test_real_speech_is_not_accused(
    make_audio: Make, real_speech: list[tuple[str, np.ndarray, int]]
) -> None:
    for name, x, rate in real_speech:
        answer = MainsHum().analyze(make_audio(x, rate))
        if isinstance(answer, tuple):
            assert all(f.claim is Claim.NEUTRAL for f in answer), name


@pytest.mark.parametrize(("n", "rate", "code"), [
    (0, RATE, "hum_short"), (1, RATE, "hum_short"), (RATE, RATE, "hum_short"),
    (10 * RATE, RATE, "no_hum"), (8000, 800, "hum_rate"),
])  # fmt: skip
def test_nothing_to_follow(make_audio: Make, n: int, rate: int, code: str) -> None:
    answer = MainsHum().analyze(make_audio(np.zeros(n, np.float32), rate))
    assert isinstance(answer, NotApplicable)
    assert answer.code == code


def test_blocks_do_not_matter(make_audio: Make) -> None:
    x = hum(12.0, 50.0).astype(np.float32)
    whole = MainsHum().analyze(make_audio(x, 1000 * 16))
    assert isinstance(whole, tuple)
    parts = MainsHum().analyze(make_audio(x, 1000 * 16, block=0.37))
    assert isinstance(parts, tuple)
    assert parts[0].data == whole[0].data
