"""Up to which frequency does the sound reach, and what does that say of its history?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.audio.windows import windows
from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.findings import Claim, Finding, Json, Kind, NotApplicable
from assay.media import Audio, Media, MediaKind

__all__ = ["Bandwidth", "Spectrum", "cut_off", "hole_share", "long_term_spectrum"]

_FRAME = 2048
_FLOOR_DB = -140.0  # of full scale; below the rounding of 24-bit samples
_LEAST_DROP = 15.0  # dB within 450 Hz; speech and music fall by 2 to 4 there
_SLOPE = 4.0  # dB in 300 Hz
_USABLE = 0.9  # of half the sample rate; anti-alias filters begin above
_LEAST_SECONDS = 0.5
_TILE_HZ = 500.0
_MOST_TILE_FRAMES = 4000  # frames kept for the holes; longer sounds are thinned out
_HOLE_DB = 30.0
_HOLES = 0.005  # share of tiles; reached by 5 % of clean speech clips, 29 % after MP3

Floats = NDArray[np.float64]
LOSSLESS = ("pcm_", "flac", "alac", "wavpack", "ape", "tta")
UPSAMPLED_FROM = (8000, 11025, 12000, 16000, 22050, 24000, 32000)


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Mean power over time in dB of full scale a bin, up to half the sample rate.

    ``tiles`` is [frames, bands of 500 Hz] in dB, of at most 4000 frames.
    """

    rate: int
    decibels: Floats
    tiles: Floats
    frames: int

    @property
    def hertz(self) -> Floats:
        return np.arange(len(self.decibels)) * self.rate / _FRAME


