"""Forgeries keep the background, are seeded and report their mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from assay_lab.forge import self_blend as f

POINTS = np.array([[75, 85], [125, 88], [99, 118], [80, 140], [120, 142]], float)


def picture(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (20, 20, 3)).astype(np.uint8)
    return cv2.resize(coarse, (200, 200), interpolation=cv2.INTER_CUBIC)


def test_blend_is_exact_outside_the_mask() -> None:
    a, b = picture(1), picture(2)
    mask = np.zeros((200, 200), np.float32)
    mask[50:100, 50:100] = 1
    out = f.blend(a, b, mask)
    np.testing.assert_array_equal(out[mask == 0], b[mask == 0])
    np.testing.assert_array_equal(out[mask == 1], a[mask == 1])


@pytest.mark.parametrize("how", ["inner", "cross", "parts"])
def test_background_is_kept(how: str) -> None:
    rgb, other = picture(1), picture(2)
    changed = 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        if how == "inner":
            out, mask = f.inner_edit(rgb, POINTS, rng)
        elif how == "parts":
            out, mask = f.part_blend(rgb, POINTS, other, POINTS + 3, rng)
        else:
            out, mask = f.cross_blend(rgb, POINTS, other, POINTS + 3, rng)
        np.testing.assert_array_equal(out[:6, :6], rgb[:6, :6])
        assert mask[:6, :6].max() < 0.01
        assert mask.min() >= 0
        assert mask.max() <= 1
        changed += not np.array_equal(out, rgb)
    assert changed == 25


def test_self_blend_is_seeded_and_local() -> None:
    rgb = picture(3)
    before = rgb.copy()
    kept = 0
    for seed in range(30):
        out, mask = f.self_blend(rgb, POINTS, np.random.default_rng(seed))
        again, _ = f.self_blend(rgb, POINTS, np.random.default_rng(seed))
        np.testing.assert_array_equal(out, again)
        assert out.shape == rgb.shape
        assert out.dtype == np.uint8
        assert mask[90:140, 80:120].max() > 0.3
        kept += bool(np.array_equal(out[mask == 0], rgb[mask == 0]))
    np.testing.assert_array_equal(rgb, before)
    assert kept >= 8  # the outside is only restyled as a whole, in about half of the draws


def test_similarity_recovers_a_known_motion() -> None:
    turn = np.array([[0.8, -0.6, 5.0], [0.6, 0.8, -3.0]]) * np.array([1.5, 1.5, 1])
    moved = np.c_[POINTS, np.ones(5)] @ turn.T
    np.testing.assert_allclose(f.similarity(POINTS, moved), turn, atol=1e-9)
    expected, _ = cv2.estimateAffinePartial2D(POINTS, moved)
    np.testing.assert_allclose(f.similarity(POINTS, moved), expected, atol=1e-3)


def test_upsampling_leaves_peaks_at_nyquist() -> None:
    rgb = picture(4)
    out, mask = f.upsampling_trace(rgb, np.random.default_rng(0))
    assert mask.min() == 1

    def peak(x: np.ndarray) -> float:
        spectrum = np.abs(np.fft.fft2(x.mean(2)))
        return float(spectrum[100, 90:110].mean() + spectrum[0, 100])

    assert peak(out) > 3 * peak(rgb)


def test_degenerate_points_do_not_break_it() -> None:
    rgb = picture()
    for points in (np.zeros((5, 2)), np.full((5, 2), 1e4), POINTS[:1].repeat(5, 0)):
        for make in (f.self_blend, f.inner_edit):
            out, mask = make(rgb, points, np.random.default_rng(0))
            assert out.shape == rgb.shape
            assert np.isfinite(mask).all()
        out, _ = f.cross_blend(rgb, points, rgb, points, np.random.default_rng(1))
        assert out.shape == rgb.shape
