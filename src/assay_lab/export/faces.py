"""Export the face network: graph, parity, calibration, operating points, card, golden outputs.

    python -m assay_lab.export.faces --cache DIR --checkpoint DIR/last.pt --size 192 \
        --out src/assay/models/zoo/faces-v1 --commit SHA

Everything is chosen on the validation rows of the cache: identities and
sources that training never saw. Crops are made as in serving: detector box,
``assay.models.prepare.face_square`` and ``square_crop``.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from assay.models.prepare import face_square, square_crop
from assay_lab.benchmark.metrics import auc, rate_at
from assay_lab.data import corruptions
from assay_lab.data.cache import Cache
from assay_lab.data.faces import HELD_OUT, Image, decode, find_faces
from assay_lab.export import calibration as cal
from assay_lab.export.card import dumps
from assay_lab.export.golden import write_golden
from assay_lab.export.onnx_graph import check_parity, run_onnx, sha256, write_onnx
from assay_lab.forge import self_blend as forge
from assay_lab.train.faces import MARGIN, MEAN, STD, normalise, numbers
from assay_lab.train.net import FaceNet, fold_batchnorm

Floats = NDArray[np.float64]
CORRUPTED = ("none", "jpeg50", "half_size")
UNSEEN = (
    "Other methods than those it was trained on (DFDC swaps, self- and cross-blended faces, "
    "StyleGAN1, a few hundred faces of image generators, talking heads) may pass unseen."
)
LIMITS = [
    UNSEEN,
    "A low score is no proof of authenticity: it only says that these traces were not found.",
    "Filters, heavy retouching, make-up, re-photographed screens and sharpening can raise it.",
    "Drawings, statues and masks are outside what the network was trained on.",
    "The map shows which places moved this network's score, not where the face was changed.",
]


class Served(nn.Module):
    """The network as shipped: mean of a picture and its mirror image."""

    def __init__(self, net: FaceNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, first = self.net(x)
        b, second = self.net(torch.flip(x, (3,)))
        return (a + b) / 2, (first + torch.flip(second, (2,))) / 2


def serving_crop(rgb: Image, size: int, margin: float = MARGIN) -> tuple[Image, float]:
    """The crop of the largest face, as the product makes it, and the longer side of its box.

    A picture in which no face is found even after padding is taken whole.
    """
    faces = find_faces(rgb, least=0.7) or find_faces(rgb, pad=0.35, least=0.5)
    h, w = rgb.shape[:2]
    if faces:
        x0, y0, x1, y1 = faces[0].box
        box = (x0, y0, x1 - x0, y1 - y0)
    else:
        box = (0.0, 0.0, float(w), float(h))
    left, top, side = face_square(box, margin)
    return square_crop(rgb, left, top, side, size), max(box[2], box[3])


def score_all(model: Path, crops: list[Image]) -> Floats:
    """Logits of crops from the exported graph."""
    out = []
    for at in range(0, len(crops), 32):
        x = np.stack([normalise(c) for c in crops[at : at + 32]])
        out.append(run_onnx(model, x)[0])
    return np.concatenate(out).astype(np.float64)


def validation_pictures(cache: Cache, most: int) -> dict[str, list[Image]]:
    """Decoded validation pictures by ``source:label``, at most ``most`` a set, plus forgeries."""
    sets: dict[str, list[int]] = defaultdict(list)
    for i, r in enumerate(cache.rows):
        if r.use == "validation":
            sets[f"{r.source}:{r.label}"].append(i)
    rng = np.random.default_rng(1)
    pictures: dict[str, list[Image]] = defaultdict(list)
    for name, indices in sorted(sets.items()):
        for n, i in enumerate(rng.permutation(indices)[:most]):
            rgb = decode(cache.data(int(i)))
            if rgb is None:
                continue
            pictures[name].append(rgb)
            row = cache.rows[int(i)]
            if name.endswith(":real") and row.points and n < 150:
                seed = np.random.default_rng(n)
                fake = forge.self_blend(rgb, numbers(row.points).reshape(5, 2), seed)[0]
                pictures["self_blend:fake"].append(fake)
    return dict(pictures)


def smallest_face(
    model: Path, pictures: dict[str, list[Image]], size: int
) -> tuple[int, dict[int, float]]:
    """Smallest face, in pixels of the box, whose AUC stays within .08 of full size."""
    real = [p for k, v in pictures.items() if k.endswith(":real") for p in v[:60]]
    fake = [p for k, v in pictures.items() if k.endswith(":fake") for p in v[:60]]
    y = np.r_[np.zeros(len(real)), np.ones(len(fake))]
    crops = [serving_crop(p, size)[0] for p in real + fake]
    full = auc(y, score_all(model, crops))
    found = {}
    for px in (96, 80, 64, 48, 32):
        small = [cv2.resize(c, (px, px), interpolation=cv2.INTER_AREA) for c in crops]
        back = [square_crop(np.asarray(s, np.uint8), 0, 0, px, size) for s in small]
        found[px] = round(auc(y, score_all(model, back)), 4)
    good = [px for px, v in found.items() if v >= full - 0.08]
    return (min(good) if good else 96), {0: round(full, 4), **found}


def load(checkpoint: Path) -> FaceNet:
    """The averaged network of a checkpoint, normalisation folded, in evaluation mode."""
    net = FaceNet()
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    net.load_state_dict(state["average"])
    net.eval()
    return fold_batchnorm(net)


def data_table(cache: Cache) -> list[dict[str, Any]]:
    """What the network was trained and validated on, by source."""
    count: Counter[tuple[str, str, str, str]] = Counter()
    for r in cache.rows:
        count[(r.use, r.source, r.licence, r.label)] += 1
    rows = []
    for use, source, licence in sorted({k[:3] for k in count}):
        rows.append(
            {
                "name": source,
                "licence": licence,
                "real": count[(use, source, licence, "real")],
                "fake": count[(use, source, licence, "fake")],
                "sha256": str(cache.info["manifest_sha256"]),
                "use": use,
            }
        )
    return rows


def main(argv: list[str] | None = None) -> None:
    """Command line of the export."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--cache", type=Path, required=True)
    p.add_argument("--checkpoint", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--commit", required=True)
    p.add_argument("--size", type=int, default=192)
    p.add_argument("--most", type=int, default=250)
    p.add_argument("--date", type=datetime.date.fromisoformat, required=True)
    a = p.parse_args(argv)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    a.out.mkdir(parents=True, exist_ok=True)
    model = a.out / "model.onnx"
    served = Served(load(a.checkpoint)).eval()
    write_onnx(served, torch.zeros(2, 3, a.size, a.size), model, ("logit", "map"))
    noise = np.random.default_rng(0).normal(size=(3, 3, a.size, a.size)).astype(np.float32)
    print("parity", check_parity(served, model, noise))

    cache = Cache(a.cache)
    pictures = validation_pictures(cache, a.most)
    scores: dict[str, dict[str, Floats]] = {}
    for name, batch in pictures.items():
        scores[name] = {}
        for how in CORRUPTED:
            crops = [serving_crop(corruptions.NAMED[how](x), a.size)[0] for x in batch]
            scores[name][how] = score_all(model, crops)
    flat: dict[str, Any] = {f"{k}|{h}": v for k, each in scores.items() for h, v in each.items()}
    np.savez(a.checkpoint.parent / "validation.npz", **flat)

    clean_real = {k: v["none"] for k, v in scores.items() if k.endswith(":real")}
    clean_fake = {k: v["none"] for k, v in scores.items() if k.endswith(":fake")}
    every_real = {k: np.concatenate(list(v.values())) for k, v in scores.items() if k in clean_real}
    every_fake = {k: np.concatenate(list(v.values())) for k, v in scores.items() if k in clean_fake}
    knots = cal.calibrate(every_real, every_fake)
    strict = cal.conservative_threshold(clean_real, 0.01)
    loose = cal.conservative_threshold(clean_real, 0.05)
    least, by_size = smallest_face(model, pictures, a.size)
    caught = float(np.mean([rate_at(v, strict) for v in clean_fake.values()]))
    all_real = np.concatenate(list(clean_real.values()))
    metrics = [
        {
            "set": "validation",
            "source": k.split(":")[0],
            "real": len(all_real),
            "fake": len(v),
            "corruption": "none",
            "auc": auc(np.r_[all_real * 0, v * 0 + 1], np.r_[all_real, v]),
            "tpr_at_1fpr": rate_at(v, strict),
        }
        for k, v in clean_fake.items()
    ]
    card = {
        "model": {
            "name": "faces",
            "version": 1,
            "task": "face manipulation",
            "question": "face_manipulation",
            "licence": "Apache-2.0",
            "created": a.date,
            "commit": a.commit,
            "origin": "EfficientNet-Lite0 from ImageNet weights (Apache-2.0), trained in assay_lab",
            "file": "model.onnx",
            "sha256": sha256(model),
            "bytes": model.stat().st_size,
            "summary": "Scores one face crop for traces of swapping, reenactment, compositing or "
            "generation.",
        },
        "input": {
            "name": "input",
            "kind": "image",
            "height": a.size,
            "width": a.size,
            "mean": list(MEAN),
            "std": list(STD),
            "scale": 255.0,
            "crop_margin": MARGIN,
        },
        "output": {
            "logit": "logit",
            "map": "map",
            "positive": "manipulated or generated face",
        },
        "gates": {"min_face_px": least},
        "calibration": {
            "kind": "piecewise_linear",
            "score": knots[0],
            "llr": knots[1],
            "n_real": len(all_real),
            "n_fake": sum(map(len, clean_fake.values())),
            "source": "validation identities and sources never trained on, plain, JPEG 50 and half "
            "size: " + ", ".join(sorted(scores)),
        },
        "operating_points": {
            "fpr_1pct": strict,
            "fpr_5pct": loose,
            "low_band": cal.low_band(clean_fake),
            "tpr_at_fpr_1pct": caught,
            "fnr_at_fpr_1pct": 1 - caught,
        },
        "data": data_table(cache),
        "metrics": metrics,
        "limits": {
            "sentences": [
                *LIMITS,
                f"Faces below {least} px are too small: validation AUC by face size was "
                + ", ".join(f"{px or 'full'} {v:.2f}" for px, v in by_size.items())
                + ".",
            ]
        },
    }
    (a.out / "card.toml").write_text(dumps(card), encoding="utf-8")
    write_golden(model, "faces-v1", a.size, a.size, a.out / "golden.json")
    report = {
        "held_out_sources": sorted(HELD_OUT),
        "points": card["operating_points"],
        "faces": by_size,
        "flagged": {k: round(rate_at(v, strict), 4) for k, v in clean_real.items()},
        "auc": {m["source"]: round(float(str(m["auc"])), 4) for m in metrics},
    }
    print(json.dumps(report, indent=1, default=str))


if __name__ == "__main__":
    main()
