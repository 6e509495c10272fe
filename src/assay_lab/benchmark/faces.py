"""The open face test, scored by the shipped analyzer on decoded pictures.

    python -m assay_lab.benchmark.faces --test DIR/faces/test --cache DIR \\
        --out benchmarks/faces-v5.json [--card]

Writes AUC with bootstrap intervals, TPR at 1 % FPR, EER, calibration error and
the share of reals flagged at the card's 1 % point, per source and corruption,
beside a nuisance-only baseline fitted on the training mix. A picture whose face
the product finds unfit or does not find gets the score that says nothing
(likelihood ratio 1) and is counted. Nothing is chosen here.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image.face_scoring import MODEL
from assay.analyzers.image.faces import Faces
from assay.findings import Finding
from assay.limits import Limits
from assay.media import Image, decode
from assay.models import Card, model_path
from assay.models import card as read_card
from assay.models.prepare import picture_tensor, square_crop
from assay_lab.benchmark import metrics as m
from assay_lab.benchmark.nuisance import NAMES, Baseline, describe, halves
from assay_lab.benchmark.open_test import Floats, manifest, options, row, write
from assay_lab.data import corruptions
from assay_lab.data.cache import Cache
from assay_lab.export.onnx_graph import run_onnx

CORRUPTED = ("none", "jpeg50", "half_size")


def says_nothing(card: Card) -> float:
    """The score whose likelihood ratio is 1."""
    assert card.calibration is not None
    return float(np.interp(0.0, card.calibration.llr, card.calibration.score))


def judge(picture: Image, card: Card) -> tuple[float, NDArray[np.uint8], str]:
    """Highest score of a face, the pixels it was read from, and why there is none."""
    answer = Faces().analyze(picture)
    findings = answer if isinstance(answer, tuple) else ()
    scored = [f for f in findings if isinstance(f, Finding) and f.raw_score is not None]
    size = card.input.height
    if scored:
        best = max(scored, key=lambda f: f.raw_score or 0.0)
        assert best.raw_score is not None
        assert best.where is not None
        assert best.where.box is not None
        left, top, side, _ = best.where.box
        return best.raw_score, square_crop(picture.pixels, left, top, side, size), ""
    why = [str(f.data["not_applicable"]) for f in findings if "not_applicable" in f.data]
    side = float(min(picture.width, picture.height))
    whole = square_crop(picture.pixels, 0, 0, side, size)
    return says_nothing(card), whole, why[0] if why else "no_face"


def training_mix(cache: Cache, size: int, batches: int) -> tuple[Floats, Floats, list[str]]:
    """Nuisance numbers, labels and kind of pair of what training saw."""
    from assay_lab.train.face_batches import PAIRS, Mix

    mix = Mix(cache, size, seed=99)
    features, labels = [], []
    for step in range(5000, 5000 + batches):
        batch = mix(step)
        features += [describe(p) for p in batch["x"].numpy()]
        labels += batch["y"].tolist()
    kinds = [k for k, n in PAIRS.items() for _ in range(2 * n)] * batches
    return np.array(features), np.array(labels), kinds


def milliseconds(card: Card, rounds: int = 30) -> float:
    """Median time of one face on one thread, network only."""
    x = picture_tensor(np.zeros((1, card.input.height, card.input.width, 3), np.uint8), card.input)
    path, spent = model_path(card.key), []
    for _ in range(rounds):
        began = time.thread_time()
        run_onnx(path, x, threads=1)
        spent.append(time.thread_time() - began)
    return round(1e3 * statistics.median(spent), 1)


WORDS = {
    "dfdc": "swapped faces of DFDC",
    "ciplab": "hand-made composites",
    "hardfake": "StyleGAN2 portraits",
}


def measured(rows: list[dict[str, Any]]) -> str:
    """What the open test says, for the limits of the card."""
    parts = [
        f"{WORDS.get(r['source'], r['source'])}: AUC {r['auc']:.2f}, "
        f"{r['caught_fake_at_point']:.0%} caught and {r['flagged_real_at_point']:.1%} of the real "
        "faces flagged at the 1 % point"
        for r in rows
        if r["corruption"] == "none" and r["source"] != "all"
    ]
    return "Measured on open tests of unseen people and sources: " + "; ".join(parts) + "."


def _seen(path: Path, how: str) -> Image:
    """The picture as the product decodes it, then corrupted."""
    picture = decode(path, Limits())
    if not isinstance(picture, Image):
        raise ValueError(f"{path} is no picture")
    if how == "none":
        return picture
    pixels = corruptions.NAMED[how](picture.pixels)
    height, width = pixels.shape[:2]
    return Image(source=picture.source, pixels=pixels, stored_width=width, stored_height=height)


def _look(job: tuple[Path, str]) -> tuple[float, str, Floats]:
    """Score of one file after a corruption, why there is none, and its nuisance numbers."""
    cv2.setNumThreads(1)
    value, crop, why = judge(_seen(*job), read_card(MODEL))
    return value, why, describe(crop)


def main(argv: list[str] | None = None) -> None:
    """Command line of the benchmark."""
    p = options(__doc__)
    p.add_argument("--batches", type=int, default=60)
    p.add_argument("--workers", type=int, default=2)
    a = p.parse_args(argv)
    cv2.setNumThreads(1)
    card = read_card(MODEL)
    items = manifest(a.test)
    truth = np.array([float(i["label"] == "fake") for i in items])
    groups = np.array([i["group"] for i in items])
    sources = np.array([i["source"] for i in items])
    rows, written = [], []
    numbers: list[Floats] = []
    jobs = [(a.test / item["path"], how) for how in CORRUPTED for item in items]
    with ProcessPoolExecutor(a.workers, get_context("spawn")) as pool:
        answers = pool.map(_look, jobs, chunksize=16)
    unjudged: dict[str, Counter[str]] = {}
    for how in CORRUPTED:
        values, unjudged[how] = [], Counter()
        for item, (value, why, nuisances) in zip(items, answers, strict=False):
            values.append(value)
            written.append([item["path"], how, f"{value:.5f}"])
            if why:
                unjudged[how][f"{item['source']} {item['label']}: {why}"] += 1
            if how == "none":
                numbers.append(nuisances)
        s = np.array(values)
        for source in dict.fromkeys(sources.tolist()):
            at = sources == source
            rows.append(row(source, how, truth[at], s[at], card, groups[at].tolist()))
        rows.append(row("all", how, truth, s, card, groups.tolist()))

    features, labels, kinds = training_mix(Cache(a.cache), card.input.height, a.batches)
    told = Baseline(features, labels)(np.array(numbers))
    mix = {"all": round(halves(features, labels), 4)}
    for kind in dict.fromkeys(kinds):
        chosen = np.array([k == kind for k in kinds])
        mix[kind] = round(halves(features[chosen], labels[chosen]), 4)
    nuisance = {
        "numbers": list(NAMES),
        "training_mix_auc": mix,
        "test_auc": {
            s: round(m.auc(truth[sources == s], told[sources == s]), 4)
            for s in dict.fromkeys(sources.tolist())
        },
    }
    write(
        a, card, rows, written, sentence=measured(rows),
        command="python -m assay_lab.benchmark.faces " + " ".join(argv or sys.argv[1:]),
        test={"manifest_rows": len(items), "not_judged": {k: dict(v) for k, v in unjudged.items()}},
        milliseconds_a_face_one_core=milliseconds(card),
        nuisance_only=nuisance,
    )  # fmt: skip
    print(json.dumps(nuisance))


if __name__ == "__main__":
    main()
