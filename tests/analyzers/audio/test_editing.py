from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter, stft

from assay.analyzers.audio import splice
from assay.analyzers.audio.editing import CURVE, AudioEditing, pool
from assay.analyzers.checks import check_analyzer, check_answer
from assay.findings import Claim, Finding, NotApplicable
from assay.media import Audio
from assay.models import store

Make = Callable[..., Audio]
Sound = np.ndarray


def _findings(audio: Audio) -> dict[str, Finding]:
    answer = AudioEditing().analyze(audio)
    assert isinstance(answer, tuple)
    check_answer(AudioEditing().info, audio, answer)
    return {f.code.rsplit(".", 1)[1]: f for f in answer}


def test_contract() -> None:
    check_analyzer(AudioEditing())


def test_band_levels_agree_with_scipy(make_voice: Callable[..., Sound]) -> None:
    x = make_voice(1.0)
    window = np.hanning(256).astype(np.float32)
    _, _, z = stft(
        x, 1.0, window=window, nperseg=256, noverlap=128, boundary=None, padded=False,
        scaling="spectrum",
    )  # fmt: skip
    power = np.abs(z * window.sum()) ** 2
    edges = np.round(np.linspace(2, 128, 17)).astype(int)
    theirs = np.stack([power[a:b].mean(axis=0) for a, b in pairwise(edges)], 1)
    assert np.allclose(splice.band_levels(x), 10 * np.log10(theirs + 1e-7), atol=1e-3)


def test_prediction_error_agrees_with_scipy(make_voice: Callable[..., Sound]) -> None:
    x = make_voice(0.5)
    frame = (x[1024:1536] * np.hanning(512)).astype(np.float64)
    r = np.correlate(frame, frame, "full")[511 : 511 + 17]
    r[0] = r[0] * 1.001 + 1e-7
    a = solve_toeplitz(r[:16], r[1:17])
    theirs = lfilter(np.concatenate([[1.0], -a]), [1.0], x.astype(np.float64))
    ours = splice._prediction_error(x)
    # Frame 4 begins at sample 1024; its error is that of samples 1152 to 1407.
    assert np.allclose(ours[1152 - 128 : 1408 - 128], theirs[1152:1408], atol=2e-5)


def test_joined_recordings_are_found_and_originals_not_accused(
    make_audio: Make, make_voice: Callable[..., Sound]
) -> None:
    rng = np.random.default_rng(5)
    quiet = make_voice(1.5, 1, noise=2e-5)
    hiss = make_voice(1.5, 2, noise=1e-5)
    hiss = hiss + 0.02 * np.diff(rng.normal(0, 1, len(hiss) + 1), n=1)
    joined = np.concatenate([quiet, hiss]).astype(np.float32)
    found = _findings(make_audio(joined, 16_000))["background"]
    assert found.claim is Claim.MANIPULATED
    assert found.where.start is not None
    assert found.where.end is not None
    assert found.where.start <= 1.5 <= found.where.end
    assert found.curve == CURVE
    assert (found.raw_score or 0.0) >= store.card(CURVE).gates["claim_db"]
    for seed in range(12):
        one = _findings(make_audio(make_voice(3.0, seed), 16_000))
        assert all(f.claim is Claim.NEUTRAL for f in one.values())


