"""Noise, colour-filter pattern, copy-move and spectrum on real pictures and made edits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy.ndimage import convolve

from assay.analyzers.checks import check_analyzer, check_answer
from assay.analyzers.image.cfa import ColourFilterArray, cfa_inconsistency
from assay.analyzers.image.copy_move import CopyMove, find_copies
from assay.analyzers.image.maps import luma
from assay.analyzers.image.noise import NoiseLevel, noise_inconsistency
from assay.analyzers.image.spectrum import Spectrum, spectral_peaks
from assay.findings import NotApplicable
from assay.media import Image

Pixels = NDArray[np.uint8]
Load = Callable[[str], Pixels]
Make = Callable[..., Image]

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


@pytest.mark.parametrize("analyzer", [NoiseLevel(), ColourFilterArray(), CopyMove(), Spectrum()])
def test_contract(analyzer: object) -> None:
    check_analyzer(analyzer)


@pytest.mark.parametrize("analyzer", [NoiseLevel(), ColourFilterArray(), CopyMove(), Spectrum()])
@pytest.mark.parametrize("shape", [(1, 1), (129, 128), (2, 4000), (5000, 60)])
def test_awkward_shapes(analyzer: NoiseLevel, shape: tuple[int, int], picture: Make) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for pixels in (noise, np.zeros_like(noise), np.full_like(noise, 255)):
        image = picture(pixels)
        answer = analyzer.analyze(image)
        check_answer(analyzer.info, image, answer)


# Copy-move


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("quality", [None, 75])
def test_photographs_hold_no_copies(
    photograph: Load, picture: Make, name: str, quality: int | None
) -> None:
    assert CopyMove().analyze(picture(photograph(name), quality)) == ()


def test_copied_part_is_found(photograph: Load, picture: Make) -> None:
    forged = photograph("astronaut").copy()
    forged[300:420, 20:140] = forged[60:180, 170:290]  # the face
    image = picture(forged, 85)
    answer = CopyMove().analyze(image)
    assert isinstance(answer, tuple)
    check_answer(CopyMove().info, image, answer)
    (finding,) = answer
    assert finding.data["points"] >= 10  # type: ignore[operator]
    assert finding.data["likeness"] > 0.8  # type: ignore[operator]
    boxes = sorted([finding.where.box, tuple(finding.data["other_box"])])  # type: ignore[arg-type,type-var]
    for (left, top, wide, high), (x, y) in zip(boxes, ((20, 300), (170, 60)), strict=True):  # type: ignore[misc]
        assert x - 3 <= left
        assert left + wide <= x + 123
        assert y - 3 <= top
        assert top + high <= y + 123


def test_turned_and_scaled_copy_is_measured(photograph: Load) -> None:
    pixels = photograph("astronaut")
    part = Pillow.fromarray(pixels[60:180, 170:290]).rotate(20, Pillow.Resampling.BICUBIC)
    part = part.resize((150, 150), Pillow.Resampling.BICUBIC)
    middle = np.asarray(part)[30:120, 30:120]
    forged = pixels.copy()
    forged[320:410, 30:120] = middle
    copies = find_copies(luma(forged))
    assert copies
    best = copies[0]
    assert max(best.scale, 1 / best.scale) == pytest.approx(1.25, abs=0.05)
    assert abs(best.angle) == pytest.approx(20, abs=3)


def test_pattern_is_no_copy(picture: Make) -> None:
    tile = np.random.default_rng(2).integers(60, 200, (32, 32, 3), dtype=np.uint8)
    smooth = np.asarray(Pillow.fromarray(tile).resize((64, 64), Pillow.Resampling.BICUBIC))
    wall = np.tile(smooth, (6, 6, 1)).astype(int)
    wall += np.random.default_rng(3).normal(0, 3, wall.shape).astype(int)
    copies = find_copies(luma(np.clip(wall, 0, 255).astype(np.uint8)))
    assert not copies or copies[0].score < 4


# Noise


def test_noise_level_agrees_with_what_was_added(photograph: Load) -> None:
    smooth = np.tile(np.linspace(60, 180, 512, dtype=np.float32), (512, 1))
    for sigma in (2.0, 5.0):
        grey = smooth + np.random.default_rng(4).normal(0, sigma, smooth.shape)
        trace = noise_inconsistency(grey.astype(np.float32))
        assert trace is not None
        assert trace.level == pytest.approx(sigma, rel=0.1)
        assert trace.region is None or trace.region.score < 10


@pytest.mark.parametrize("noisier", [True, False])
def test_patch_of_other_noise_stands_out(photograph: Load, noisier: bool) -> None:
    rng = np.random.default_rng(5)
    pixels = photograph("astronaut").astype(np.float64)
    scene = pixels + rng.normal(0, 4, pixels.shape)
    if noisier:
        scene[20:120, 380:500] += rng.normal(0, 12, (100, 120, 3))
    else:
        scene[20:120, 380:500] = pixels[20:120, 380:500]
    grey = luma(np.clip(np.rint(scene), 0, 255).astype(np.uint8))
    trace = noise_inconsistency(grey.astype(np.float32))
    assert trace is not None
    assert trace.block == 16
    inside = np.median(trace.deviation[2:7, 24:31])
    assert inside > 2 if noisier else inside < -2
    assert abs(np.median(trace.deviation)) < 0.5


def test_noisy_patch_is_a_finding(photograph: Load, picture: Make) -> None:
    rng = np.random.default_rng(5)
    scene = photograph("astronaut").astype(np.float64)
    scene += rng.normal(0, 4, scene.shape)
    scene[300:460, 100:300] += rng.normal(0, 15, (160, 200, 3))
    image = picture(np.clip(np.rint(scene), 0, 255).astype(np.uint8))
    answer = NoiseLevel().analyze(image)
    assert isinstance(answer, tuple)
    check_answer(NoiseLevel().info, image, answer)
    (finding,) = answer
    assert "noisier" in finding.because
    assert finding.where.box is not None
    left, top, wide, high = finding.where.box
    common = max(0, min(left + wide, 300) - max(left, 100)) * max(
        0, min(top + high, 460) - max(top, 300)
    )
    assert common > 0.5 * 160 * 200


# Colour-filter pattern


def mosaicked(pixels: Pixels) -> Pixels:
    """What a sensor with an RGGB filter measures, interpolated bilinearly."""
    values = pixels.astype(np.float64)
    result = np.empty_like(values)
    quarter = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    cross = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    y, x = np.mgrid[0 : values.shape[0], 0 : values.shape[1]]
    masks = ((y % 2 == 0) & (x % 2 == 0), (y + x) % 2 == 1, (y % 2 == 1) & (x % 2 == 1))
    for c, (mask, kernel) in enumerate(zip(masks, (quarter, cross, quarter), strict=True)):
        result[..., c] = convolve(values[..., c] * mask, kernel, mode="mirror")
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def test_pattern_of_a_sensor_is_seen_and_consistent(photograph: Load, picture: Make) -> None:
    image = picture(mosaicked(photograph("astronaut")))
    answer = ColourFilterArray().analyze(image)
    assert isinstance(answer, tuple)
    check_answer(ColourFilterArray().info, image, answer)
    (finding,) = answer
    assert finding.code == "cfa.consistent"


def test_part_without_the_pattern_is_found(photograph: Load, picture: Make) -> None:
    pixels = photograph("astronaut")
    forged = mosaicked(pixels)
    forged[64:224, 160:320] = pixels[64:224, 160:320]
    image = picture(forged)
    answer = ColourFilterArray().analyze(image)
    assert isinstance(answer, tuple)
    check_answer(ColourFilterArray().info, image, answer)
    (finding,) = answer
    assert finding.code == "cfa.missing"
    assert finding.where.box is not None
    left, top, wide, high = finding.where.box
    assert abs(left + wide / 2 - 240) < 40
    assert abs(top + high / 2 - 144) < 40


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_nothing_is_said_of_scaled_or_compressed_pictures(
    photograph: Load, picture: Make, name: str
) -> None:
    image = picture(photograph(name), 80)
    answer = ColourFilterArray().analyze(image)
    assert isinstance(answer, NotApplicable)
    assert answer.code == "no_cfa_pattern"


def test_sign_of_the_phase_does_not_matter(photograph: Load) -> None:
    green = mosaicked(photograph("astronaut"))[..., 1]
    one = cfa_inconsistency(green)
    other = cfa_inconsistency(np.ascontiguousarray(green[:, 1:]))
    assert one is not None
    assert other is not None
    assert one.median == pytest.approx(other.median, rel=0.1)
    assert one.median > 0.5


# Spectrum


def test_periodic_pattern_gives_its_peak(photograph: Load) -> None:
    grey = luma(photograph("astronaut"))
    y, x = np.mgrid[0:512, 0:512]
    wave = 3 * np.cos(2 * np.pi * (0.3 * x + 0.15 * y))
    peaks = spectral_peaks(np.clip(np.rint(grey + wave), 0, 255).astype(np.uint8))
    assert peaks
    assert peaks[0].decibel > 12
    assert (peaks[0].x, peaks[0].y) == pytest.approx((0.3, 0.15), abs=0.01)


def test_block_lattice_of_jpeg_is_left_out(photograph: Load, picture: Make) -> None:
    image = picture(photograph("astronaut"), 30)
    answer = Spectrum().analyze(image)
    assert answer == () or (isinstance(answer, tuple) and answer[0].raw_score < 14)  # type: ignore[operator]
    for peak in spectral_peaks(luma(image.pixels)) or ():
        off = [abs(v * 8 - round(v * 8)) / 8 for v in (peak.x, peak.y)]
        assert max(off) > 1 / 128
