"""The open picture test, scored with the shipped model, patches and pooling.

    python -m assay_lab.benchmark.images --test DIR/images/test --cache DIR \
        --out benchmarks/image-v7.json [--card]

Writes AUC with bootstrap intervals, TPR at 1 % FPR, EER, calibration error and the share of
real pictures flagged at the card's 1 % point: as a whole, for pictures of a long side of
at least 480 px, for each family of generators (against all real pictures) and for each real
source; plain, JPEG 70 and half size; beside a nuisance-only baseline fitted on training
views. Pictures that the product would not judge are scored all the same and counted.
Which family of generators a picture would be named after is counted too. Nothing is chosen
here.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image import picture_scope
from assay.analyzers.image.patches import native_patches
from assay.analyzers.image.picture_kind import no_photograph
from assay.analyzers.image.synthetic import MODEL, look
from assay.models import card as read_card
from assay_lab.benchmark import metrics as m
from assay_lab.benchmark.nuisance import NAMES, Baseline, describe, halves
from assay_lab.benchmark.open_test import manifest, options, row, write
from assay_lab.data.cache import Cache
from assay_lab.data.images import decode

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
LONG_SIDE = 480


def baseline(cache: Cache, count: int) -> tuple[Baseline, float]:
    """The nuisance regression on ``count`` plain training views, and its AUC between halves."""
    from assay_lab.data.images import picture
    from assay_lab.train.image_features import patch, worn

    rng = np.random.default_rng(0)
    crops = [i for i, r in enumerate(cache.rows) if r.use == "train" and r.name.endswith("#0")]
    features, labels = [], []
    for i in rng.permutation(crops)[:count].tolist():
        features.append(describe(patch(worn(picture(cache, i), rng), rng)))
        labels.append(float(cache.rows[i].label == "fake"))
    x, y = np.array(features), np.array(labels)
    return Baseline(x, y), halves(x, y)


def family(item: dict[str, str], count: Counter[str]) -> str:
    """The generator where the test holds at least eight of its pictures, else the source."""
    big = count[item["generator"]] >= 8
    return item["generator"] if big else f"{item['source']} (others)"


def named(items: list[dict[str, str]], said: list[str]) -> dict[str, int]:
    """How many pictures are named after a family of generators, and how many rightly."""
    from assay_lab.train.image_attribution import FAMILIES, family_of

    fakes = [(family_of(i["generator"]), s)
             for i, s in zip(items, said, strict=True) if i["label"] == "fake"]  # fmt: skip
    known = [(f, s) for f, s in fakes if f in FAMILIES]
    other = [s for f, s in fakes if f not in FAMILIES]
    return {
        "of_a_known_family": len(known),
        "of_these_named": sum(bool(s) for _, s in known),
        "of_these_rightly": sum(s == f for f, s in known),
        "of_another_or_unknown": len(other),
        "of_these_wrongly_named": sum(bool(s) for s in other),
    }


def main(argv: list[str] | None = None) -> None:
    """Command line of the benchmark."""
    from assay_lab.train.image_features import VERSIONS, version

    p = options(__doc__)
    p.add_argument("--views", type=int, default=1200)
    a = p.parse_args(argv)
    cv2.setNumThreads(1)
    card = read_card(MODEL)
    items = manifest(a.test)
    truth = np.array([float(i["label"] == "fake") for i in items])
    groups = np.array([i["group"] for i in items])
    count = Counter(i["generator"] for i in items)
    families = np.array([family(i, count) if i["label"] == "fake" else "" for i in items])
    sources = np.array([i["source"] if i["label"] == "real" else "" for i in items])
    large = np.array([max(int(i["width"]), int(i["height"])) >= LONG_SIDE for i in items])

    rows: list[dict[str, Any]] = []
    written: list[list[str]] = []
    numbers: list[Floats] = []
    unjudged: Counter[str] = Counter()
    said: list[str] = []
    strange: list[float] = []
    spent: list[float] = []
    for how in VERSIONS:
        values = []
        for item in items:
            rgb = decode((a.test / item["path"]).read_bytes())
            if rgb is None:
                raise ValueError(f"{item['path']} does not decode")
            rgb = version(rgb, how)
            began = time.perf_counter()
            patches = native_patches(rgb, card.input.height)
            seen = look(rgb, patches.pixels, card)
            values.append(seen.score)
            spent.append(time.perf_counter() - began)
            written.append([item["path"], how, f"{values[-1]:.5f}"])
            if how == "none":
                said.append(seen.like.family)
                strange.append(seen.like.ood_score)
                numbers.append(describe(patches.pixels[len(patches.pixels) // 2]))
                outside = picture_scope.out_of_scope(picture_scope.measure(rgb)) or no_photograph(
                    seen.kinds, card
                )
                if min(rgb.shape[:2]) < card.gates["min_side_px"] or outside:
                    unjudged[item["label"]] += 1
        s = np.array(values)
        rows.append(row("all", how, truth, s, card, groups.tolist()))
        rows.append(
            row(f"long side >= {LONG_SIDE}", how, truth[large], s[large], card,
                groups[large].tolist())
        )  # fmt: skip
        print(json.dumps(rows[-2]), flush=True)
        for name in sorted(set(families[truth == 1])):
            at = (families == name) | (truth == 0)
            rows.append(row(str(name), how, truth[at], s[at], card, groups[at].tolist()))
        for name in sorted(set(sources[truth == 0])):
            at = (sources == name) | (truth == 1)
            rows.append(row(f"real: {name}", how, truth[at], s[at], card, groups[at].tolist()))
    plain, mix = baseline(Cache(a.cache), a.views)
    told = plain(np.array(numbers))
    nuisance = {
        "numbers": list(NAMES),
        "training_views_auc": round(mix, 4),
        "test_auc": round(m.auc(truth, told), 4),
        "test_auc_long_side": round(m.auc(truth[large], told[large]), 4),
    }
    write(
        a, card, rows, written,
        command="python -m assay_lab.benchmark.images " + " ".join(argv or sys.argv[1:]),
        test={"manifest_rows": len(items), "not_judged_by_the_product": dict(unjudged)},
        seconds_a_picture={
            "median": round(float(np.median(spent)), 3), "note": "on a machine shared with others"
        },
        family_of_generators=named(items, said),
        ood_score_median={
            k: round(float(np.median(np.array(strange)[truth == v])), 3)
            for k, v in (("real", 0), ("fake", 1))
        },
        nuisance_only=nuisance,
    )  # fmt: skip
    print(json.dumps(nuisance))


if __name__ == "__main__":
    main()
