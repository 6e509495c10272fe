"""Metrics for two-class detectors, in plain numpy.

Labels are 1 for the positive class (fake, spoof) and 0 for the negative class
(real, bona fide). Scores are finite numbers of any scale where larger means
"more likely positive"; probabilities lie in [0, 1].

The definitions follow ISO/IEC 30107-3 (error rates), Fawcett, "An introduction
to ROC analysis" (2006), and Guo et al., "On calibration of modern neural
networks" (2017). Each is compared with scikit-learn in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Metric = Callable[[ArrayLike, ArrayLike], float]


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    y = np.asarray(labels)
    s = np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape:
        raise ValueError("labels and scores must be vectors of one length")
    if y.size == 0:
        raise ValueError("labels and scores are empty")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    if not np.isfinite(s).all():
        raise ValueError("scores must be finite")
    return y.astype(bool), s


def _both(y: NDArray[np.bool_]) -> None:
    if y.all() or not y.any():
        raise ValueError("both classes are needed")


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return (fpr, tpr, thresholds): one point per distinct score, from (0, 0) to (1, 1).

    A sample counts as positive when ``score >= threshold``; the first threshold
    is infinity. Raises ValueError when a class is missing.
    """
    y, s = _checked(labels, scores)
    _both(y)
    order = np.argsort(-s, kind="stable")
    y, s = y[order], s[order]
    ends = np.r_[np.flatnonzero(np.diff(s)), y.size - 1]
    tps = np.cumsum(y)[ends]
    fps = ends + 1 - tps
    fpr = np.r_[0.0, fps / fps[-1]]
    tpr = np.r_[0.0, tps / tps[-1]]
    return fpr, tpr, np.r_[np.inf, s[ends]]


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve, in [0, 1]; ties count one half (Mann-Whitney U)."""
    y, s = _checked(labels, scores)
    _both(y)
    _, inverse, counts = np.unique(s, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2.0)[inverse]
    n_pos, n_neg = int(y.sum()), int((~y).sum())
    return float((ranks[y].sum() - n_pos * (n_pos + 1) / 2.0) / (n_pos * n_neg))


def auc_between(real: ArrayLike, fake: ArrayLike) -> float:
    """:func:`auc` of the scores of ``fake`` against those of ``real``."""
    r, f = np.asarray(real), np.asarray(fake)
    return auc(np.r_[np.zeros(len(r)), np.ones(len(f))], np.r_[r, f])


def threshold_at_fpr(negative_scores: ArrayLike, fpr: float = 0.01) -> float:
    """Smallest observed cut so that at most ``fpr`` of the negatives score at or above it.

    The cut lies just above a negative score (next float), so it is exact for
    the given sample. Raises ValueError for an empty sample or fpr outside [0, 1].
    """
    s = np.sort(np.asarray(negative_scores, dtype=np.float64))
    if s.size == 0 or not np.isfinite(s).all():
        raise ValueError("finite negative scores are needed")
    if not 0.0 <= fpr <= 1.0:
        raise ValueError("fpr must lie in [0, 1]")
    allowed = int(np.floor(fpr * s.size + 1e-9))
    if allowed >= s.size:
        return float(s[0])
    return float(np.nextafter(s[s.size - 1 - allowed], np.inf))


def tpr_at_fpr(labels: ArrayLike, scores: ArrayLike, fpr: float = 0.01) -> float:
    """True-positive rate at the strictest threshold whose false-positive rate is <= ``fpr``."""
    y, s = _checked(labels, scores)
    _both(y)
    return float((s[y] >= threshold_at_fpr(s[~y], fpr)).mean())


def rate_at(scores: ArrayLike, threshold: float) -> float:
    """Share of ``scores`` at or above ``threshold`` (FPR on reals, TPR on fakes)."""
    s = np.asarray(scores, dtype=np.float64)
    if s.size == 0:
        raise ValueError("scores are empty")
    return float((s >= threshold).mean())


def eer(labels: ArrayLike, scores: ArrayLike) -> float:
    """Equal error rate: where the piecewise-linear ROC curve meets ``fpr = 1 - tpr``."""
    fpr, tpr, _ = roc_curve(labels, scores)
    gap = fpr - (1.0 - tpr)
    i = int(np.argmax(gap >= 0))
    if i == 0:
        return float(fpr[0])
    span = gap[i] - gap[i - 1]
    w = -gap[i - 1] / span
    return float(fpr[i - 1] + w * (fpr[i] - fpr[i - 1]))


def ece(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error of P(positive), in [0, 1], with equal-width bins.

    Weighted mean over the bins of |mean probability - share of positives|.
    """
    y, p = _checked(labels, probabilities)
    if bins < 1:
        raise ValueError("bins must be positive")
    if p.min() < 0.0 or p.max() > 1.0:
        raise ValueError("probabilities must lie in [0, 1]")
    index = np.minimum((p * bins).astype(int), bins - 1)
    n = np.bincount(index, minlength=bins)
    gap = np.abs(np.bincount(index, p, bins) - np.bincount(index, y.astype(float), bins))
    return float(gap[n > 0].sum() / p.size)


