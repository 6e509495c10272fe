from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.fft import dctn

from assay.analyzers.checks import check_analyzer, check_answer
from assay.analyzers.image.jpeg import (
    _FREQUENCIES,
    JpegHistory,
    _dct,
    double_quantisation,
    jpeg_luma,
)
from assay.findings import Claim, Finding, NotApplicable
from assay.media import Image

Pixels = NDArray[np.uint8]
Load = Callable[[str], Pixels]
Make = Callable[..., Image]
Resave = Callable[[Pixels, int], Pixels]


def pasted(pixels: Pixels, patch: Pixels, top: int, left: int, side: int) -> Pixels:
    result = pixels.copy()
    result[top : top + side, left : left + side] = patch[:side, :side]
    return result


def suspicion(image: Image) -> list[Finding]:
    answer = JpegHistory().analyze(image)
    assert isinstance(answer, tuple)
    check_answer(JpegHistory().info, image, answer)
    return [f for f in answer if f.code == "jpeg.double_quantisation"]


def test_contract() -> None:
    check_analyzer(JpegHistory())


def test_dct_agrees_with_scipy() -> None:
    samples = np.random.default_rng(0).normal(0, 50, (16, 24)).astype(np.float32)
    ours = _dct(samples).reshape(2, 3, -1)
    for by in range(2):
        for bx in range(3):
            block = samples[8 * by : 8 * by + 8, 8 * bx : 8 * bx + 8]
            full = dctn(block.astype(np.float64), norm="ortho")
            expected = [full[v, u] for v, u in _FREQUENCIES]
            assert np.allclose(ours[by, bx], expected, atol=1e-3)


def test_stored_luma_gives_back_multiples_of_the_step(photograph: Load, picture: Make) -> None:
    stored = jpeg_luma(picture(photograph("coffee"), 60))
    assert stored is not None
    values, table = stored
    coefficients = _dct(values.astype(np.float32) - 128)
    for i, (v, u) in enumerate(_FREQUENCIES):
        quotient = coefficients[:, i] / table[v, u]
        off = np.abs(quotient - np.rint(quotient)) * table[v, u]
        assert np.percentile(off, 90) < 1.5  # rounding of pixels and nothing else


@pytest.mark.parametrize("name", ["coffee", "chelsea", "astronaut", "rocket"])
@pytest.mark.parametrize("quality", [50, 75, 90, 97])
def test_saved_once_is_not_accused(
    photograph: Load, picture: Make, name: str, quality: int
) -> None:
    assert suspicion(picture(photograph(name), quality)) == []


@pytest.mark.parametrize("name", ["coffee", "chelsea", "astronaut"])
def test_saved_twice_is_said_and_not_accused(
    photograph: Load, picture: Make, resaved: Resave, name: str
) -> None:
    image = picture(resaved(photograph(name), 65), 92)
    answer = JpegHistory().analyze(image)
    assert isinstance(answer, tuple)
    (finding,) = answer
    assert finding.code == "jpeg.double_compression"
    assert finding.claim is Claim.NEUTRAL
    assert finding.curve is None


def test_finds_the_first_steps(photograph: Load, resaved: Resave, picture: Make) -> None:
    once = picture(photograph("coffee"), 65)
    table = jpeg_luma(once)[1]  # type: ignore[index]
    stored = jpeg_luma(picture(resaved(photograph("coffee"), 65), 93))
    assert stored is not None
    trace = double_quantisation(*stored)
    assert trace is not None
    right = [steps == table[place] for place, steps in trace.first_steps.items()]
    assert len(right) >= 4
    assert np.mean(right) >= 0.75


@pytest.mark.parametrize("orientation", [1, 6, 8, 3])
def test_pasted_part_is_found(
    photograph: Load, picture: Make, resaved: Resave, orientation: int
) -> None:
    base = resaved(photograph("coffee"), 65)
    forged = pasted(base, photograph("astronaut")[200:, 100:], 130, 250, 140)
    image = picture(forged, 93, orientation)
    (finding,) = suspicion(image)
    assert finding.raw_score is not None
    assert finding.raw_score > 15
    assert finding.grid is not None
    assert finding.where.box is not None
    left, top, wide, high = finding.where.box
    width, height = image.width, image.height
    truth = {
        1: (250, 130),
        3: (600 - 390, 400 - 270),
        6: (400 - 270, 250),
        8: (130, 600 - 390),
    }[orientation]
    assert abs(left - truth[0]) < 30
    assert abs(top - truth[1]) < 30
    assert 90 < wide < 190
    assert 90 < high < 190
    # The grid points at the same place.
    grid = np.array(finding.grid.values).reshape(finding.grid.rows, finding.grid.columns)
    row = int((truth[1] + 70) / height * finding.grid.rows)
    column = int((truth[0] + 70) / width * finding.grid.columns)
    assert grid[row, column] > 0.8
    assert np.median(grid) < 0.4


def test_coarser_second_saving_hides_everything(
    photograph: Load, picture: Make, resaved: Resave
) -> None:
    base = resaved(photograph("coffee"), 93)
    forged = pasted(base, photograph("astronaut")[200:, 100:], 130, 250, 140)
    assert suspicion(picture(forged, 60)) == []


def test_not_a_jpeg(photograph: Load, picture: Make) -> None:
    answer = JpegHistory().analyze(picture(photograph("coffee")))
    assert isinstance(answer, NotApplicable)
    assert answer.code == "not_jpeg"


def test_broken_file_is_no_error(photograph: Load, picture: Make) -> None:
    image = picture(photograph("coffee"), 80)
    data = image.source.path.read_bytes()
    rng = np.random.default_rng(3)
    for cut in (10, 300, len(data) // 3):
        image.source.path.write_bytes(data[:cut])
        assert isinstance(JpegHistory().analyze(image), NotApplicable)
    for _ in range(20):
        damaged = bytearray(data)
        for at in rng.integers(2, len(data), 10):
            damaged[at] = int(rng.integers(0, 256))
        image.source.path.write_bytes(bytes(damaged))
        assert isinstance(JpegHistory().analyze(image), tuple | NotApplicable)
