"""Cross-fitting: every group of samples is judged by a model that learned without it.

A group goes to one of ``FOLDS`` by a hash of its name, so that further groups change nothing for
those that are there. What is judged in the folds of ``CHOOSING`` chooses settings.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
CHOOSING = (0, 1)


def fold_of(group: NDArray[np.str_]) -> NDArray[np.int64]:
    """The fold of each group [n]."""
    return np.array([zlib.crc32(g.encode()) % FOLDS for g in group.tolist()], np.int64)
