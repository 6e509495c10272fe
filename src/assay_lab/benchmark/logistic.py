"""Logistic regression by iteratively reweighted least squares, for calibration and baselines.

Hastie, Tibshirani and Friedman, "The elements of statistical learning", 4.4.1.
Compared with scikit-learn in the tests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def fit_logistic(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    ridge: float = 1e-3,
    rounds: int = 100,
) -> Floats:
    """Coefficients ``[k + 1]``, the last one the intercept (not penalised).

    ``features`` is [n, k]; ``ridge`` is the L2 penalty on the summed weighted
    loss. Raises ValueError for shapes that do not match or a missing class.
    """
    x = np.asarray(features, dtype=np.float64)
    y = np.asarray(labels, dtype=np.float64)
    if x.ndim != 2 or y.shape != (x.shape[0],) or not np.isin(y, (0, 1)).all():
        raise ValueError("features [n, k] and 0/1 labels [n] are needed")
    if y.min() == y.max():
        raise ValueError("both classes are needed")
    w = np.ones_like(y) if weights is None else np.asarray(weights, dtype=np.float64)
    a = np.c_[x, np.ones(len(x))]
    penalty = np.full(a.shape[1], ridge)
    penalty[-1] = 1e-9
    beta = np.zeros(a.shape[1])

    def cost(b: Floats) -> float:
        z = a @ b
        return float((w * (np.logaddexp(0, z) - y * z)).sum() + 0.5 * (penalty * b * b).sum())

    now = cost(beta)
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-np.clip(a @ beta, -40, 40)))
        gradient = a.T @ (w * (p - y)) + penalty * beta
        curve = (a * (w * p * (1 - p))[:, None]).T @ a + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curve, gradient)
        size = 1.0
        while size > 1e-6 and cost(beta - size * step) > now:
            size /= 2
        beta = beta - size * step
        after = cost(beta)
        if now - after < 1e-10 * max(1.0, abs(now)):
            break
        now = after
    return np.asarray(beta, dtype=np.float64)


def decision(features: ArrayLike, coefficients: ArrayLike) -> Floats:
    """Log-odds of the positive class."""
    x = np.asarray(features, dtype=np.float64)
    b = np.asarray(coefficients, dtype=np.float64)
    return np.asarray(x @ b[:-1] + b[-1], dtype=np.float64)
