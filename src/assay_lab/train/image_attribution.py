"""Which family of generators made a picture, where the evidence carries it.

Ridge least squares on features of whole pictures made small, one output a family and none
for all the rest. What a family must reach to be named is set so that, over pictures of
sources left out, generators of other families among them, ``PRECISION`` of those so named are
of that family. A family that never gets there is not named at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay_lab.benchmark.metrics import auc
from assay_lab.data.images import keep_order
from assay_lab.train.image_features import Stored
from assay_lab.train.ridge import left_out, ridge, whitened
from assay_lab.train.weighting import root_weights

Floats = NDArray[np.float64]
Strings = NDArray[np.str_]
PARTS = ("mean6", "cls6", "mean7", "cls7")
PRECISION, LEAST = 0.85, 20
"""Share of the named that must be right, of at least so many."""
PENALTY, FOLDS = 0.3, 20

UNSURE = re.compile(r"^unknown|not stated per case|some posts|^stable diffusion .* and dall-e")
NOT_THESE = re.compile(
    r"3\.5|\bsd3|stable-diffusion-3|cascade|glid|dalle_mini|min-dalle|dreamstudio"
)
FAMILIES: Mapping[str, re.Pattern[str]] = {
    "Stable Diffusion 1, 2 or XL": re.compile(
        r"sdxl|sd_xl|stable.diffusion|sd15|sd1x|v1-5|\blcm\b|juggernaut|dreamshaper|anything"
        r"|facechain|instaflow|sd14|sd21|mix|aom3|wd-|digiplay|yntec|digitalfantasy|bestmodel|_v\d+"
    ),
    "Midjourney": re.compile(r"midjourney|niji|^mj$"),
    "GPT image or Gemini": re.compile(
        r"gpt[- ]?(4o|image)|chatgpt|dall-e 3|gemini|nano[ _]banana|whisk"
    ),
    "FLUX": re.compile(r"\bflux(?!mania)"),
    "StyleGAN": re.compile(r"stylegan"),
}
"""By the names of generators in the recipes; the first that fits."""


def family_of(generator: str) -> str:
    """Name of the family, "" for a generator of none of them, "?" where that is not known."""
    name = generator.lower()
    if UNSURE.search(name):
        return "?"
    if NOT_THESE.search(name):
        return ""
    return next((f for f, pattern in FAMILIES.items() if pattern.search(name)), "")


class Attribution(NamedTuple):
    """``weight`` [families, features], ``bias`` and ``least`` [families] (infinite: never
    named), the names, and figures of sources left out."""

    weight: Floats
    bias: Floats
    least: list[float]
    names: tuple[str, ...]
    report: dict[str, Any]


def fit_attribution(data: Stored, families: Strings, sites: Strings) -> Attribution:
    """Fit on generated pictures ``data``, of which ``families`` are known or "".

    Pictures of a site are left out together when what is named is counted.
    """
    names = tuple(FAMILIES)
    seen = whitened(data, PARTS)
    inside = np.isin(families, names)
    y = np.array([[float(f == n) for n in names] for f in families])
    w = np.ones(len(families))
    w[inside] = root_weights(families[inside], sites[inside])
    fold = np.array([int(keep_order("family " + s)[:6], 16) % FOLDS for s in sites.tolist()])
    out = left_out(seen.z, y, w, PENALTY, fold, inside)
    best = out.argmax(1)
    least = [_least(out[best == k, k], families[best == k] == n) for k, n in enumerate(names)]
    weight, bias = seen.head(ridge(seen.z[inside], y[inside], w[inside], PENALTY))
    return Attribution(weight, bias, least, names, _report(out, families, names, least))


def _least(values: Floats, right: NDArray[np.bool_]) -> float:
    """The lowest value from which up ``PRECISION`` are right, or infinity."""
    order = np.argsort(-values)
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share >= PRECISION)
    good = good[good >= LEAST - 1]
    return float(values[order][good[-1]]) if good.size else float("inf")


def _report(
    out: Floats, families: Strings, names: Sequence[str], least: Sequence[float]
) -> dict[str, Any]:
    best = out.argmax(1)
    said = np.array([out[i, k] >= least[k] for i, k in enumerate(best)])
    known = np.isin(families, names)
    found: dict[str, Any] = {
        "known": int(known.sum()),
        "other": int((~known).sum()),
        "known_against_unknown_auc": round(auc(known.astype(np.float64), out.max(1)), 4),
        "other_named": round(float(said[~known].mean()), 4),
    }
    for k, n in enumerate(names):
        mine = said & (best == k)
        found[n] = {
            "pictures": int((families == n).sum()),
            "named": int(mine.sum()),
            "right": round(float((families[mine] == n).mean()), 4) if mine.any() else None,
            "found": round(float(mine[families == n].sum() / max(1, (families == n).sum())), 4),
        }
    return found