def long_term_spectrum(blocks: Iterable[NDArray[np.float32]], rate: int) -> Spectrum:
    """Welch's mean spectrum of mono sound, Hann frames of 2048 samples side by side."""
    window = np.hanning(_FRAME + 1)[:-1]
    scale = 1.0 / float(window.sum()) ** 2 * 4
    power = np.zeros(_FRAME // 2 + 1)
    edges = np.arange(0, _FRAME // 2, max(1, round(_TILE_HZ * _FRAME / rate)))
    tiles: list[Floats] = []
    kept, every, frames = 0, 1, 0
    # 64 frames at a time keep the loop in numpy and the memory at half a megabyte.
    for at, window_of_sound in windows(blocks, _FRAME * 64, _FRAME * 64):
        x = window_of_sound[max(0, frames * _FRAME - at) :]  # the last one reaches back
        whole = len(x) // _FRAME
        pieces = x[: whole * _FRAME].reshape(whole, _FRAME) * window
        bins = np.abs(np.fft.rfft(pieces, axis=1)) ** 2 * scale
        power += bins.sum(axis=0)
        levels = 10 * np.log10(np.add.reduceat(bins[:, :-1], edges, axis=1) + 1e-14)
        chosen = levels[(-frames) % every :: every]
        frames += whole
        tiles.append(chosen)
        kept += len(chosen)
        if kept > _MOST_TILE_FRAMES:
            tiles = [np.concatenate(tiles)[::2]]
            kept, every = len(tiles[0]), every * 2
    decibels = 10 * np.log10(power / max(1, frames) + 10 ** (_FLOOR_DB / 10))
    together = np.concatenate(tiles) if tiles else np.zeros((0, len(edges)))
    return Spectrum(rate, decibels, together, frames)


def cut_off(spectrum: Spectrum) -> tuple[float, float]:
    """(frequency in Hz, drop in dB) of the steepest edge above which nothing comes back.

    The drop is the median level in the 450 Hz below the edge less the highest level (as
    the median of 300 Hz) anywhere above it. (0, 0) when there is no room for an edge.
    """
    width = spectrum.rate / _FRAME
    below, gap, smooth = (max(1, round(hz / width)) for hz in (450.0, 150.0, 300.0))
    level = spectrum.decibels
    first, last = below + max(1, round(500 / width)), len(level) - gap - smooth
    if last <= first:
        return 0.0, 0.0
    view = np.lib.stride_tricks.sliding_window_view
    under = np.median(view(level, below), axis=1)  # [i]: bins i .. i+below-1
    over = np.median(view(level, smooth), axis=1)
    highest = np.maximum.accumulate(over[::-1])[::-1]  # from bin i up
    at = np.arange(first, last)
    drop = under[at - below] - highest[at + gap]
    best = int(drop.argmax())
    edge = int(at[best])
    # A gentle filter is steepest far down its slope: walk back to where the slope begins.
    while edge - smooth > first and over[edge - smooth] - over[edge] > _SLOPE:
        edge -= 1
    return float((edge + smooth / 2) * width), float(drop[best])


def hole_share(spectrum: Spectrum, limit: float) -> float:
    """Share of 500 Hz tiles between 2 kHz and ``limit`` Hz that are emptied, 0..1.

    A tile counts when it lies 30 dB below both the tile under it in frequency and the
    median of its own band over time: what a codec does that gives a band no bits.
    Frames without sound (all below -60 dB) are left out.
    """
    size = max(1, round(_TILE_HZ * _FRAME / spectrum.rate)) * spectrum.rate / _FRAME
    low, high = round(2000 / size), int(limit / size) - 1
    t = spectrum.tiles
    if high - low < 2 or not len(t):
        return 0.0
    t = t[t.max(axis=1) > -60.0]
    if len(t) < 8:
        return 0.0
    part, under = t[:, low:high], t[:, low - 1 : high - 1]
    usual = np.median(part, axis=0)
    empty = (part < under - _HOLE_DB) & (part < usual - _HOLE_DB)
    return float(empty.mean())


class Bandwidth:
    """Band limit, drop at it, likely earlier sample rate or codec, emptied bands."""

    @property
    def info(self) -> AnalyzerInfo:
        return AnalyzerInfo(
            name="audio.bandwidth",
            version=1,
            question="Up to which frequency does the sound reach, and what does that say of its "
            "history?",
            media=frozenset({MediaKind.AUDIO}),
            source=(
                "Welch, IEEE Trans. Audio Electroacoust. 15(2), 1967; D'Alessandro, Shi: MP3 bit "
                "rate quality detection through frequency spectrum analysis, ACM MM&Sec 2009"
            ),
            limitations=_LIMITS,
        )

    def analyze(self, media: Media) -> Answer:
        """Findings ``audio.bandwidth.*``, all neutral: history is no manipulation."""
        if not isinstance(media, Audio):
            raise TypeError("audio.bandwidth looks at sound")
        spectrum = long_term_spectrum(media.blocks(), media.rate)
        if spectrum.frames * _FRAME < _LEAST_SECONDS * media.rate:
            return NotApplicable(
                code="short", reason="The recording is too short to measure its spectrum."
            )
        if float(spectrum.decibels[1:].max()) < -110:
            return NotApplicable(code="silence", reason="The recording is silent throughout.")
        frequency, drop = cut_off(spectrum)
        sharp = drop >= _LEAST_DROP and frequency < _USABLE * media.rate / 2
        limit = frequency if sharp else media.rate / 2
        lossless = media.codec.startswith(LOSSLESS)
        found = [_limit(media, spectrum, limit, drop, sharp, lossless)]
        holes = hole_share(spectrum, limit)
        if lossless and holes >= _HOLES:
            found.append(_holes(holes))
        return tuple(found)


_LIMITS = (
    "The band limit is a trace of history, not of editing: exporting, messengers and telephones "
    "limit it in recordings that nobody touched.",
    "A low-pass filter in the microphone, the converter or an editor looks like that of a codec.",
    "Above the highest sound that was there, a codec leaves no edge.",
)


def _limit(
    media: Audio, spectrum: Spectrum, limit: float, drop: float, sharp: bool, lossless: bool
) -> Finding:
    half = media.rate / 2
    code, because = (
        "audio.bandwidth.full",
        (
            f"The sound reaches up to half its sample rate ({half / 1000:.1f} kHz) or fades out "
            "gradually: no band limit shows."
        ),
    )
    earlier = _earlier_rate(limit, media.rate) if sharp else None
    if sharp:
        code = "audio.bandwidth.limited"
        because = f"The sound ends at {limit / 1000:.1f} kHz where the file could hold " \
            f"{half / 1000:.1f} kHz"  # fmt: skip
        if earlier is not None:
            because += f": it was probably sampled at {earlier / 1000:g} kHz before."
            code = "audio.bandwidth.upsampled"
        elif lossless and 10_000 <= limit <= 20_500:
            because += (
                ". The file is not compressed with loss, yet it ends as MP3 or AAC do: it probably "
                "went through such a codec before."
            )
            code = "audio.bandwidth.codec_history"
        else:
            because += "."
    data: dict[str, Json] = {
        "limit_hz": round(limit, 1),
        "drop_db": round(drop, 2),
        "sharp": sharp,
        "nyquist_hz": half,
        "rolloff_99_hz": round(_roll_off(spectrum), 1),
        "earlier_rate_hz": earlier,
        "frames": spectrum.frames,
    }
    return Finding(
        code=code, kind=Kind.STRUCTURE, claim=Claim.NEUTRAL, because=because,
        limits=_LIMITS, data=data,
    )  # fmt: skip


def _earlier_rate(limit: float, rate: int) -> int | None:
    """The usual sample rate whose resampling filter would end at ``limit``.

    Resamplers pass 0.86 to 1.0 of half the lower rate. 32 kHz is left out where MP3 ends
    likewise (15.3 kHz and up), since that is much more frequent.
    """
    fits = [r for r in UPSAMPLED_FROM if r < rate and 0.86 * r / 2 <= limit <= 1.01 * r / 2]
    if not fits or (limit >= 15_300 and fits == [32_000]):
        return None
    return min(fits, key=lambda r: abs(limit - 0.95 * r / 2))


def _roll_off(spectrum: Spectrum) -> float:
    """Frequency below which 99 % of the power lies, Hz; without the lowest 30 Hz."""
    hertz = spectrum.hertz
    power = np.where(hertz >= 30, 10 ** (spectrum.decibels / 10), 0.0)
    return float(hertz[int(np.searchsorted(np.cumsum(power), 0.99 * power.sum()))])


def _holes(share: float) -> Finding:
    return Finding(
        code="audio.bandwidth.holes",
        kind=Kind.STRUCTURE,
        claim=Claim.NEUTRAL,
        because=f"In {100 * share:.0f} % of its pieces a frequency band is switched off while its "
        "neighbours sound: a codec with loss saves bits that way, though this file is not "
        "compressed with loss.",
        limits=("Strong noise suppression empties bands too.", *_LIMITS[:1]),
        data={"share": round(share, 4)},
    )
