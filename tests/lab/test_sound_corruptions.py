"""Corruptions keep length and do what their names say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("soxr")
from assay_lab.data import sound_corruptions as c

RATE = c.RATE
T = np.arange(2 * RATE) / RATE
TONES = (0.2 * sum(np.sin(2 * np.pi * f * T) for f in (200, 1000, 6000))).astype(np.float32)


def band(x: np.ndarray, hz: float) -> float:
    """Amplitude at one frequency, in dB."""
    part = x[RATE // 2 : RATE // 2 + RATE]
    return float(
        20 * np.log10(2 * abs(np.mean(part * np.exp(-2j * np.pi * hz * T[: part.size]))) + 1e-9)
    )


@pytest.mark.parametrize("codec", [*c.WIDE, *c.NARROW], ids=lambda k: f"{k.encoder}-{k.container}")
def test_codecs_keep_length_and_the_middle_of_the_band(codec: c.Codec) -> None:
    y = c.through_codec(TONES, codec, codec.rates[-1], codec.sample_rates[0])
    assert y.shape == TONES.shape
    assert y.dtype == np.float32
    assert abs(band(y, 1000) - band(TONES, 1000)) < 4
    if codec in c.NARROW and codec.sample_rates[0] == 8000:
        assert band(y, 6000) < band(TONES, 6000) - 30


def test_an_encoder_that_refuses_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"."):
        c.through_codec(TONES, c.Codec("no_such_encoder", "wav", (0,), (8000,)), 0, 8000)


def test_telephone_band() -> None:
    y = c.telephone(TONES)
    assert abs(band(y, 1000) - band(TONES, 1000)) < 1
    assert band(y, 200) < band(TONES, 200) - 10
    assert band(y, 6000) < -60


def test_noise_has_the_ratio_asked_for() -> None:
    y = c.with_noise(TONES, 10.0, np.random.default_rng(0))
    noise = y - TONES
    assert abs(10 * np.log10(np.square(TONES).mean() / np.square(noise).mean()) - 10) < 0.1


def test_low_pass_and_room() -> None:
    y = c.low_pass(TONES, 4000)
    assert band(y, 6000) < band(TONES, 6000) - 60
    assert abs(band(y, 1000) - band(TONES, 1000)) < 0.1
    click = np.zeros(RATE, np.float32)
    click[100] = 1.0
    z = c.room(click, 0.4, np.random.default_rng(0))
    early, late = np.square(z[200:1200]).sum(), np.square(z[5000:6000]).sum()
    assert early > 100 * late > 0


def test_random_codec_is_repeatable() -> None:
    a, b = (c.random_codec(TONES, np.random.default_rng(4), narrow=True) for _ in range(2))
    assert np.array_equal(a, b)
    assert c.fit(TONES[:10], 20).size == 20
