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
MAX_TURN = 0.6
"""Nose offset from between the eyes, in eye distances: beyond it a face is turned away."""
NO_FACES = frozenset(
    {
        "000acf666d991c39.jpg#0",
        "000b168e791f591d.jpg#0",
        "000b825dea3016eb.jpg#0",
        "000b9b61afea2cd4.jpg#0",
        "000ba28d70b1a999.jpg#0",
        "09c863d76bcf6b00.jpg#0",
        "0a13dcaaab9a35e0.jpg#0",
        "0a7074a2a5515531.jpg#0",
        "0a78374f2d3949ae.jpg#0",
        "0aa3a6c33fca122b.jpg#0",
        "0ab5c690eebfad95.jpg#0",
    }
)
"""Detections in the Open Images validation pictures that show a drawing, a statue, an animal
or a thing; found by looking at all 95."""
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


def serving_crop(rgb: Image, box: NDArray[np.float64], size: int) -> Image:
    """The crop as the product makes it, from a face box x0 y0 x1 y1 in pixels of ``rgb``."""
    x0, y0, x1, y1 = (float(v) for v in box)
    return square_crop(rgb, *face_square((x0, y0, x1 - x0, y1 - y0), MARGIN), size)


def face_box(rgb: Image, known: str = "") -> NDArray[np.float64]:
    """The box of the manifest, else of the largest face found, else the whole picture."""
    if known:
        return numbers(known)
    faces = find_faces(rgb, least=0.7) or find_faces(rgb, pad=0.35, least=0.5)
    if faces:
        return np.array(faces[0].box)
    return np.array([0.0, 0.0, rgb.shape[1], rgb.shape[0]])


def score_all(model: Path, crops: list[Image]) -> Floats:
    """Logits of crops from the exported graph."""
    out = []
    for at in range(0, len(crops), 32):
        x = np.stack([normalise(c) for c in crops[at : at + 32]])
        out.append(run_onnx(model, x)[0])
    return np.concatenate(out).astype(np.float64)


def turned(points: str) -> float:
    """How far the nose lies from between the eyes, in eye distances; 0 where unknown."""
    if not points:
        return 0.0
    p = numbers(points).reshape(5, 2)
    eyes = float(np.hypot(*(p[1] - p[0])))
    return float(abs(p[2, 0] - p[:2, 0].mean()) / max(eyes, 1.0))


def validation_crops(cache: Cache, size: int, most: int) -> dict[str, NDArray[np.uint8]]:
    """Serving crops [n, size, size, 3] by ``source:label|corruption``.

    At most ``most`` pictures a set; forgeries of held-out real faces are a set of their own.
    """
    sets: dict[str, list[int]] = defaultdict(list)
    for i, r in enumerate(cache.rows):
        if r.use == "validation":
            sets[f"{r.source}:{r.label}"].append(i)
    rng = np.random.default_rng(1)
    crops: dict[str, list[Image]] = defaultdict(list)

    def add(name: str, rgb: Image, box: NDArray[np.float64]) -> None:
        for how in CORRUPTED:
            seen = corruptions.NAMED[how](rgb)
            crops[f"{name}|{how}"].append(serving_crop(seen, box * len(seen) / len(rgb), size))

    for name, indices in sorted(sets.items()):
        for n, i in enumerate(rng.permutation(indices)[:most]):
            rgb, row = decode(cache.data(int(i))), cache.rows[int(i)]
            if rgb is None or row.name.split("/")[-1] in NO_FACES or turned(row.points) > MAX_TURN:
                continue
            box = face_box(rgb, row.box)
            add(name, rgb, box)
            if name.endswith(":real") and row.points and n < most // 3:
                seed = np.random.default_rng(n)
                points = numbers(row.points).reshape(5, 2)
                add("self_blend:fake", forge.self_blend(rgb, points, seed)[0], box)
    return {k: np.stack(v) for k, v in crops.items()}


def smallest_face(
    model: Path, crops: dict[str, NDArray[np.uint8]], size: int, each: int = 20
) -> tuple[int, dict[int, float]]:
    """Smallest face, in pixels of the box, whose AUC stays within .08 of full size."""
    plain = {k: v for k, v in crops.items() if k.endswith("|none")}
    real = [p for k, v in plain.items() if ":real" in k for p in v[: 2 * each]]
    fake = [p for k, v in plain.items() if ":fake" in k for p in v[:each]]
    y = np.r_[np.zeros(len(real)), np.ones(len(fake))]
    full = auc(y, score_all(model, real + fake))
    found = {}
    for px in (80, 56, 40):
        small = [cv2.resize(c, (px, px), interpolation=cv2.INTER_AREA) for c in real + fake]
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
    p.add_argument("--most", type=int, default=120)
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
    kept = a.checkpoint.parent / f"crops-{a.size}-{a.most}.npz"
    if kept.exists():
        crops = dict(np.load(kept))
    else:
        crops = validation_crops(cache, a.size, a.most)
        everything: dict[str, Any] = dict(crops)
        np.savez(kept, **everything)
    scores: dict[str, dict[str, Floats]] = defaultdict(dict)
    for key, batch in crops.items():
        name, how = key.split("|")
        scores[name][how] = score_all(model, list(batch))
    flat: dict[str, Any] = {f"{k}|{h}": v for k, each in scores.items() for h, v in each.items()}
    np.savez(a.checkpoint.parent / "validation.npz", **flat)

    clean_real = {k: v["none"] for k, v in scores.items() if k.endswith(":real")}
    clean_fake = {k: v["none"] for k, v in scores.items() if k.endswith(":fake")}
    every_real = {k: np.concatenate(list(v.values())) for k, v in scores.items() if k in clean_real}
    every_fake = {k: np.concatenate(list(v.values())) for k, v in scores.items() if k in clean_fake}
    knots = cal.calibrate(every_real, every_fake, copies=len(CORRUPTED))
    # both are FFHQ, and 30 pictures alone have no 99th percentile
    ffhq = [clean_real[k] for k in ("140k:real", "sg3_ffhq:real") if k in clean_real]
    apart = {k: v for k, v in clean_real.items() if k not in ("140k:real", "sg3_ffhq:real")}
    by_origin = {**apart, "ffhq:real": np.concatenate(ffhq)} if ffhq else apart
    strict = cal.conservative_threshold(by_origin, 0.01)
    loose = cal.conservative_threshold(by_origin, 0.05)
    least, by_size = smallest_face(model, crops, a.size)
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
        "gates": {"min_face_px": least, "max_turn": MAX_TURN},
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
                f"Faces turned away (nose more than {MAX_TURN} eye distances off centre) were left "
                "out when the operating points were chosen and should not be judged.",
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
