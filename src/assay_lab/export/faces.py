"""Export the face network: graph, parity, calibration, operating points, card, golden outputs.

    python -m assay_lab.export.faces --cache DIR --checkpoint DIR/last.pt --weights FILE \\
        --out src/assay/models/zoo/faces-v5 --commit SHA --date DATE --origin TEXT

Everything is chosen on the validation rows of the cache: identities and sources that
training never saw. One half of their groups chooses the operating points and the gates,
the other half fits the calibration and says how often the points err. Crops are made as
in serving: detector box, ``assay.models.prepare.face_square`` and ``square_crop``.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from assay.models.prepare import square_crop
from assay_lab.benchmark.metrics import auc, auc_between, rate_at
from assay_lab.data import corruptions
from assay_lab.data.cache import Cache, Row
from assay_lab.data.face_crops import Image, decode
from assay_lab.data.faces import HELD_OUT
from assay_lab.export import calibration as cal
from assay_lab.export import face_release
from assay_lab.export.card import dumps
from assay_lab.export.golden import write_golden
from assay_lab.export.onnx_graph import check_parity, run_onnx, sha256
from assay_lab.forge import self_blend as forge
from assay_lab.train.face_batches import MARGIN, numbers
from assay_lab.train.face_net import SIZE, FaceNet
from assay_lab.train.faces import centred
from assay_lab.train.image_net import MEAN, STD, to_input

Floats = NDArray[np.float64]
MAX_TURN = 0.6
"""Nose offset from between the eyes, in eye distances: beyond it a face is turned away."""
NO_FACES = frozenset(
    {
        "000acf666d991c39",
        "000b168e791f591d",
        "000b825dea3016eb",
        "000b9b61afea2cd4",
        "000b9d6c0f7d794d",
        "000ba28d70b1a999",
        "09c6ddd2c210450e",
        "09c863d76bcf6b00",
        "0a13dcaaab9a35e0",
        "0a599940d33b6b2b",
        "0a7074a2a5515531",
        "0a78374f2d3949ae",
        "0aa3a6c33fca122b",
        "0ab2b64f27f8baca",
        "0ab5c690eebfad95",
    }
)
"""Open Images validation pictures whose detections show a drawing, a painting, a statue, a
puppet, an animal or a thing; found by looking at all 100."""
CORRUPTED = ("none", "jpeg50", "half_size")
UNSEEN = (
    "Other methods than those it was trained on (DFDC swaps, self- and cross-blended faces, "
    "StyleGAN, some thousand faces of project pages: generated, edited, swapped, reenacted) may "
    "pass unseen."
)
LIMITS = [
    UNSEEN,
    "A low score is no proof of authenticity: it only says that these traces were not found.",
    "Filters, heavy retouching, make-up, re-photographed screens and sharpening can raise it.",
    "Drawings, statues and masks are outside what the network was trained on.",
    "The map shows which places moved this network's score, not where the face was changed.",
]


def score_all(model: Path, crops: list[Image]) -> Floats:
    """Logits of crops from the exported graph."""
    out = []
    for at in range(0, len(crops), 32):
        x = to_input(torch.from_numpy(np.stack(crops[at : at + 32]))).contiguous().numpy()
        out.append(run_onnx(model, x)[0])
    return np.concatenate(out).astype(np.float64)


def turned(points: str) -> float:
    """How far the nose lies from between the eyes, in eye distances; 0 where unknown."""
    if not points:
        return 0.0
    p = numbers(points).reshape(5, 2)
    eyes = float(np.hypot(*(p[1] - p[0])))
    return float(abs(p[2, 0] - p[:2, 0].mean()) / max(eyes, 1.0))


def part_of(row: Row) -> int:
    """Half of the validation rows, 0 or 1, that the group of ``row`` belongs to."""
    return hashlib.sha256(row.group.encode()).digest()[0] % 2


def validation_crops(
    cache: Cache, size: int, part: int, most: tuple[int, int]
) -> dict[str, NDArray[np.uint8]]:
    """Serving crops [n, size, size, 3] of one half by ``source:label|corruption``.

    At most ``most`` reals and fakes a set; forgeries of held-out real faces are sets of their
    own.
    """
    sets: dict[str, list[int]] = defaultdict(list)
    for i, r in enumerate(cache.rows):
        bad = Path(r.name.partition("#")[0]).stem in NO_FACES or turned(r.points) > MAX_TURN
        if r.use == "validation" and part_of(r) == part and not bad:
            sets[f"{r.source}:{r.label}"].append(i)
    rng = np.random.default_rng(1)
    crops: dict[str, list[Image]] = defaultdict(list)

    def add(name: str, rgb: Image, row: Row) -> None:
        for how in CORRUPTED:
            seen = corruptions.NAMED[how](rgb)
            crops[f"{name}|{how}"].append(centred(row, seen, size, len(seen) / len(rgb)))

    for name, indices in sorted(sets.items()):
        real = name.endswith(":real")
        chosen = rng.permutation(indices)[: most[0] if real else most[1]].tolist()
        for n, i in enumerate(chosen):
            rgb, row = decode(cache.data(i)), cache.rows[i]
            if rgb is None:
                continue
            add(name, rgb, row)
            if real and row.points and n < most[1] // 3:
                seed = np.random.default_rng(n)
                points = numbers(row.points).reshape(5, 2)
                add("self_blend:fake", forge.self_blend(rgb, points, seed)[0], row)
                other = cache.rows[chosen[n - 1]]
                there = decode(cache.data(chosen[n - 1]))
                if there is not None and other.points:
                    where = numbers(other.points).reshape(5, 2)
                    made = forge.part_blend(rgb, points, there, where, seed)[0]
                    add("part_blend:fake", made, row)
    return {k: np.stack(v) for k, v in crops.items()}


def all_scores(model: Path, crops: dict[str, NDArray[np.uint8]]) -> dict[str, dict[str, Floats]]:
    """Logits by set and corruption."""
    scores: dict[str, dict[str, Floats]] = defaultdict(dict)
    for key, batch in crops.items():
        name, how = key.split("|")
        scores[name][how] = score_all(model, list(batch))
    return scores


def by_origin(scores: dict[str, dict[str, Floats]]) -> dict[str, Floats]:
    """Scores of real faces, plain and corrupted, by where they come from."""
    pooled: dict[str, list[Floats]] = defaultdict(list)
    for name, each in scores.items():
        if name.endswith(":real"):
            # a few pictures alone have no 99th percentile
            origin = name.split(":")[0]
            if name in ("140k:real", "sg3_ffhq:real"):
                origin = "ffhq"
            elif "/" in origin or origin.startswith("held_"):
                origin = "pages"
            pooled[origin] += list(each.values())
    return {k: np.concatenate(v) for k, v in pooled.items()}


def pick(scores: dict[str, dict[str, Floats]], label: str, how: str = "") -> dict[str, Floats]:
    """Scores of the sets of a label, of one corruption or of all."""
    return {
        k: v[how] if how else np.concatenate(list(v.values()))
        for k, v in scores.items()
        if k.endswith(label)
    }


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


def panels(scores: dict[str, dict[str, Floats]]) -> dict[str, float]:
    """AUC of every fake set and corruption against all real ones of that corruption."""
    found = {}
    for how in CORRUPTED:
        real = np.concatenate(list(pick(scores, ":real", how).values()))
        for name, fake in pick(scores, ":fake", how).items():
            found[f"{name}|{how}"] = round(auc_between(real, fake), 4)
    own = scores["dfdc:real"]["none"], scores["dfdc:fake"]["none"]
    found["dfdc alone"] = round(auc_between(*own), 4)
    return found


def measure(
    job: tuple[Path, int, tuple[int, int], Path, Path | None],
) -> tuple[dict[str, dict[str, Floats]], Any]:
    """Of one half, in a process of its own: all scores, and what else is asked of that half.

    Of the first the smallest face that can be judged, of the second the AUCs of an earlier
    network, if one is given. ``job``: cache, half, most of a set, network, earlier network.
    """
    folder, part, most, model, against = job
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    crops = validation_crops(Cache(folder), SIZE, part, most)
    scores = all_scores(model, crops)
    if part == 0:
        return scores, smallest_face(model, crops, SIZE)
    return scores, panels(all_scores(against, crops)) if against else None


def load(checkpoint: Path, weights: Path) -> FaceNet:
    """The averaged network of a checkpoint."""
    net = FaceNet(weights)
    net.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["average"])
    return net


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
    p.add_argument("--weights", type=Path, required=True, help="ONNX file of CLIP")
    p.add_argument("--most", type=int, nargs=2, default=(300, 100), help="reals and fakes a set")
    p.add_argument("--date", type=datetime.date.fromisoformat, required=True)
    p.add_argument("--origin", required=True, help="what the weights come from, for the card")
    p.add_argument("--against", type=Path, help="an exported network to compare with")
    a = p.parse_args(argv)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    a.out.mkdir(parents=True, exist_ok=True)
    model = a.out / "model.npz"
    net = load(a.checkpoint, a.weights)
    face_release.write(net, model)
    noise = np.random.default_rng(0).normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)
    print("parity", check_parity(net, model, noise, 0.02), model.stat().st_size)

    cache = Cache(a.cache)
    jobs = [(a.cache, part, tuple(a.most), model, a.against) for part in (0, 1)]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        (first, (least, by_size)), (second, before) = pool.map(measure, jobs)
    strict = cal.even_threshold(by_origin(first), 0.01)
    loose = cal.even_threshold(by_origin(first), 0.05)
    low = cal.low_band(pick(first, ":fake", "none"))
    temper = cal.transfer(pick(second, ":real"), pick(second, ":fake"))
    knots = cal.calibrate(
        pick(second, ":real"), pick(second, ":fake"), copies=len(CORRUPTED), temper=temper
    )
    clean_real, clean_fake = pick(second, ":real", "none"), pick(second, ":fake", "none")
    caught = float(np.mean([rate_at(v, strict) for v in clean_fake.values()]))
    all_real = np.concatenate(list(clean_real.values()))
    metrics = [
        {
            "set": "validation",
            "source": k.split(":")[0],
            "real": len(all_real),
            "fake": len(v),
            "corruption": "none",
            "auc": auc_between(all_real, v),
            "tpr_at_1fpr": rate_at(v, strict),
        }
        for k, v in clean_fake.items()
    ]
    card = {
        "model": {
            "name": "faces",
            "version": int(a.out.name.rpartition("-v")[2]),
            "task": "face manipulation",
            "question": "face_manipulation",
            "licence": "Apache-2.0",
            "created": a.date,
            "commit": a.commit,
            "origin": a.origin,
            "file": model.name,
            "sha256": sha256(model),
            "bytes": model.stat().st_size,
            "summary": "Scores one face crop for traces of swapping, reenactment, compositing or "
            "generation.",
        },
        "input": {
            "name": "input",
            "kind": "image",
            "height": SIZE,
            "width": SIZE,
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
            "source": "half of the validation identities and sources, never trained on; the other "
            "half chose the operating points; plain, JPEG 50 and half size; slope times "
            f"{temper:.2f} for sources not seen: " + ", ".join(sorted(second)),
        },
        "operating_points": {
            "fpr_1pct": strict,
            "fpr_5pct": loose,
            "low_band": low,
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
    write_golden(model, SIZE, 0.01)
    report = {
        "held_out_sources": sorted(HELD_OUT),
        "points": card["operating_points"],
        "temper": temper,
        "faces": by_size,
        "flagged": {k: round(rate_at(v, strict), 4) for k, v in by_origin(second).items()},
        "auc": panels(second),
    }
    if a.against:
        report["auc_before"] = before
    print(json.dumps(report, indent=1, default=str))


if __name__ == "__main__":
    main()
