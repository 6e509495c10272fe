"""The open face test, scored with the shipped model and pre-processing.

    python -m assay_lab.benchmark.faces --test DIR/faces/test --cache DIR \
        --out benchmarks/faces-v1.json [--card]

Writes AUC with bootstrap intervals, TPR at 1 % FPR, EER, calibration error and
the share of reals flagged at the card's 1 % point, per source and corruption,
beside a nuisance-only baseline fitted on the training mix. Nothing is chosen here.
"""

from __future__ import annotations

import argparse
import csv
import json
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from assay.models import card as read_card
from assay.models.prepare import face_square, picture_tensor, square_crop
from assay.models.runtime import run
from assay.models.store import ZOO
from assay_lab.benchmark import metrics as m
from assay_lab.benchmark.nuisance import NAMES, Baseline, describe, halves
from assay_lab.data import corruptions
from assay_lab.data.cache import Cache
from assay_lab.data.faces import decode, find_faces
from assay_lab.export.calibration import to_llr, to_probability
from assay_lab.export.card import dumps

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
CORRUPTED = ("none", "jpeg50", "half_size")


def face_box(rgb: Image) -> Floats:
    """Box x0 y0 x1 y1 of the largest face, looked for again with a border; else the picture."""
    faces = find_faces(rgb, least=0.7) or find_faces(rgb, pad=0.35, least=0.5)
    return np.array(faces[0].box if faces else (0.0, 0.0, rgb.shape[1], rgb.shape[0]))


def crop(rgb: Image, box: Floats, size: int, margin: float) -> Image:
    """The face as serving cuts it."""
    x0, y0, x1, y1 = (float(v) for v in box)
    return square_crop(rgb, *face_square((x0, y0, x1 - x0, y1 - y0), margin), size)


def training_mix(cache: Cache, size: int, batches: int) -> tuple[Floats, Floats, list[str]]:
    """Nuisance numbers, labels and kind of pair of what training saw."""
    from assay_lab.train.faces import MEAN, PAIRS, STD, Mix

    mix = Mix(cache, size, seed=99)
    features, labels = [], []
    for step in range(5000, 5000 + batches):
        batch = mix(step)
        x = batch["x"].permute(0, 2, 3, 1).numpy() * np.float32(STD[0]) + np.float32(MEAN[0])
        features += [describe(np.rint(p * 255).astype(np.uint8)) for p in x]
        labels += batch["y"].tolist()
    kinds = [k for k, n in PAIRS.items() for _ in range(2 * n)] * batches
    return np.array(features), np.array(labels), kinds


def row(
    source: str, how: str, y: Floats, s: Floats, card: Any, groups: list[str]
) -> dict[str, Any]:
    """One line of the result."""
    assert card.calibration is not None
    assert card.points is not None
    llr = to_llr(s, (list(card.calibration.score), list(card.calibration.llr)))
    found = m.summary(y, s, probabilities=to_probability(llr), groups=groups)
    found.pop("brier")
    return {
        "set": "test",
        "source": source,
        "corruption": how,
        **{k: round(v, 4) for k, v in found.items()},
        "flagged_real_at_point": round(m.rate_at(s[y == 0], card.points.fpr_1pct), 4),
        "caught_fake_at_point": round(m.rate_at(s[y == 1], card.points.fpr_1pct), 4),
    }


def _picture(path: Path) -> Image:
    rgb = decode(path.read_bytes())
    if rgb is None:
        raise ValueError(f"{path} does not decode")
    return rgb


def main(argv: list[str] | None = None) -> None:
    """Command line of the benchmark."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--test", type=Path, required=True)
    p.add_argument("--cache", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--batches", type=int, default=60)
    p.add_argument("--card", action="store_true", help="write the rows into the model's card")
    p.add_argument("--scores", type=Path, help="also write every score to this CSV file")
    a = p.parse_args(argv)
    cv2.setNumThreads(1)
    card = read_card("faces-v1")
    size, margin = card.input.height, card.input.crop_margin
    with (a.test / "manifest.csv").open(newline="", encoding="utf-8") as lines:
        items = list(csv.DictReader(lines))
    features, labels, kinds = training_mix(Cache(a.cache), size, a.batches)
    baseline = Baseline(features, labels)
    mix_auc = {"all": round(halves(features, labels), 4)}
    for kind in dict.fromkeys(kinds):
        chosen = np.array([k == kind for k in kinds])
        mix_auc[kind] = round(halves(features[chosen], labels[chosen]), 4)

    rows, nuisance, lines_out = [], {}, []
    truth = np.array([float(i["label"] == "fake") for i in items])
    pictures = [_picture(a.test / item["path"]) for item in items]
    boxes = [face_box(rgb) for rgb in pictures]
    for how in CORRUPTED:
        crops = []
        for rgb, box in zip(pictures, boxes, strict=True):
            seen = corruptions.NAMED[how](rgb)  # the box is that of the untouched picture
            crops.append(crop(seen, box * len(seen) / len(rgb), size, margin))
        out = run("faces-v1", {"input": picture_tensor(np.stack(crops), card.input)})
        s = out["logit"].astype(np.float64)
        for source in dict.fromkeys(i["source"] for i in items):
            at = np.array([i["source"] == source for i in items])
            groups = [i["group"] for i in items if i["source"] == source]
            rows.append(row(source, how, truth[at], s[at], card, groups))
            if how == "none":
                told = baseline(
                    np.array([describe(c) for c, k in zip(crops, at, strict=True) if k])
                )
                nuisance[source] = round(m.auc(truth[at], told), 4)
        rows.append(row("all", how, truth, s, card, [i["group"] for i in items]))
        lines_out += [[i["path"], how, f"{v:.5f}"] for i, v in zip(items, s, strict=True)]
    result = {
        "model": {"key": card.key, "sha256": card.sha256},
        "command": "python -m assay_lab.benchmark.faces --test faces/test --cache CACHE "
        f"--out benchmarks/{card.key}.json --batches {a.batches} --card",
        "test": {"manifest_rows": len(items)},
        "operating_point": card.points.fpr_1pct if card.points else None,
        "rows": rows,
        "nuisance_only": {
            "numbers": list(NAMES),
            "training_mix_auc": mix_auc,
            "test_auc": nuisance,
        },
    }
    a.out.parent.mkdir(parents=True, exist_ok=True)
    a.out.write_text(json.dumps(result, indent=1) + "\n")
    if a.scores:
        with a.scores.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines_out)
    if a.card:
        path = ZOO / card.key / "card.toml"
        raw = tomllib.loads(path.read_text("utf-8"))
        raw["metrics"] = [r for r in raw.get("metrics", []) if r["set"] != "test"] + rows
        path.write_text(dumps(raw), encoding="utf-8")
    for r in rows:
        print(
            r["source"],
            r["corruption"],
            r["auc"],
            r["tpr_at_1fpr"],
            r["ece"],
            r["flagged_real_at_point"],
        )
    print(json.dumps(result["nuisance_only"]))


if __name__ == "__main__":
    main()
