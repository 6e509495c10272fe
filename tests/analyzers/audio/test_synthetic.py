"""Speech made by formulas, and sounds that are no speech."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from assay.analyzers.audio import synthetic
from assay.analyzers.audio.synthetic import ScoredWindow, SyntheticSpeech, pool, segments
from assay.analyzers.audio.voice import SpeechWindows, VoiceActivity, windows_of_speech
from assay.findings import Claim, Finding, NotApplicable, Question
from assay.media import Audio, Source
from assay.models import runtime, store

RATE = 16_000
Sound = NDArray[np.float32]
needs_model = pytest.mark.skipif(
    synthetic.MODEL not in store.available(), reason="the speech model is not installed"
)
# Formants of American English vowels (Peterson and Barney 1952), Hz.
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))


def voice(seconds: float, seed: int = 0) -> Sound:
    """Syllables of a formant synthesiser: pulses through three resonators."""
    rng = np.random.default_rng(seed)
    out = np.zeros(int(seconds * RATE))
    at = 0
    while at < out.size:
        size = min(int(rng.uniform(0.12, 0.28) * RATE), out.size - at)
        t = np.arange(size) / RATE
        pitch = 120 * (1 + 0.25 * np.sin(2 * np.pi * rng.uniform(0.5, 3) * t + rng.uniform(0, 6)))
        x = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0)
        x += 0.02 * rng.standard_normal(size)
        for k, formant in enumerate(VOWELS[rng.integers(len(VOWELS))]):
            r = np.exp(-np.pi * (60, 90, 150)[k] / RATE)
            a = [1.0, -2 * r * np.cos(2 * np.pi * formant / RATE), r * r]
            x = lfilter([sum(a)], a, x)
        out[at : at + size] = x * np.sqrt(np.sin(np.pi * np.arange(size) / size))
        at += size
        gap = min(int(rng.uniform(0.03, 0.09) * RATE), out.size - at)
        if gap > 0 and rng.random() < 0.7:  # a fricative
            hiss = rng.standard_normal(gap) * np.hanning(gap)
            out[at : at + gap] = 0.03 * np.abs(x).max() * hiss
        at += gap
    return (0.4 * out / np.abs(out).max()).astype(np.float32)


def recording(samples: Sound, rate: int = RATE) -> Audio:
    source = Source(
        path=Path("x.wav"), sha256="0" * 64, size=0, format="wav", mime="audio/wav",
        extension_matches=True,
    )  # fmt: skip

    def decode(wanted: int | None, mono: bool, seconds: float) -> Iterator[Sound]:
        assert wanted in (None, rate)
        step = int(seconds * rate)
        for start in range(0, len(samples), step):
            block = samples[start : start + step].copy()
            yield block if mono else block[:, None]

    return Audio(
        source=source, rate=rate, channels=1, duration=len(samples) / rate, codec="pcm_s16le",
        _decode=decode,
    )  # fmt: skip


def windows(
    x: Sound, sizes: tuple[int, ...] = (160_000,)
) -> tuple[list[synthetic.Window], SpeechWindows]:
    totals = SpeechWindows()
    blocks, at, k = [], 0, 0
    while at < len(x):
        blocks.append(x[at : at + sizes[k % len(sizes)]])
        at += sizes[k % len(sizes)]
        k += 1
    return list(windows_of_speech(blocks, totals)), totals


def test_voice_activity_tells_speech_from_silence_noise_and_tones() -> None:
    for x in (
        np.zeros(48_000, np.float32),
        0.1 * np.random.default_rng(0).standard_normal(48_000).astype(np.float32),
        0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / RATE).astype(np.float32),
    ):
        found, totals = windows(x)
        assert found == []
        assert totals.speech_seconds < 0.2
    found, totals = windows(voice(6.0))
    assert len(found) >= 2
    assert totals.speech_seconds > 4.5


def test_voice_activity_does_not_depend_on_the_size_of_blocks() -> None:
    frames = voice(5.0)[: 150 * 512].reshape(-1, 512)
    whole = VoiceActivity()(frames)
    voiced = VoiceActivity()
    parts = np.concatenate([voiced(frames[:1]), voiced(frames[1:70]), voiced(frames[70:])])
    assert np.abs(whole - parts).max() < 1e-4


def test_windows_do_not_depend_on_the_size_of_blocks() -> None:
    x = np.concatenate([voice(7.0), np.zeros(40_000, np.float32), voice(6.0, 1)])
    a, _ = windows(x)
    b, _ = windows(x, (1000, 37, 9_999))
    assert [(w.start, w.end) for w in a] == [(w.start, w.end) for w in b]
    for one, other in zip(a, b, strict=True):
        assert one.samples.shape == (64_000,)
        assert np.array_equal(one.samples, other.samples)


def test_long_pauses_are_left_out_and_times_stay_true() -> None:
    pause = np.zeros(10 * RATE, np.float32)
    found, totals = windows(np.concatenate([voice(2.0), pause, voice(4.0, 1)]))
    assert totals.speech_seconds < 7
    assert found[0].start < 0.2
    assert found[0].end > 12.0  # it spans the pause
    assert found[-1].end <= 16.01
    quiet = [(np.abs(w.samples) < 1e-6).mean() for w in found]
    assert max(quiet) < 0.4


def test_short_speech_is_repeated_to_fill_a_window() -> None:
    (window,), totals = windows(voice(1.5))
    assert 0.2 < window.filled < 0.5
    size = round(window.filled * 64_000)
    assert np.array_equal(window.samples[size : 2 * size], window.samples[:size])
    assert totals.speech_seconds < 1.6


def test_signal_to_noise_ratio_is_measured_in_the_pauses() -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([np.zeros(RATE, np.float32), voice(4.0), np.zeros(RATE, np.float32)])
    x = x + (0.01 * rng.standard_normal(x.size)).astype(np.float32)
    _, totals = windows(x)
    speech = voice(4.0)
    expected = 10 * np.log10(np.square(speech).mean() / 1e-4)
    assert totals.snr_db is not None
    assert abs(totals.snr_db - expected) < 3.0


def test_hop_is_checked() -> None:
    with pytest.raises(ValueError, match="hop"):
        SpeechWindows(0)


def test_pool_is_a_trimmed_mean() -> None:
    assert pool([1.0, 3.0]) == 2.0
    values = [0.0] * 18 + [100.0, -50.0]
    assert pool(values) == 0.0


def test_segments_need_two_windows_in_a_row() -> None:
    logits = [0, 5, 0, 5, 6, 7, 0, 5]
    found = segments([ScoredWindow(2.0 * i, 2.0 * i + 4, v) for i, v in enumerate(logits)], 4.0)
    assert [(s.start, s.end, s.windows, s.logit) for s in found] == [(6.0, 14.0, 3, 6.0)]
    assert len(segments([ScoredWindow(0.0, 4.0, 5.0)], 4.0)) == 1
    assert segments([], 4.0) == []


@needs_model
@pytest.mark.parametrize(
    ("sound", "code"),
    [
        (np.zeros(0, np.float32), "no_speech"),
        (np.zeros(5 * RATE, np.float32), "no_speech"),
        (0.5 * np.sin(np.arange(5 * RATE) / 6).astype(np.float32), "no_speech"),
        (np.full(3 * RATE, np.nan, np.float32), "no_speech"),
        (voice(0.9), "too_little_speech"),
    ],
)
def test_sounds_without_enough_speech_are_refused(sound: Sound, code: str) -> None:
    answer = SyntheticSpeech().analyze(recording(sound))
    assert isinstance(answer, NotApplicable)
    assert answer.code == code
    assert answer.question is Question.SYNTHETIC_SPEECH


@needs_model
@pytest.mark.parametrize("level", [0.0005, 0.02])
def test_noise_above_the_gate_is_refused(level: float) -> None:
    rng = np.random.default_rng(2)
    pause = np.zeros(2 * RATE, np.float32)
    x = np.concatenate([pause, voice(5.0), pause])
    x = x + (level * rng.standard_normal(x.size)).astype(np.float32)
    snr = windows(x)[1].snr_db
    assert snr is not None
    answer = SyntheticSpeech().analyze(recording(x))
    refused = isinstance(answer, NotApplicable) and answer.code == "too_noisy"
    assert refused == (snr < store.card(synthetic.MODEL).gates["min_snr_db"])
    assert refused == (level > 0.01)


@needs_model
def test_a_finding_is_complete_deterministic_and_inside_the_sound() -> None:
    x = voice(11.0, 3)
    before = x.copy()
    analyzer = SyntheticSpeech()
    answer = analyzer.analyze(recording(x))
    assert np.array_equal(x, before)
    assert not isinstance(answer, NotApplicable)
    whole = answer[0]
    assert whole.code == "audio.synthetic"
    assert whole.curve == synthetic.MODEL
    assert whole.raw_score is not None
    assert whole.model is not None
    assert whole.model.sha256 == store.card(synthetic.MODEL).sha256
    assert whole.series is not None
    assert len(whole.series.times) >= 3
    assert whole.where.end is not None
    assert whole.where.end <= 11.0
    assert whole.limits
    again = analyzer.analyze(recording(x))
    assert again == answer


@needs_model
def test_claim_follows_the_stated_point(monkeypatch: pytest.MonkeyPatch) -> None:
    points = store.card(synthetic.MODEL).points
    assert points is not None

    def at(logit: float) -> Finding:
        def run(key: str, inputs: dict[str, Sound], *, batch: int = 16) -> dict[str, Sound]:
            if key != synthetic.MODEL:
                return real(key, inputs, batch=batch)
            return {"logit": np.full(len(inputs["input"]), logit, np.float32)}

        real = runtime.run
        with monkeypatch.context() as patch:
            patch.setattr(runtime, "run", run)
            answer = SyntheticSpeech().analyze(recording(voice(9.0)))
        assert not isinstance(answer, NotApplicable)
        return answer[0]

    assert at(points.fpr_1pct + 0.01).claim is Claim.SYNTHETIC
    assert at(points.fpr_1pct - 0.01).claim is Claim.NEUTRAL
    assert "none of the traces" in at(points.low_band - 0.01).because
