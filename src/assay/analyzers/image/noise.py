"""Is part of the picture noisier or cleaner than its brightness and texture explain?

Noise is estimated in small blocks with the mask of Immerkaer, "Fast noise variance
estimation", CVIU 1996, and compared with what a robust fit over the whole picture
expects at that brightness and texture (sensor noise grows with light, and texture leaks
into the estimate). Idea after Mahdian and Saic, "Using noise inconsistencies for blind
image forensics", Image and Vision Computing 2009.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image.maps import Region, central, luma, smooth, strongest_region, to_grid
from assay.analyzers.image.structure_claims import claim_of, curve_of
from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.findings import Finding, Kind, NotApplicable, Question, Where
from assay.media import Image, Media, MediaKind

__all__ = ["NoiseLevel", "NoiseTrace", "noise_inconsistency"]

CURVE = "noise-level-v1"

_MOST_PIXELS = 8_000_000
_LEAST_BLOCKS = 100
_LOWEST_SCORE = 20.0  # one untouched photograph in five reaches it

_INFO = AnalyzerInfo(
    name="image.noise",
    version=1,
    question="Is part of the picture noisier or cleaner than the rest?",
    media=frozenset({MediaKind.IMAGE}),
    source="Immerkaer, CVIU 1996; Mahdian and Saic, Image and Vision Computing 2009",
    limitations=(
        "Out-of-focus backgrounds, beauty filters, denoising by phones and strong compression "
        "change noise from place to place in untouched pictures.",
        "An insertion from a picture with like noise is not seen.",
        "Text, smooth graphics and overexposed places are left out.",
        "On our pictures this was no better than chance at telling edited from untouched ones, "
        "hence it is shown and weighs nothing.",
    ),
    bears_on=frozenset({Question.LOCAL_EDIT}),
)


@dataclass(frozen=True, slots=True, eq=False)
class NoiseTrace:
    """``deviation`` [block rows, block columns]: by how many robust standard deviations a
    place is noisier (+) or cleaner (-) than expected; ``level`` the median noise in grey
    levels; ``block`` px; ``region`` the most deviating part and ``noisier`` its direction."""

    deviation: NDArray[np.float32]
    level: float
    block: int
    region: Region | None
    noisier: bool


def noise_inconsistency(grey: NDArray[np.float32]) -> NoiseTrace | None:
    """Deviation of local noise in ``grey`` (0..255); ``None`` if too little can be measured."""
    import cv2

    block = 32 if min(grey.shape) >= 1024 else 16
    rows, columns = grey.shape[0] // block, grey.shape[1] // block
    if rows * columns < _LEAST_BLOCKS or min(rows, columns) < 4:
        return None
    cut = np.ascontiguousarray(grey[: rows * block, : columns * block])
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    residual = np.abs(cv2.filter2D(cut, -1, mask)).astype(np.float32)
    # Median over 8x8 parts of their means: an edge spoils few of the parts.
    parts = _means(residual, 8) * np.float32(np.sqrt(np.pi / 2) / 6)
    per = block // 8
    stacked = parts.reshape(rows, per, columns, per).transpose(0, 2, 1, 3)
    sigma = np.median(stacked.reshape(rows, columns, per * per), axis=2)
    light = _means(cut, block)
    spread = _spread(_means(cut, 4), block // 4)  # means, lest noise itself counts as texture
    texture = _spread(_means(cut, 8), per)
    valid = (light > 12) & (light < 243) & (sigma > 0.05) & (spread < 60)
    if valid.sum() < _LEAST_BLOCKS // 2:
        return None
    z = _unexplained(np.log(np.maximum(sigma, 0.05)), light, texture, spread, valid)
    mean, count = smooth(z, valid, 3)
    inside = valid & (count >= 4)
    deviation = np.where(inside, mean, 0).astype(np.float32)
    found = [
        (strongest_region(d, inside, above=1.6, least_cells=6, most_share=0.4), noisier)
        for d, noisier in ((deviation, True), (-deviation, False))
    ]
    region, noisier = max(found, key=lambda f: -1.0 if f[0] is None else f[0].score)
    level = float(np.median(sigma[valid]))
    return NoiseTrace(deviation, level, block, region, noisier)


class NoiseLevel:
    """A noise map, and the region that deviates most."""

    @property
    def info(self) -> AnalyzerInfo:
        return _INFO

    def analyze(self, media: Media) -> Answer:
        """See :class:`assay.analyzers.protocol.Analyzer`."""
        assert isinstance(media, Image)
        down, across = central(media.height, media.width, _MOST_PIXELS, 32)
        grey = luma(np.ascontiguousarray(media.pixels[down, across])).astype(np.float32)
        trace = noise_inconsistency(grey)
        if trace is None:
            return NotApplicable(
                code="too_little_to_measure",
                reason="The picture is too small or too uniform to compare its noise.",
                question=Question.LOCAL_EDIT,
            )
        region = trace.region
        if region is None or region.score < _LOWEST_SCORE:
            return ()
        left, top, wide, high = (float(v * trace.block) for v in region.box)
        word = "noisier" if trace.noisier else "cleaner"
        return (
            Finding(
                code="noise.inconsistent",
                kind=Kind.STRUCTURE,
                claim=claim_of(region.score, CURVE),
                because=(
                    f"One region is clearly {word} than the rest of the picture at like "
                    "brightness; an insertion does that, but so do blur and denoising."
                ),
                question=Question.LOCAL_EDIT,
                group="local_edit",
                raw_score=region.score,
                curve=curve_of(CURVE),
                where=Where(box=(left + across.start, top + down.start, wide, high)),
                limits=_INFO.limitations,
                grid=to_grid(
                    np.abs(_whole(trace, media, top=down.start, left=across.start)) / 6,
                    "High where noise differs from what brightness and texture explain (six "
                    "deviations or more give 1), in either direction; places left out are 0.",
                ),
                data={
                    "noise_level": round(trace.level, 3),
                    "deviation": round(region.mean * (1 if trace.noisier else -1), 3),
                    "region_share": round(region.share, 4),
                },
            ),
        )


def _whole(trace: NoiseTrace, media: Image, *, top: int, left: int) -> NDArray[np.float32]:
    """The map on the block lattice of the whole picture."""
    block = trace.block
    whole = np.zeros((-(-media.height // block), -(-media.width // block)), np.float32)
    rows, columns = trace.deviation.shape
    whole[top // block : top // block + rows, left // block : left // block + columns] = (
        trace.deviation
    )
    return whole


def _means(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Means of ``side`` x ``side`` blocks; the shape must be a multiple of ``side``."""
    import cv2

    size = (values.shape[1] // side, values.shape[0] // side)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)


def _spread(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    mean = _means(values, side)
    return np.sqrt(np.maximum(_means(values * values, side) - mean * mean, 0.0))


def _unexplained(
    level: NDArray[np.float32],
    light: NDArray[np.float32],
    texture: NDArray[np.float32],
    spread: NDArray[np.float32],
    valid: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Robust z of ``level`` after a Huber fit on brightness and texture."""
    x = light[valid].astype(np.float64) / 128 - 1
    a = np.log1p(texture[valid].astype(np.float64))
    b = np.log1p(spread[valid].astype(np.float64))
    design = np.stack([np.ones_like(x), x, x * x, a, b, b * b], axis=1)
    target = level[valid].astype(np.float64)
    weight = np.ones_like(target)
    rest, scale = target, 1.0
    for _ in range(8):
        root = np.sqrt(weight)[:, None]
        fit = np.linalg.lstsq(design * root, target * root[:, 0], rcond=None)[0]
        rest = target - design @ fit
        scale = max(1.4826 * float(np.median(np.abs(rest))), 0.02)
        weight = np.minimum(1.0, 1.5 * scale / np.maximum(np.abs(rest), 1e-9))
    z = np.zeros(level.shape, np.float32)
    z[valid] = rest / scale
    return z