def test_real_speech_is_not_accused(
    make_audio: Make, real_speech: list[tuple[str, Sound, int]]
) -> None:
    for name, x, rate in real_speech:
        answer = AudioEditing().analyze(make_audio(x, rate))
        assert isinstance(answer, tuple)
        assert not [f.because for f in answer if f.claim is Claim.MANIPULATED], name


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_blanked_passage(make_audio: Make, make_voice: Callable[..., Sound], rate: int) -> None:
    x = make_voice(4.0, 3, rate=rate)
    loud = int(np.argmax(np.abs(x[rate : 2 * rate]))) + rate
    x[loud : loud + rate // 4] = 0.0
    found = _findings(make_audio(x, rate))["digital_silence"]
    assert found.claim is Claim.MANIPULATED
    assert found.where.start == pytest.approx(loud / rate, abs=1e-3)
    assert found.where.end == pytest.approx((loud + rate // 4) / rate, abs=1e-3)


def test_a_gate_is_not_accused(make_audio: Make, make_voice: Callable[..., Sound]) -> None:
    x = make_voice(8.0, 4)
    level = np.convolve(np.abs(x), np.ones(800) / 800, "same")
    x[level < 0.004] = 0.0
    found = _findings(make_audio(x, 16_000))["digital_silence"]
    assert found.claim is Claim.NEUTRAL
    assert isinstance(found.data["count"], int)
    assert found.data["count"] >= 2


def test_padding_is_told_apart_from_silence_inside(
    make_audio: Make, make_voice: Callable[..., Sound]
) -> None:
    x = np.concatenate([np.zeros(3200, np.float32), make_voice(2.0, 5), np.zeros(1600, np.float32)])
    found = _findings(make_audio(x, 16_000))
    assert "digital_silence" not in found
    assert found["padding"].claim is Claim.NEUTRAL
    assert "0.20 s at the beginning and 0.10 s at the end" in found["padding"].because


def test_a_jump_in_a_pause_is_found(make_audio: Make) -> None:
    rng = np.random.default_rng(6)
    x = lfilter([1], [1, -0.97], 0.001 * rng.normal(0, 1, 64_000)).astype(np.float32)
    x[30_000:] += 0.08
    found = _findings(make_audio(x, 16_000))["jump"]
    assert found.claim is Claim.NEUTRAL
    assert found.where.start is not None
    assert abs(found.where.start + 0.01 - 30_000 / 16_000) < 0.002
    x[30_000:] -= 0.08
    assert "jump" not in _findings(make_audio(x, 16_000))


def test_overdrive(make_audio: Make, make_voice: Callable[..., Sound]) -> None:
    x = make_voice(2.0, 7)
    found = _findings(make_audio(np.clip(8 * x, -1, 1), 16_000))
    assert found["clipping"].claim is Claim.NEUTRAL
    assert "clipping" not in _findings(make_audio(x, 16_000))


def test_pool_is_the_mean_of_ratios() -> None:
    assert pool([5.0]) == pytest.approx(5.0)
    assert pool([5.0] * 40) == pytest.approx(5.0)
    assert 7.0 * np.log(0.25) < pool([20.0, 0.0, 0.0, 0.0]) - 20.0 < 0.0
    assert pool([300.0, 0.0]) == pytest.approx(300 - 7.0 * np.log(2))


@pytest.mark.parametrize("n", [0, 1, 2, 255, 16_000])
def test_short_and_constant_sound(make_audio: Make, n: int) -> None:
    silent = AudioEditing().analyze(make_audio(np.zeros(n, np.float32), 16_000))
    assert isinstance(silent, NotApplicable)
    assert silent.code == ("silence" if n else "no_sound")
    held = AudioEditing().analyze(make_audio(np.full(n, 0.25, np.float32), 16_000))
    if n:
        assert isinstance(held, tuple)
        assert all(f.claim is Claim.NEUTRAL for f in held)


def test_the_size_of_blocks_does_not_matter(
    make_audio: Make, make_voice: Callable[..., Sound]
) -> None:
    x = make_voice(5.0, 8)
    whole = AudioEditing().analyze(make_audio(x, 16_000))
    assert AudioEditing().analyze(make_audio(x, 16_000, block=0.013)) == whole


def test_memory_does_not_grow_with_length(
    make_audio: Make, make_voice: Callable[..., Sound]
) -> None:
    x = make_voice(10.0, 9)
    audio = make_audio(x, 16_000)

    def again(times: int) -> int:
        def blocks(rate: int | None, mono: bool, seconds: float) -> Iterator[np.ndarray]:
            for _ in range(times):
                yield from audio.blocks(rate, mono=mono, seconds=seconds)

        long = Audio(
            source=audio.source, rate=16_000, channels=1, duration=10.0 * times, codec="pcm_s16le",
            _decode=blocks,
        )  # fmt: skip
        tracemalloc.start()
        AudioEditing().analyze(long)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    again(1)  # imports
    assert again(20) < 1.5 * again(4) + 2**20


def test_a_minute_is_quick(make_audio: Make, make_voice: Callable[..., Sound]) -> None:
    audio = make_audio(np.tile(make_voice(10.0, 10, rate=48_000), 6), 48_000)
    AudioEditing().analyze(audio)
    started = time.process_time()
    AudioEditing().analyze(audio)
    assert time.process_time() - started < 3.0  # 0.3 s on an idle core


def test_the_card_is_sound() -> None:
    card = store.card(CURVE)
    assert card.calibration is not None
    smallest = min(card.calibration.n_real, card.calibration.n_fake)
    assert max(map(abs, card.calibration.llr)) <= np.log(smallest / 10) + 1e-6
    whole = next(m for m in card.metrics if m.source == "all joins")
    assert whole.auc_low is not None
    assert whole.auc_low > 0.55
    assert card.limits


def test_the_sentence_about_the_background_agrees_with_its_weight(
    make_audio: Make, make_voice: Callable[..., Sound], real_speech: list[tuple[str, Sound, int]]
) -> None:
    """What is "as in unedited recordings" carries no weight towards manipulation."""
    curve = store.card(CURVE).calibration
    assert curve is not None
    rng = np.random.default_rng(8)
    sounds = [(name, x, rate) for name, x, rate in real_speech]
    for seed in range(10):
        parts = [make_voice(1.5, seed), make_voice(1.5, seed + 50, noise=10 ** rng.uniform(-5, -2))]
        sounds.append((f"joined {seed}", np.concatenate(parts).astype(np.float32), 16_000))
    weights = {True: 0, False: 0}
    for name, x, rate in sounds:
        found = _findings(make_audio(x, rate)).get("background")
        if found is None:
            continue
        llr = curve(found.raw_score or 0.0)
        usual = "as it does in unedited recordings" in found.because
        assert usual == (llr <= 0), (name, llr, found.because)
        assert usual == (found.where.start is None), name
        weights[usual] += 1
    assert weights[True]
    assert weights[False]
