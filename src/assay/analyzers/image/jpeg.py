"""Was part of a JPEG saved a different number of times than the rest?

A picture that is decoded, edited and saved again carries the steps of both
quantisations in its coefficients, aligned to the same 8x8 lattice. Pasted or painted
blocks come from elsewhere and lack the first. Method after Lin et al., "Fast, automatic
and fine-grained tampered JPEG image detection via DCT coefficient analysis", Pattern
Recognition 2009, and Bianchi and Piva, "Image forgery localization via block-grained
analysis of JPEG artifacts", IEEE TIFS 2012: for each frequency the first step is found
by maximum likelihood against histograms simulated from the picture shifted by half a
block, and every block gets the likelihood ratio of one against two compressions.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image.maps import (
    Region,
    central,
    smooth,
    strongest_region,
    to_grid,
    upright,
    upright_box,
)
from assay.analyzers.image.structure_claims import claim_of, curve_of
from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.findings import Claim, Finding, Kind, NotApplicable, Question, Where
from assay.media import Image, Media, MediaKind

__all__ = ["JpegHistory", "JpegTrace", "double_quantisation", "jpeg_luma"]

CURVE = "jpeg-history-v1"

_MOST_PIXELS = 8_000_000
_LEAST_BLOCKS = 256
_BINS = 24  # quantised values beyond +-24 share a bin
_SIMULATED = 6_000  # coefficients from which histograms are simulated
# The lowest frequencies (row, column): higher ones are mostly zero.
_FREQUENCIES = ((0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0))
_LEAST_GAIN = 0.03  # nats a block by which two compressions must explain a frequency better
_LOWEST_SCORE = 6.0  # below this a region is not worth a finding

_INFO = AnalyzerInfo(
    name="image.jpeg",
    version=1,
    question="Does part of the JPEG have another compression history than the rest?",
    media=frozenset({MediaKind.IMAGE}),
    source="Lin et al., Pattern Recognition 2009; Bianchi and Piva, IEEE TIFS 2012",
    limitations=(
        "Only JPEG files, and only edits of a picture that was itself a JPEG and was not "
        "scaled or cropped off the 8x8 lattice afterwards.",
        "If the last saving was coarser than the first, or equal, nothing can be seen.",
        "A change of tone between two savings also removes the trace, first from busy places: "
        "a region is only reported if places as busy as it still carry the trace.",
        "Smooth, dark and overexposed places are left out.",
        "Captions, borders and logos added by an editor stand out too: they are edits, "
        "but not deceptions.",
    ),
    bears_on=frozenset({Question.LOCAL_EDIT}),
)


@dataclass(frozen=True, slots=True, eq=False)
class JpegTrace:
    """What was found. ``first_steps`` maps (row, column) of a frequency to the step of the
    first compression; ``share_double`` is the estimated share of blocks compressed twice;
    ``single`` the smoothed evidence [block rows, block columns] (nats) for one
    compression only; ``region`` the most outstanding part."""

    first_steps: dict[tuple[int, int], int]
    share_double: float
    single: NDArray[np.float32]
    region: Region | None


def jpeg_luma(media: Image) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
    """Stored luma (before orientation) and its quantisation table [8, 8] of a JPEG file.

    Luma is decoded without colour conversion, so that the DCT gives back the quantised
    coefficients but for rounding. ``None`` if the file is no such JPEG.
    """
    from PIL import JpegImagePlugin

    try:
        # By its class: `Image.open` has process-wide bounds, and size is checked here.
        with (
            media.source.open() as file,
            warnings.catch_warnings(action="ignore"),
            JpegImagePlugin.JpegImageFile(file) as picture,
        ):
            if picture.size != (media.stored_width, media.stored_height):
                return None
            table = picture.quantization.get(0)
            picture.draft("L", picture.size)
            if picture.mode != "L" or table is None or len(table) != 64:
                return None
            values = np.asarray(picture, np.uint8)
    except (OSError, ValueError, SyntaxError, KeyError, IndexError, struct.error):
        return None
    return values, np.asarray(table, np.int64).reshape(8, 8)


def double_quantisation(values: NDArray[np.uint8], table: NDArray[np.int64]) -> JpegTrace | None:
    """Find aligned double compression in stored luma; ``None`` if there is no trace of it."""
    height, width = (v // 8 * 8 for v in values.shape)
    if height * width // 64 < _LEAST_BLOCKS or min(height, width) < 24:
        return None
    samples = values.astype(np.float32) - 128
    rows, columns = height // 8, width // 8
    coefficients = _dct(samples[:height, :width])
    shifted = _dct(samples[4 : height - 4, 4 : width - 4])
    step = max(1, len(shifted) // _SIMULATED)
    rng = np.random.default_rng(0)  # rounding noise of the simulation; fixed
    evidence = np.zeros(rows * columns, np.float32)
    steps: dict[tuple[int, int], int] = {}
    shares: list[float] = []
    for i, (v, u) in enumerate(_FREQUENCIES):
        second = int(table[v, u])
        fit = _fit(coefficients[:, i], shifted[::step, i], second, rng)
        if fit is None:
            continue
        first, share, ratio = fit
        steps[v, u] = first
        shares.append(share)
        seen = np.clip(np.rint(coefficients[:, i] / second), -_BINS, _BINS).astype(np.int64)
        evidence += ratio[seen + _BINS]
    if len(steps) < 2:
        return None
    flat = np.abs(coefficients).max(axis=1) < 2 * float(table[0, 1])
    clipped = _clipped(values[:height, :width])
    valid = ~(flat | clipped).reshape(rows, columns)
    # The frequencies of a block depend on one another: count them half.
    halved = (0.5 * evidence).astype(np.float32).reshape(rows, columns)
    single, count = smooth(halved, valid, 5)
    inside = valid & (count >= 8)
    region = strongest_region(single, inside, above=0.35, least_cells=12, most_share=0.6)
    if region is not None:
        busy = np.abs(coefficients).sum(axis=1).reshape(rows, columns)
        if not _has_peers(region.mask, busy, inside & (single < -0.1)):
            region = None
    return JpegTrace(steps, float(np.mean(shares)), np.where(inside, single, 0), region)


class JpegHistory:
    """A double-compression map, and the region that lacks the first compression."""

    @property
    def info(self) -> AnalyzerInfo:
        return _INFO

    def analyze(self, media: Media) -> Answer:
        """See :class:`assay.analyzers.protocol.Analyzer`."""
        assert isinstance(media, Image)
        stored = jpeg_luma(media) if media.source.format in ("jpeg", "mpo") else None
        if stored is None:
            return NotApplicable(
                code="not_jpeg",
                reason="The file is not a JPEG with a luma channel.",
                question=Question.LOCAL_EDIT,
            )
        values, table = stored
        down, across = central(values.shape[0], values.shape[1], _MOST_PIXELS, 8)
        trace = double_quantisation(values[down, across], table)
        if trace is None:
            return ()
        score = 0.0 if trace.region is None else trace.region.score
        if trace.region is None or score < _LOWEST_SCORE:
            return (_saved_twice(trace),)
        top, left = down.start, across.start
        x, y, wide, high = (8.0 * v for v in trace.region.box)
        box = upright_box(
            (left + x, top + y, wide, high),
            values.shape[1],
            values.shape[0],
            media.orientation,
        )
        claim = claim_of(score, CURVE)
        return (
            _saved_twice(trace),
            Finding(
                code="jpeg.double_quantisation",
                kind=Kind.STRUCTURE,
                claim=claim,
                because=(
                    "Most of the picture was saved as JPEG at least twice, but one region "
                    "shows no trace of the first saving, as if it was added later."
                ),
                question=Question.LOCAL_EDIT,
                group="local_edit",
                raw_score=score,
                curve=curve_of(CURVE),
                where=Where(box=box),
                limits=_INFO.limitations,
                grid=to_grid(
                    upright(_probability(trace, values.shape, top, left), media.orientation),
                    "High where blocks look compressed once only while the rest was compressed "
                    "twice; smooth places are undecided and shown low.",
                ),
                data={
                    "region_share": round(trace.region.share, 4),
                    "evidence_per_block": round(trace.region.mean, 3),
                },
            ),
        )


def _saved_twice(trace: JpegTrace) -> Finding:
    return Finding(
        code="jpeg.double_compression",
        kind=Kind.STRUCTURE,
        claim=Claim.NEUTRAL,
        because="The picture was saved as JPEG at least twice at different qualities, as most "
        "shared pictures are.",
        limits=("Saving again is not an edit; a single saving is no proof of an original.",),
        data={
            "first_steps": {f"{v},{u}": step for (v, u), step in trace.first_steps.items()},
            "share_double": round(trace.share_double, 3),
        },
    )


def _probability(
    trace: JpegTrace, shape: tuple[int, ...], top: int, left: int
) -> NDArray[np.float32]:
    """Evidence as 0..1 on the block lattice of the whole stored picture."""
    blocks = np.zeros((-(-shape[0] // 8), -(-shape[1] // 8)), np.float32)
    rows, columns = trace.single.shape
    value = 1 / (1 + np.exp(-np.clip(4 * trace.single, -30, 30)))
    value = np.where(trace.single == 0, 0.0, value)
    blocks[top // 8 : top // 8 + rows, left // 8 : left // 8 + columns] = value
    return blocks


def _dct(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Orthonormal DCT-II of 8x8 blocks at the chosen frequencies, [blocks, frequencies]."""
    height, width = (v // 8 * 8 for v in samples.shape)
    n = np.arange(8)
    basis = np.cos((2 * n[None] + 1) * n[:, None] * np.pi / 16) / 2
    basis[0] /= np.sqrt(2)
    kernel = np.stack([np.outer(basis[v], basis[u]).ravel() for v, u in _FREQUENCIES], axis=1)
    blocks = samples[:height, :width].reshape(height // 8, 8, width // 8, 8)
    flat = np.ascontiguousarray(blocks.transpose(0, 2, 1, 3)).reshape(-1, 64)
    return np.asarray(flat @ kernel.astype(np.float32), np.float32)


def _histogram(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Smoothed distribution of quantised values in -_BINS.._BINS."""
    index = (np.clip(np.rint(values), -_BINS, _BINS) + _BINS).astype(np.int64)
    counts = np.bincount(index.ravel(), minlength=2 * _BINS + 1).astype(np.float64)
    counts = counts + counts[::-1] + 0.5  # coefficients are symmetric about zero
    return np.asarray(counts / counts.sum(), np.float64)


def _fit(
    seen: NDArray[np.float32],
    free: NDArray[np.float32],
    second: int,
    rng: np.random.Generator,
) -> tuple[int, float, NDArray[np.float32]] | None:
    """First step, share of twice compressed blocks, and log p(once)/p(twice) per value."""
    observed = np.bincount(
        (np.clip(np.rint(seen / second), -_BINS, _BINS) + _BINS).astype(np.int64),
        minlength=2 * _BINS + 1,
    )
    total = float(observed.sum())
    once = _histogram(free / second)
    base = float(observed @ np.log(once)) / total
    # Rounding and clipping between the two compressions, in DCT units.
    noise = rng.normal(0.0, 0.4, free.shape).astype(np.float32)
    best: tuple[float, int, float, NDArray[np.float64]] | None = None
    for first in range(2, max(16, 3 * second) + 1):
        if first == second:
            continue
        twice = _histogram((np.rint(free / first) * first + noise) / second)
        for share in (0.5, 0.7, 0.9, 1.0):
            mixed = share * twice + (1 - share) * once
            gain = float(observed @ np.log(mixed)) / total - base
            if best is None or gain > best[0]:
                best = gain, first, share, twice
    if best is None or best[0] < _LEAST_GAIN:
        return None
    gain, first, share, twice = best
    ratio = np.clip(np.log(once) - np.log(twice), -3.0, 3.0)
    return first, share, ratio.astype(np.float32)


def _has_peers(
    mask: NDArray[np.bool_], busy: NDArray[np.float32], carrying: NDArray[np.bool_]
) -> bool:
    """Whether blocks as busy as those of the region carry the trace elsewhere.

    A change of tone between the savings wipes the trace out of all busy places and
    leaves it in smooth ones; only among like blocks does its absence mean something.
    """
    typical = float(np.median(busy[mask]))
    peers = int((carrying & ~mask & (busy >= typical)).sum())
    return peers >= max(8, 0.25 * int(mask.sum()))


def _clipped(values: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Blocks with many pixels at the ends of the range, whose coefficients are off."""
    height, width = values.shape
    ends = (values <= 1) | (values >= 254)
    share = ends.reshape(height // 8, 8, width // 8, 8).mean(axis=(1, 3))
    return np.asarray(share.ravel() > 0.2, np.bool_)
