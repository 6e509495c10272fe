from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

import cv2

from assay_lab.forge.local_edits import (
    EDITS,
    blob,
    edit,
    encode,
    finished,
    prepared,
    region,
    thing,
)
from assay_lab.train.structure import as_image, auc_interval, isotonic


def scene(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return np.repeat(np.repeat(small, 10, axis=0), 10, axis=1)


def test_curve_is_monotone_bounded_and_agrees_with_counts() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(0, 1, 800), rng.normal(1.5, 1, 400)
    at, llr = isotonic(real, fake, np.ones(len(fake)))
    assert np.all(np.diff(at) > 0)
    assert np.all(np.diff(llr) >= 0)
    assert max(np.abs(llr)) <= np.log(80) + 1e-4
    # For two normal distributions the true ratio is 1.5 x - 1.125.
    middle = np.linspace(-0.5, 2, 26)
    assert np.abs(np.interp(middle, at, llr) - (1.5 * middle - 1.125)).mean() < 0.35


def test_curve_agrees_with_scikit_learn() -> None:
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(1)
    real, fake = rng.normal(0, 1, 3000), rng.normal(1, 1, 3000)
    at, llr = isotonic(real, fake, np.ones(len(fake)))
    labels = np.r_[np.zeros(3000), np.ones(3000)]
    other = IsotonicRegression(out_of_bounds="clip").fit(np.r_[real, fake], labels)
    share = np.clip(other.predict(np.linspace(-1, 2, 50)), 1e-3, 1 - 1e-3)
    expected = np.log(share / (1 - share))
    assert np.abs(np.interp(np.linspace(-1, 2, 50), at, llr) - expected).mean() < 0.1


def test_curve_of_equal_scores_is_flat() -> None:
    _, llr = isotonic(np.zeros(200), np.zeros(100), np.ones(100))
    assert max(np.abs(llr)) < 0.02


def test_interval_of_chance_holds_one_half() -> None:
    rng = np.random.default_rng(2)
    middle, low, high = auc_interval(rng.normal(size=300), rng.normal(size=300))
    assert low < middle < high
    assert low < 0.5 < high


@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.parametrize("seed", range(12))
def test_edit_changes_a_part_only_and_says_where(kind: str, seed: int) -> None:
    pixels, other = scene(), scene(1)
    forged, mask = edit(pixels, other, kind, np.random.default_rng(seed))
    changed = np.abs(forged.astype(int) - pixels).max(axis=2) > 8
    assert forged.shape == pixels.shape
    assert mask.shape == pixels.shape[:2]
    assert 0 < mask.mean() < 0.5
    near = cv2.dilate(mask.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    assert not changed[~near].any()
    assert np.array_equal(pixels, scene())
    assert np.array_equal(other, scene(1))


@pytest.mark.parametrize("seed", range(20))
def test_untouched_and_edited_are_finished_alike(seed: int) -> None:
    pixels = scene()
    first, again = (finished(pixels, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(first, again)
    forged = edit(pixels, scene(1), "splice", np.random.default_rng(seed)).pixels
    assert finished(forged, np.random.default_rng(seed)).shape == first.shape


def test_kinds_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="warp"):
        edit(scene(), scene(1), "warp", np.random.default_rng(0))


@pytest.mark.parametrize("make", [region, lambda p, rng: thing(p, rng)])
def test_regions_have_the_size_of_the_picture(make: Any) -> None:
    for seed in range(20):
        assert make(scene(), np.random.default_rng(seed)).shape == (300, 400)


def test_blob_covers_a_small_share() -> None:
    rng = np.random.default_rng(4)
    shares = [blob((300, 400), rng).mean() for _ in range(20)]
    assert min(shares) > 0.005
    assert max(shares) < 0.25


def test_prepared_is_bounded_and_pictures_arrive_as_in_the_product(tmp_path: Path) -> None:
    data = encode(np.tile(scene(), (4, 4, 1)), 90)
    pixels = prepared(data, np.random.default_rng(5))
    assert max(pixels.shape) <= 768
    image = as_image(data, tmp_path / "picture")
    assert (image.source.format, image.width, image.height) == ("jpeg", 1600, 1200)
