"""From validation scores to likelihood ratios and operating points.

A score is calibrated to a natural-log likelihood ratio (Brummer and du Preez,
"Application-independent evaluation of speaker detection", 2006): logistic
regression with both classes and all sources weighted alike, written down as
knots of a piecewise-linear function and bounded by what so few samples can
support.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from assay_lab.benchmark.logistic import fit_logistic
from assay_lab.benchmark.metrics import even_quantile

Floats = NDArray[np.float64]


def stack(real: Mapping[str, Floats], fake: Mapping[str, Floats]) -> tuple[Floats, Floats, Floats]:
    """Scores, labels and weights such that each class weighs 1/2 and its sources are alike."""
    scores, labels, weights = [], [], []
    for label, sets in ((0, real), (1, fake)):
        for values in sets.values():
            scores.append(values)
            labels.append(np.full(len(values), float(label)))
            weights.append(np.full(len(values), 0.5 / len(sets) / len(values)))
    total = sum(map(len, scores))
    return np.concatenate(scores), np.concatenate(labels), np.concatenate(weights) * total


def calibrate(
    real: Mapping[str, Floats],
    fake: Mapping[str, Floats],
    knots: int = 9,
    copies: int = 1,
    temper: float = 1.0,
) -> tuple[list[float], list[float]]:
    """Knots (score, llr): increasing scores, non-decreasing llr within +-log(n / 10).

    n is the smaller class, so that no answer is stronger than the sample can show;
    ``copies`` says how often every picture occurs (plain and corrupted). ``temper``
    below 1 flattens the line around its zero (see ``transfer``).
    """
    s, y, w = stack(real, fake)
    slope, shift = fit_logistic(s[:, None], y, weights=w)
    slope = max(float(slope), 1e-3)
    slope, shift = slope * temper, float(shift) * temper
    n = min(float((y == 0).sum()), float((y == 1).sum())) / copies
    bound = np.log(max(20.0, n) / 10)
    low, high = (-bound - shift) / slope, (bound - shift) / slope
    at = np.linspace(low, high, knots)
    return [round(float(v), 5) for v in at], [round(float(v * slope + shift), 5) for v in at]


def transfer(real: Mapping[str, Floats], fake: Mapping[str, Floats]) -> float:
    """How much flatter the line must be to fit sources that it has not seen, 0.3..1.

    For every pair of a real and a fake source the line is fitted on all others; the factor
    is that of the least mean log loss over the pairs, both classes weighing alike.
    """
    factors = np.linspace(0.3, 1.0, 15)
    losses = np.zeros(len(factors))
    for r, f in ((r, f) for r in real for f in fake):
        s, y, w = stack(
            {k: v for k, v in real.items() if k != r}, {k: v for k, v in fake.items() if k != f}
        )
        slope, shift = fit_logistic(s[:, None], y, weights=w)
        for i, t in enumerate(factors):
            away = np.logaddexp(0, t * (slope * real[r] + shift)).mean()
            losses[i] += away + np.logaddexp(0, -t * (slope * fake[f] + shift)).mean()
    return float(factors[int(np.argmin(losses))])


def to_llr(scores: Floats, knots: tuple[list[float], list[float]]) -> Floats:
    """Piecewise-linear map, constant beyond the ends."""
    return np.asarray(np.interp(scores, *knots), dtype=np.float64)


def to_probability(llr: Floats, prior: float = 0.5) -> Floats:
    """P(positive) at a base rate."""
    odds = llr + np.log(prior / (1 - prior))
    return np.asarray(1 / (1 + np.exp(-odds)), dtype=np.float64)


def conservative_threshold(real: Mapping[str, Floats], fpr: float, least: int = 25) -> float:
    """Largest of the sources' own ``1 - fpr`` quantiles, sources below ``least`` samples pooled.

    Meant to hold on each validation source rather than on their average, which
    is what an unseen source asks for. Quantiles are interpolated (type 7 of
    Hyndman and Fan 1996).
    """
    cuts = [float(np.quantile(v, 1 - fpr)) for v in real.values() if len(v) >= least]
    small = [v for v in real.values() if len(v) < least]
    if small:
        cuts.append(float(np.quantile(np.concatenate(small), 1 - fpr)))
    return float(np.nextafter(max(cuts), np.inf))


def even_threshold(
    real: Mapping[str, Floats], fpr: float, worst: float = 3.0, least: int = 25
) -> float:
    """The value that ``fpr`` of the reals reach, sources alike, and no source beyond ``worst``
    times ``fpr`` (sources below ``least`` samples pooled).

    The largest of the sources' own quantiles is stricter than it states by far where they
    are many: then it flags nothing and finds nothing.
    """
    mean = even_quantile(real, fpr)
    return float(max(np.nextafter(mean, np.inf), conservative_threshold(real, worst * fpr, least)))


def binomial_threshold(
    real: Mapping[str, Floats], fpr: float, worst: float = 3.0, level: float = 0.01
) -> float:
    """The value that ``fpr`` of the reals reach, sources alike, and no source so often that chance
    would do as much less than ``level`` of the time if it reached it ``worst`` times ``fpr``.

    As :func:`even_threshold`, for many small sources: the quantile of twenty clips is one clip,
    while the binomial test asks for as many as are beyond chance.
    """
    cuts = [even_quantile(real, fpr)]
    for values in real.values():
        # So many may reach it, the next may not.
        flagged = int(binom.isf(level, len(values), worst * fpr))
        cuts += np.sort(values)[::-1][flagged : flagged + 1].tolist()
    return float(np.nextafter(max(cuts), np.inf))


def sure_threshold(
    real: Mapping[str, Floats], fpr: float, level: float = 0.95, rounds: int = 1000
) -> float:
    """The value that ``fpr`` of the reals reach at most, sources alike, with confidence ``level``.

    What differs from one set of media to the next is the sources. They are drawn anew, with
    replacement, ``rounds`` times (Efron 1979); the answer is the ``level`` quantile of the
    thresholds so found.
    """
    sets, rng = [v for v in real.values() if len(v)], np.random.default_rng(0)
    # sorted once: a draw only changes what each source weighs
    scores = np.concatenate(sets)
    order = np.argsort(-scores)
    source = np.repeat(np.arange(len(sets)), [len(v) for v in sets])[order]
    mass = np.concatenate([np.full(len(v), 1 / len(v) / len(sets)) for v in sets])[order]
    cuts = []
    for _ in range(rounds):
        drawn = np.bincount(rng.integers(0, len(sets), len(sets)), minlength=len(sets))
        at = np.searchsorted(np.cumsum(mass * drawn[source]), fpr, side="right")
        cuts.append(scores[order[min(int(at), len(scores) - 1)]])
    return float(np.nextafter(np.quantile(cuts, level), np.inf))


def low_band(fake: Mapping[str, Floats], share: float = 0.02) -> float:
    """Score below which ``share`` of the fakes fall, every source weighing alike."""
    return -even_quantile({k: -v for k, v in fake.items()}, share)
