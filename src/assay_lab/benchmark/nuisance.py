"""What a picture gives away without any trace of manipulation.

A detector must beat, and a training mix must not contain, a logistic
regression on these numbers. They describe exposure, contrast, sharpness,
noise, colour, blockiness and entropy of a crop, nothing about its content.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from assay_lab.benchmark.logistic import decision, fit_logistic
from assay_lab.benchmark.metrics import auc

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

NAMES = (
    *("brightness", "contrast", "saturation", "red_blue", "sharpness", "fine_share"),
    *("noise", "blockiness", "entropy", "clipped"),
)


def describe(rgb: Image) -> Floats:
    """The numbers of ``NAMES`` for RGB uint8 [h, w, 3] of at least 16 px a side."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float64)
    x = rgb.astype(np.float64)
    edge = np.asarray(cv2.Laplacian(grey, cv2.CV_64F))
    soft = np.asarray(cv2.GaussianBlur(grey, (0, 0), 2.0))
    fine = grey - np.asarray(cv2.GaussianBlur(grey, (0, 0), 0.8))
    across = np.abs(np.diff(grey, axis=1)).mean(0)
    seams = np.array([across[k::8].mean() for k in range(8)])
    share = np.bincount(grey.astype(np.uint8).ravel(), minlength=256) / grey.size
    used = share[share > 0]
    return np.array(
        [
            grey.mean() / 255,
            np.log(grey.std() + 1),
            (x.max(2) - x.min(2)).mean() / 255,
            (x[..., 0] - x[..., 2]).mean() / 255,
            np.log(edge.var() + 1),
            np.log((fine.std() + 0.1) / ((grey - soft).std() + 0.1)),
            np.log(np.median(np.abs(edge)) + 0.1),
            seams.max() / (np.median(seams) + 0.1),
            -(used * np.log2(used)).sum() / 8,
            float(((grey < 4) | (grey > 251)).mean()),
        ]
    )


class Baseline:
    """Standardised logistic regression on the nuisance numbers."""

    def __init__(self, features: Floats, labels: NDArray[np.generic]) -> None:
        self.mean, self.std = features.mean(0), features.std(0) + 1e-9
        self.coefficients = fit_logistic((features - self.mean) / self.std, labels, ridge=1.0)

    def __call__(self, features: Floats) -> Floats:
        return decision((features - self.mean) / self.std, self.coefficients)


def halves(features: Floats, labels: NDArray[np.generic]) -> float:
    """AUC of the baseline fitted on the first half and measured on the second."""
    n = len(labels) // 2
    return auc(labels[n:], Baseline(features[:n], labels[:n])(features[n:]))
