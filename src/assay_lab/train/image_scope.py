"""The scope head: is this a photograph, or a drawing, painting, screen, scan, chart or render?

Ridge least squares on features of whole pictures made small. Generated pictures count as
photographs, lest "drawn" be learned as "generated". Everything that is said of it comes
from folds in which the sources asked about were left out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image.picture_kind import beyond
from assay_lab.benchmark.metrics import even_quantile
from assay_lab.data.images import keep_order
from assay_lab.train.image_features import Stored
from assay_lab.train.ridge import left_out, ridge, whitened
from assay_lab.train.weighting import root_weights

Floats = NDArray[np.float64]
Strings = NDArray[np.str_]
KINDS = ("photograph", "drawing", "painting", "screenshot", "document", "chart", "render")
FOLDS = 8
GATED = 0.01


class Scope(NamedTuple):
    """``weight`` [kinds, features], ``bias`` [kinds], gated from ``threshold`` up, and figures."""

    weight: Floats
    bias: Floats
    threshold: float
    report: dict[str, Any]


def kinds_of(data: Stored) -> Strings:
    """The kind of each picture, photographs and generated ones alike "photograph"."""
    return np.where(np.isin(data.kind, KINDS), data.kind, "photograph")


def _weights(data: Stored, kinds: Strings) -> Floats:
    """Every kind alike, real and generated photographs too, and sources by the root of size."""
    names = np.char.add(kinds, np.where(kinds == "photograph", data.label, ""))
    return root_weights(names, data.source)


def fit_scope(data: Stored, parts: tuple[str, ...], penalty: float = 0.05) -> Scope:
    """Fit on all; the threshold gates ``GATED`` of the photographs of sources left out."""
    seen, kinds = whitened(data, parts), kinds_of(data)
    y = np.array([[float(k == name) for name in KINDS] for k in kinds])
    w = _weights(data, kinds)
    # sources of one repository leave together; of drawings there are few, so by generator
    stems = [s if k == "drawing" else s.split("_")[0]
             for s, k in zip(data.source, kinds, strict=True)]  # fmt: skip
    fold = np.array([int(keep_order("scope " + s)[:6], 16) % FOLDS for s in stems])
    out = beyond(left_out(seen.z, y, w, penalty, fold, np.ones(len(y), bool)))
    photo = (kinds == "photograph") & (data.label == "real")
    generated = (kinds == "photograph") & (data.label == "fake")
    by_source = {s: out[photo & (data.source == s)] for s in np.unique(data.source[photo])}
    threshold = even_quantile(by_source, GATED)
    report: dict[str, Any] = {"photographs": [int(photo.sum()), _share(out[photo], threshold)]}
    report["generated"] = [int(generated.sum()), _share(out[generated], threshold)]
    for name in KINDS[1:]:
        report[name] = [int((kinds == name).sum()), _share(out[kinds == name], threshold)]
    worst = {str(s): _share(v, threshold) for s, v in by_source.items()}
    report["photographs by source"] = {k: v for k, v in worst.items() if v > 0}
    weight, bias = seen.head(ridge(seen.z, y, w, penalty))
    return Scope(weight, bias, threshold, report)


def _share(values: Floats, threshold: float) -> float:
    return round(float((values > threshold).mean()), 4)