def brier(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean squared error of P(positive) (Brier 1950), in [0, 1]."""
    y, p = _checked(labels, probabilities)
    return float(((p - y) ** 2).mean())


def balanced_accuracy(labels: ArrayLike, scores: ArrayLike, threshold: float) -> float:
    """Mean of the true-positive and true-negative rates at ``score >= threshold``."""
    y, s = _checked(labels, scores)
    _both(y)
    hit = s >= threshold
    return float((hit[y].mean() + (~hit[~y]).mean()) / 2.0)


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the limits of its bootstrap percentile interval."""

    value: float
    low: float
    high: float


def bootstrap(
    metric: Metric,
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    rounds: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of ``metric(labels, scores)``.

    Resamples whole ``groups`` (identity, original, page) when given, so that
    near-copies do not make the interval too narrow; without groups it resamples
    within each class. Rounds where a class is missing are skipped. Efron and
    Tibshirani, "An introduction to the bootstrap" (1993).
    """
    y, s = _checked(labels, scores)
    value = metric(y.astype(int), s)
    rng = np.random.default_rng(seed)
    if groups is None:
        pools = [[np.array([i]) for i in np.flatnonzero(y == c)] for c in (False, True)]
    else:
        g = np.unique(np.asarray(groups), return_inverse=True)[1]
        if g.shape != y.shape:
            raise ValueError("groups must match labels")
        order = np.argsort(g, kind="stable")
        pools = [list(np.split(order, np.flatnonzero(np.diff(g[order])) + 1))]
    draws = []
    for _ in range(rounds):
        parts = [p[j] for p in pools if p for j in rng.integers(0, len(p), len(p))]
        index = np.concatenate(parts)
        if y[index].all() or not y[index].any():
            continue
        draws.append(metric(y[index].astype(int), s[index]))
    if not draws:
        return Interval(value, value, value)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))


def summary(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    probabilities: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    rounds: int = 500,
    seed: int = 0,
) -> dict[str, float | int]:
    """The row written in cards and benchmark files, ready for JSON.

    Keys: real, fake, auc, auc_low, auc_high, tpr_at_1fpr, eer, and ece and brier
    when ``probabilities`` (P(positive) at the prior of the sample) are given.
    """
    y, s = _checked(labels, scores)
    area = bootstrap(auc, y, s, groups=groups, rounds=rounds, seed=seed)
    row: dict[str, float | int] = {
        "real": int((~y).sum()),
        "fake": int(y.sum()),
        "auc": area.value,
        "auc_low": area.low,
        "auc_high": area.high,
        "tpr_at_1fpr": tpr_at_fpr(y, s, 0.01),
        "eer": eer(y, s),
    }
    if probabilities is not None:
        row["ece"] = ece(y, probabilities)
        row["brier"] = brier(y, probabilities)
    return row


def even_quantile(sets: Mapping[str, Floats], share: float) -> float:
    """The largest score that more than ``share`` of the samples reach, all sets weighing alike.

    So at most ``share`` of them lie above it. Raises ValueError when there is no sample.
    """
    filled = [v for v in sets.values() if len(v)]
    if not filled:
        raise ValueError("no samples")
    scores = np.concatenate(filled)
    mass = np.concatenate([np.full(len(v), 1 / len(v)) for v in filled]) / len(filled)
    order = np.argsort(-scores)
    at = int(np.searchsorted(np.cumsum(mass[order]), share, side="right"))
    return float(scores[order][min(at, len(scores) - 1)])
