"""Does part of the picture lack the colour-filter pattern of the camera's sensor?

A sensor measures green on every other pixel and interpolates the rest, hence the error
of predicting green from its neighbours is smaller on interpolated pixels. Statistic
after Ferrara et al., "Image forgery localization via fine-grained analysis of CFA
artifacts", IEEE TIFS 2012: the log ratio of the prediction error's variance on the two
halves of the checkerboard, in small blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image.maps import Region, central, smooth, strongest_region, to_grid
from assay.analyzers.image.structure_claims import claim_of, curve_of
from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.findings import Claim, Finding, Kind, NotApplicable, Question, Where
from assay.media import Image, Media, MediaKind

__all__ = ["CfaTrace", "ColourFilterArray", "cfa_inconsistency"]

CURVE = "cfa-v1"

_MOST_PIXELS = 8_000_000
_BLOCK = 16
_LEAST_BLOCKS = 100
_LEAST_POWER = 8.0  # of the prediction error; rounding alone gives 0.2
_LEAST_TRACE = 0.25  # median log ratio from which the picture shows a pattern at all
_LEAST_AGREEMENT = 0.75  # share of the blocks that must show the same phase
_LOWEST_SCORE = 4.0

_INFO = AnalyzerInfo(
    name="image.cfa",
    version=1,
    question="Does part of the picture lack the colour-filter pattern of the rest?",
    media=frozenset({MediaKind.IMAGE}),
    source="Ferrara et al., IEEE TIFS 2012",
    limitations=(
        "Only pictures in the sensor's own resolution that were compressed very little: "
        "scaling and ordinary JPEG remove the pattern, and then nothing is said.",
        "Smooth and overexposed places carry no pattern and are left out.",
        "Cameras that interpolate cleverly, and phones that merge several shots, may show "
        "no pattern or an uneven one.",
        "Too few camera originals show the pattern to measure error rates, and some of them "
        "show it unevenly without any edit: this is shown and weighs nothing.",
    ),
    bears_on=frozenset({Question.LOCAL_EDIT}),
)


@dataclass(frozen=True, slots=True, eq=False)
class CfaTrace:
    """``ratio`` [block rows, block columns]: log ratio of error variances, signed so that the
    picture's own phase is positive; ``median`` its median over usable blocks; ``missing``
    the smoothed evidence (nats) for no pattern; ``region`` where it is missing."""

    ratio: NDArray[np.float32]
    median: float
    agreement: float
    missing: NDArray[np.float32]
    region: Region | None


def cfa_inconsistency(green: NDArray[np.uint8]) -> CfaTrace | None:
    """Look for the checkerboard in ``green``; ``None`` if the picture as a whole shows none."""
    import cv2

    rows, columns = green.shape[0] // _BLOCK, green.shape[1] // _BLOCK
    if rows * columns < _LEAST_BLOCKS or min(rows, columns) < 4:
        return None
    cut = green[: rows * _BLOCK, : columns * _BLOCK].astype(np.float32)
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32) / 4
    error = cv2.filter2D(cut, -1, kernel)
    power = error * error
    # Sums over the two colours of the checkerboard, block by block.
    even = power[0::2, 0::2] + power[1::2, 1::2]
    odd = power[0::2, 1::2] + power[1::2, 0::2]
    size = (columns, rows)
    a = cv2.resize(even, size, interpolation=cv2.INTER_AREA)
    b = cv2.resize(odd, size, interpolation=cv2.INTER_AREA)
    light = cv2.resize(cut, size, interpolation=cv2.INTER_AREA)
    # Rounding to 8 bits hits both colours alike and hides the pattern where errors are small.
    valid = (np.maximum(a, b) > _LEAST_POWER) & (light > 10) & (light < 240)
    if valid.sum() < _LEAST_BLOCKS // 2:
        return None
    ratio = np.clip(np.log((a + 0.05) / (b + 0.05)), -6, 6).astype(np.float32)
    median = float(np.median(ratio[valid]))
    if median < 0:
        ratio, median = -ratio, -median
    agreement = float((ratio[valid] > 0).mean())
    if median < _LEAST_TRACE or agreement < _LEAST_AGREEMENT:
        return None
    deviation = max(1.4826 * float(np.median(np.abs(ratio[valid] - median))), 0.15)
    # Without a pattern the ratio scatters about zero as widely as with it.
    log_ratio = ((ratio - median) ** 2 - ratio**2) / (2 * deviation**2)
    mean, count = smooth(np.clip(log_ratio, -4, 4).astype(np.float32), valid, 3)
    inside = valid & (count >= 4)
    missing = np.where(inside, mean, 0).astype(np.float32)
    region = strongest_region(missing, inside, above=0.3, least_cells=6, most_share=0.5)
    return CfaTrace(ratio, median, agreement, missing, region)


class ColourFilterArray:
    """A map of where the camera's checkerboard is missing."""

    @property
    def info(self) -> AnalyzerInfo:
        return _INFO

    def analyze(self, media: Media) -> Answer:
        """See :class:`assay.analyzers.protocol.Analyzer`."""
        assert isinstance(media, Image)
        down, across = central(media.height, media.width, _MOST_PIXELS, _BLOCK)
        trace = cfa_inconsistency(np.ascontiguousarray(media.pixels[down, across, 1]))
        if trace is None:
            return NotApplicable(
                code="no_cfa_pattern",
                reason=(
                    "The picture shows no colour-filter pattern: it was scaled, compressed or "
                    "processed, or is too small."
                ),
                question=Question.LOCAL_EDIT,
            )
        data = {
            "median_log_ratio": round(trace.median, 3),
            "agreement": round(trace.agreement, 3),
        }
        region = trace.region
        if region is None or region.score < _LOWEST_SCORE:
            return (
                Finding(
                    code="cfa.consistent",
                    kind=Kind.STRUCTURE,
                    claim=Claim.NEUTRAL,
                    because="The colour-filter pattern of a camera sensor runs through the whole "
                    "picture.",
                    limits=_INFO.limitations,
                    data=data,
                ),
            )
        left, top, wide, high = (float(v * _BLOCK) for v in region.box)
        whole = np.zeros((-(-media.height // _BLOCK), -(-media.width // _BLOCK)), np.float32)
        y, x = down.start // _BLOCK, across.start // _BLOCK
        rows, columns = trace.missing.shape
        shown = np.where(trace.missing == 0, 0, 1 / (1 + np.exp(-2 * trace.missing)))
        whole[y : y + rows, x : x + columns] = shown
        return (
            Finding(
                code="cfa.missing",
                kind=Kind.STRUCTURE,
                claim=claim_of(region.score, CURVE),
                because=(
                    "The colour-filter pattern of a camera sensor runs through most of the "
                    "picture but is missing in one region."
                ),
                question=Question.LOCAL_EDIT,
                group="local_edit",
                raw_score=region.score,
                curve=curve_of(CURVE),
                where=Where(box=(left + across.start, top + down.start, wide, high)),
                limits=_INFO.limitations,
                grid=to_grid(
                    whole,
                    "High where the pattern of the sensor is missing although the rest has it; "
                    "smooth places are undecided and shown low.",
                ),
                data={**data, "region_share": round(region.share, 4)},
            ),
        )
