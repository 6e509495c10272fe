"""Corruptions are seeded, keep shape and type, and leave their input alone."""

from __future__ import annotations

import numpy as np
import pytest

from assay_lab.data import corruptions as c


def picture(seed: int = 0, h: int = 97, w: int = 130) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 12, 3)).astype(np.uint8)
    import cv2

    return cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)


def test_chain_is_a_function_of_the_seed() -> None:
    rgb = picture()
    before = rgb.copy()
    different = 0
    for seed in range(40):
        one = c.chain(rgb, np.random.default_rng(seed))
        two = c.chain(rgb, np.random.default_rng(seed))
        np.testing.assert_array_equal(one, two)
        assert one.shape == rgb.shape
        assert one.dtype == np.uint8
        different += not np.array_equal(one, rgb)
    np.testing.assert_array_equal(rgb, before)
    assert 25 <= different < 40  # some pass untouched


def test_chain_draws_do_not_depend_on_the_pixels() -> None:
    for seed in range(30):
        a, b = np.random.default_rng(seed), np.random.default_rng(seed)
        c.chain(picture(1), a)
        c.chain(picture(2), b)
        assert a.random() == b.random()


@pytest.mark.parametrize("name", sorted(c.NAMED))
def test_named(name: str) -> None:
    rgb = picture()
    out = c.NAMED[name](rgb)
    assert out.dtype == np.uint8
    assert out.ndim == 3
    np.testing.assert_array_equal(out, c.NAMED[name](rgb))
    assert out.shape == ((48, 65, 3) if name == "half_size" else rgb.shape)


def test_shrinking_is_filtered() -> None:
    rgb = np.zeros((128, 128, 3), np.uint8)
    rgb[:, ::2] = 255  # the finest grid must become grey, not stripes
    for kernel in c.INTERPOLATIONS:
        out = c.resize(rgb, 0.4, down=kernel)[8:-8, 8:-8].astype(float)
        assert out.std() < 35
    assert c.resize(rgb, 0.5).std() == 0


def test_quality_and_strength_order() -> None:
    rgb = c.noise(picture(), 10, np.random.default_rng(0))

    def error(out: np.ndarray) -> float:
        return float(((out.astype(float) - rgb) ** 2).mean())

    assert error(c.jpeg(rgb, 30)) > error(c.jpeg(rgb, 90)) > 0
    assert error(c.webp(rgb, 30)) > error(c.webp(rgb, 90)) > 0
    assert error(c.video(rgb, 34)) > error(c.video(rgb, 18)) > 0
    assert error(c.blur(rgb, 2)) > error(c.blur(rgb, 0.5)) > 0
    np.testing.assert_array_equal(c.tone(rgb, 1, 0, 1), rgb)
    assert (np.ptp(c.grey(rgb), axis=2) == 0).all()
