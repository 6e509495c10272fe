"""Known pictures, as a memory that a new one is compared with.

Says how familiar a picture is: its distance from the nearest training pictures, as a share of
the training pictures that lie nearer to those of *other* sources. Distance does not tell
where the heads err within the validation data (see docs/decisions/0007); it warns of
pictures beyond all that they were measured on.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from assay.analyzers.image.resemblance import NEAREST
from assay_lab.data.images import keep_order
from assay_lab.train.image_features import Stored
from assay_lab.train.image_net import Known
from assay_lab.train.images import SEEN, columns_of
from assay_lab.train.weighting import root_weights

Floats = NDArray[np.float64]
PARTS = ("cls7",)
DIMENSIONS = 64
MOST = 40
"""Pictures of a source that are remembered."""
SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 1.0)


class Familiarity(NamedTuple):
    """The memory, and the ``distance`` below which a ``share`` of known photographs lie."""

    memory: Known
    distance: list[float]
    share: tuple[float, ...]
    pictures: int
    generated: float


def remember(data: Stored) -> Familiarity:
    """The memory of training wholes of ``data`` (first views) that are judged, ``MOST`` a source.

    The distances are those of real ones from pictures of other sources, all sources alike.
    """
    data = data.where((data.use == "train") & (data.view == 0) & np.isin(data.kind, SEEN))
    taken: Counter[str] = Counter()
    kept = np.zeros(len(data.name), bool)
    for i in sorted(range(len(kept)), key=lambda i: keep_order(str(data.name[i]))):
        taken[data.source[i]] += 1
        kept[i] = taken[data.source[i]] <= MOST
    data = data.where(kept)
    columns = columns_of(data.parts, PARTS)
    x = data.x[:, columns].astype(np.float64)
    mean, deviation = x.mean(0), x.std(0) + 1e-2
    _, _, axes = np.linalg.svd((x - mean) / deviation, full_matrices=False)
    projection = axes[:DIMENSIONS].T / deviation[:, None]
    y = (x - mean) @ projection
    scale = 127 / np.quantile(np.abs(y), 0.9999)
    # exact in 16 bits, as they are stored
    projection = (projection * scale).astype(np.float16).astype(np.float32)
    shift = (-mean @ projection).astype(np.float32)
    memory = np.clip(np.round(x @ projection + shift), -127, 127).astype(np.int8)
    away = _away(memory.astype(np.float64), data)
    real = ~data.fake
    weight = root_weights(data.label[real], data.source[real])
    order = np.argsort(away[real])
    reach = (np.cumsum(weight[order]) - weight[order] / 2) / weight.sum()
    distance = np.interp(SHARES, reach, away[real][order])
    known = Known(
        torch.from_numpy(columns), torch.from_numpy(projection), torch.from_numpy(shift),
        torch.from_numpy(memory), torch.from_numpy(data.fake.astype(np.uint8)),
    )  # fmt: skip
    rising = np.maximum.accumulate(distance + np.arange(len(distance)) * 1e-3)
    return Familiarity(known, [round(float(v), 3) for v in rising], SHARES, len(x),
                       round(float(data.fake.mean()), 4))  # fmt: skip


def _away(y: Floats, data: Stored) -> Floats:
    """Mean distance of each picture from the nearest pictures of other sources."""
    square = (y**2).sum(1)
    found = np.zeros(len(y))
    for source in np.unique(data.source):
        at = data.source == source
        d = square[at][:, None] - 2 * y[at] @ y[~at].T + square[~at][None]
        near = np.partition(d, NEAREST, axis=1)[:, :NEAREST]
        found[at] = np.sqrt(np.maximum(near, 0)).mean(1)
    return found
