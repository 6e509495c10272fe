"""Linear heads on stored features: ridge least squares, with what is left out scored apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay_lab.train.image_features import Stored
from assay_lab.train.images import columns_of

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Whitened(NamedTuple):
    """Features ``z`` [n, used] of mean 0 and deviation 1, and where they come from."""

    z: Floats
    columns: NDArray[np.int64]
    mean: Floats
    deviation: Floats
    width: int

    def head(self, beta: Floats) -> tuple[Floats, Floats]:
        """``weight`` [outputs, features] and ``bias`` [outputs] on the features as stored."""
        weight = np.zeros((beta.shape[1], self.width))
        weight[:, self.columns] = (beta[:-1] / self.deviation[:, None]).T
        return weight, beta[-1] - weight[:, self.columns] @ self.mean


def whitened(data: Stored, parts: tuple[str, ...]) -> Whitened:
    """The named parts of the features of ``data``."""
    columns = columns_of(data.parts, parts)
    x = data.x[:, columns].astype(np.float64)
    mean, deviation = x.mean(0), x.std(0) + 1e-2
    return Whitened((x - mean) / deviation, columns, mean, deviation, data.x.shape[1])


def ridge(z: Floats, y: Floats, w: Floats, penalty: float) -> Floats:
    """Weighted least squares ``[features + 1, outputs]``; last row the bias, penalised too."""
    a = np.c_[z, np.ones(len(z))]
    weighted = (a * w[:, None]).T
    normal = weighted @ a
    normal[np.diag_indices_from(normal)] += penalty * z.shape[1]
    return np.linalg.solve(normal, weighted @ y)


def left_out(
    z: Floats, y: Floats, w: Floats, penalty: float, fold: NDArray[np.int64], taught: Flags
) -> Floats:
    """Outputs ``[n, outputs]`` of each fold from a fit on the others, where ``taught`` holds."""
    out = np.zeros(y.shape)
    for k in np.unique(fold):
        at = taught & (fold != k)
        beta = ridge(z[at], y[at], w[at], penalty)
        out[fold == k] = z[fold == k] @ beta[:-1] + beta[-1]
    return out
