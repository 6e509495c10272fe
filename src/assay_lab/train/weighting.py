"""How much a sample counts: large sources more than small ones, but less than by their size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Strings = NDArray[np.str_]


def root_weights(group: Strings, source: Strings) -> Floats:
    """Weights of mean 1: all groups alike, inside a group sources by the root of their size."""
    w = np.zeros(len(group))
    for name in np.unique(group):
        mine = group == name
        _, index, count = np.unique(source[mine], return_inverse=True, return_counts=True)
        each = 1 / np.sqrt(count[index])
        w[mine] = each / each.sum()
    return np.asarray(w / w.mean(), np.float64)
