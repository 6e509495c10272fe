"""Export the generated-image network: graph, parity, calibration, card, golden outputs.

    python -m assay_lab.export.images --features DIR --cache DIR --dino FILE \
        --out src/assay/models/zoo/image-v1 --commit SHA --date 2026-11-24

Everything is chosen on validation sources that training never saw, on the score of a
whole picture: the mean logit of its patches. Weights are stored as 16-bit floats and
used as 32-bit ones. Refuses to write a card when the lower bound of the AUC on matched
validation pictures does not clear ``WORTH_SHIPPING``.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from assay_lab.benchmark import metrics as m
from assay_lab.data.cache import Cache
from assay_lab.data.images import HELD_FAMILIES, decode
from assay_lab.export import calibration as cal
from assay_lab.export.card import dumps
from assay_lab.export.golden import RECIPE, seeded_input
from assay_lab.export.onnx_graph import check_parity, run_onnx, sha256, write_onnx
from assay_lab.train.image_net import MEAN, SIZE, STD, Features, PatchNet, load_dino
from assay_lab.train.images import VERSIONS, read

Floats = NDArray[np.float64]
WORTH_SHIPPING = 0.70
MOST_FPR_CUT = 60  # a source needs that many pictures for a threshold of its own
LIMITS = [
    "Trained for minutes on two shared processor cores: a linear head on features that were "
    "not trained for this task. Many generated pictures pass, above all those of generators "
    "it has not met and small or strongly compressed copies.",
    "It judges patches of 168 px at native resolution; what reduces a picture washes out "
    "what it looks for.",
    "Paintings, drawings and computer graphics are hardly represented in its training.",
    "A low score is no proof of authenticity.",
]


def network(features: Path, dino: Path) -> PatchNet:
    """The trained head on the features, every weight rounded to 16 bits."""
    head = np.load(features / "head.npz")
    net = PatchNet(Features())
    load_dino(net.features, dino)
    with torch.no_grad():
        net.head.weight.copy_(torch.from_numpy(head["weight"])[None])
        net.head.bias.fill_(float(head["bias"]))
        for name, p in net.named_parameters():
            if not name.startswith("head."):
                p.copy_(p.half().float())
    return net.eval()


def store_half(path: Path) -> None:
    """Store large float initialisers as float16 behind a Cast, which the runtime folds."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        exact = np.array_equal(values.astype(np.float16).astype(np.float32), values)
        if tensor.data_type != TensorProto.FLOAT or values.size < 1024 or not exact:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + "_half"))
        casts.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def picture_scores(
    features: Path, cache: Cache
) -> tuple[dict[str, dict[str, Floats]], dict[str, list[int]]]:
    """Scores by ``source:label`` and version, and the long side of each plain picture."""
    head = np.load(features / "head.npz")
    data = read(sorted(features.glob("held-*.npz")))
    logits = data["x"].astype(np.float64) @ head["weight"] + float(head["bias"])
    item = data["item"].astype(np.int64)
    first = np.unique(item, return_index=True)[1]
    pooled = np.bincount(item, logits) / np.bincount(item)
    names = [f"{s}:{k}" for s, k in zip(data["source"][first], data["label"][first], strict=True)]
    found: dict[str, dict[str, list[float]]] = {}
    for name, how, value in zip(names, data["kind"][first].tolist(), pooled, strict=True):
        found.setdefault(name, {}).setdefault(how, []).append(float(value))
    sides: dict[str, list[int]] = {}
    plain = sum(data["kind"][first] == "none")
    rows = [i for i, r in enumerate(cache.rows) if r.use == "validation"]
    seen = 0
    for i in np.random.default_rng(3).permutation(rows).tolist():  # the order of held_jobs
        if seen >= plain:
            break
        rgb = decode(cache.data(i))
        if rgb is None or min(rgb.shape[:2]) < 96:
            continue
        row = cache.rows[i]
        sides.setdefault(f"{row.source}:{row.label}", []).append(max(rgb.shape[:2]))
        seen += 1
    return {k: {h: np.array(v) for h, v in e.items()} for k, e in found.items()}, sides


def matched(
    real: dict[str, Floats], fake: dict[str, Floats], sides: dict[str, list[int]]
) -> tuple[Floats, Floats]:
    """Labels and scores of pairs of one real and one generated picture of like long side.

    Every generated picture is paired, once, with the unused real one whose long side is
    nearest, if within a fifth.
    """
    reals = sorted(
        (side, float(s)) for k, v in real.items() for side, s in zip(sides[k], v, strict=True)
    )
    labels: list[float] = []
    scores: list[float] = []
    fakes = [(side, float(s)) for k, v in fake.items() for side, s in zip(sides[k], v, strict=True)]
    for n in np.random.default_rng(0).permutation(len(fakes)).tolist():
        side, s = fakes[n]
        if not reals:
            break
        best = min(range(len(reals)), key=lambda j: abs(np.log(reals[j][0] / side)))
        if abs(np.log(reals[best][0] / side)) > np.log(1.2):
            continue
        labels += [0.0, 1.0]
        scores += [reals.pop(best)[1], s]
    return np.array(labels), np.array(scores)


def metric(
    source: str, how: str, a: Floats, b: Floats, strict: float, loose: bool
) -> dict[str, Any]:
    """One row of the card; ``loose`` leaves the interval out where the sample is tiny."""
    y, s = np.r_[a * 0, b * 0 + 1], np.r_[a, b]
    row: dict[str, Any] = {
        "set": "validation", "source": source, "corruption": how, "real": len(a), "fake": len(b),
        "auc": round(m.auc(y, s), 4), "tpr_at_1fpr": round(m.rate_at(b, strict), 4),
        "flagged_real_at_point": round(m.rate_at(a, strict), 4),
    }  # fmt: skip
    if not loose:
        area = m.bootstrap(m.auc, y, s)
        row |= {"auc_low": round(area.low, 4), "auc_high": round(area.high, 4)}
    return row


def bounded(
    knots: tuple[list[float], list[float]], real: Floats, fake: Floats, low: float, high: float
) -> tuple[list[float], list[float]]:
    """The curve cut where it would say more than the tails show.

    Above ``high`` and below ``low`` the ratio of the shares of the classes (with half a
    picture added to each count) is what was seen; a logistic curve runs on past it.
    """

    def seen(a: int, b: int) -> float:
        return float(np.log((b + 0.5) / len(fake)) - np.log((a + 0.5) / len(real)))

    most = seen(int((real >= high).sum()), int((fake >= high).sum()))
    least = seen(int((real <= low).sum()), int((fake <= low).sum()))
    ends = np.interp([least, most], knots[1], knots[0])
    at = np.linspace(*ends, len(knots[0]))
    llr = np.interp(at, *knots)
    return [round(float(v), 5) for v in at], [round(float(v), 5) for v in llr]


def data_table(cache: Cache) -> list[dict[str, Any]]:
    """Pictures by source, for the card."""
    count: Counter[tuple[str, str, str, str]] = Counter()
    for r in cache.rows:
        if not r.name.endswith("#1"):
            count[(r.use, r.source, r.licence, r.label)] += 1
    keys = sorted({k[:3] for k in count})
    return [
        {
            "name": source, "licence": licence, "use": use,
            "real": count[use, source, licence, "real"],
            "fake": count[use, source, licence, "fake"],
        }
        for use, source, licence in keys
    ]  # fmt: skip


def golden(model: Path, path: Path) -> None:
    """Write ``golden.json``: seeds and the logit of each."""
    cases = []
    for seed in range(6):
        (logit,) = run_onnx(model, seeded_input(seed, SIZE, SIZE))
        cases.append({"input": "blocks", "seed": seed, "logit": float(logit.reshape(-1)[0])})
    document = {
        "model": "image-v1", "recipe": RECIPE, "height": SIZE, "width": SIZE,
        "cases": cases, "tolerance": 1e-4,
    }  # fmt: skip
    path.write_text(json.dumps(document, indent=1) + "\n")


def main(argv: list[str] | None = None) -> None:
    """Command line of the export."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--features", type=Path, required=True)
    p.add_argument("--cache", type=Path, required=True)
    p.add_argument("--dino", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--commit", required=True)
    p.add_argument("--date", type=datetime.date.fromisoformat, required=True)
    p.add_argument("--look", action="store_true", help="print validation numbers, write nothing")
    a = p.parse_args(argv)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    cache = Cache(a.cache)
    scores, sides = picture_scores(a.features, cache)
    real = {k: v["none"] for k, v in scores.items() if k.endswith(":real")}
    fake = {k: v["none"] for k, v in scores.items() if k.endswith(":fake")}
    strict = cal.conservative_threshold(real, 0.01, least=MOST_FPR_CUT)
    loose = cal.conservative_threshold(real, 0.05, least=MOST_FPR_CUT)
    y, s = matched(real, fake, sides)
    worth = m.bootstrap(m.auc, y, s)
    all_real, all_fake = (np.concatenate(list(v.values())) for v in (real, fake))
    rows = [metric("matched by size", "none", s[y == 0], s[y == 1], strict, False)]
    rows.append(metric("lab (matched topics)", "none", real["lab_real:real"], fake["lab_ai:fake"],
                       strict, False))  # fmt: skip
    for how in VERSIONS:
        pools = [
            np.concatenate([e[how] for k, e in scores.items() if k.endswith(end) and how in e])
            for end in (":real", ":fake")
        ]
        rows.append(metric("all", how, pools[0], pools[1], strict, False))
    rows += [metric(k.split(":")[0], "none", all_real, v, strict, True) for k, v in fake.items()]
    topics = rows[1]
    flagged = {k: [len(v), round(m.rate_at(v, strict), 4)] for k, v in sorted(real.items())}
    report = {
        "rows": rows, "flagged": flagged, "strict": strict, "loose": loose,
        "caught": round(m.rate_at(all_fake, strict), 4),
    }  # fmt: skip
    print(json.dumps(report, indent=1))
    if a.look:
        return
    if worth.low <= WORTH_SHIPPING:
        raise SystemExit(f"not shipped: matched AUC {worth.value:.3f}, lower bound {worth.low:.3f}")

    a.out.mkdir(parents=True, exist_ok=True)
    model = a.out / "model.onnx"
    net = network(a.features, a.dino)
    write_onnx(net, torch.zeros(2, 3, SIZE, SIZE), model, ("logit",))
    store_half(model)

    class Tupled(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (net(x),)

    noise = np.random.default_rng(0).normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)
    print("parity", check_parity(Tupled(), model, noise, 1e-3), model.stat().st_size)
    every = [
        {k: np.concatenate(list(e.values())) for k, e in scores.items() if k.endswith(end)}
        for end in (":real", ":fake")
    ]
    knots = cal.calibrate(every[0], every[1], copies=2)
    corrupted_too = [np.concatenate(list(e.values())) for e in every]
    knots = bounded(knots, *corrupted_too, cal.low_band(fake), strict)
    caught = m.rate_at(all_fake, strict)
    card = {
        "model": {
            "name": "image",
            "version": 1,
            "task": "generated pictures",
            "question": "generated_image",
            "licence": "Apache-2.0",
            "created": a.date,
            "commit": a.commit,
            "origin": "first eight blocks of DINOv2 ViT-S/14 (Apache-2.0), not retrained; "
            "linear head trained in assay_lab",
            "file": "model.onnx",
            "sha256": sha256(model),
            "bytes": model.stat().st_size,
            "summary": "Scores one patch at native resolution for traces of generation.",
        },
        "input": {
            "name": "input", "kind": "image", "height": SIZE, "width": SIZE,
            "mean": list(MEAN), "std": list(STD), "scale": 255.0,
        },
        "output": {"logit": "logit", "positive": "generated"},
        "gates": {"min_side_px": 128},
        "calibration": {
            "kind": "piecewise_linear", "score": knots[0], "llr": knots[1],
            "n_real": len(all_real), "n_fake": len(all_fake),
            "source": "validation sources never trained on, plain, JPEG 70 and half size: "
            + ", ".join(sorted(scores)),
            "applies_to": "the mean logit of the patches of one picture, not to single patches",
        },
        "operating_points": {
            "fpr_1pct": strict, "fpr_5pct": loose, "low_band": cal.low_band(fake),
            "tpr_at_fpr_1pct": caught, "fnr_at_fpr_1pct": 1 - caught,
        },
        "data": data_table(cache),
        "metrics": rows,
        "limits": {
            "sentences": [
                *LIMITS,
                "Validation, on sources never trained on, apart from held pictures of ImageNet "
                "and the camera set (Midjourney, GPT-image and SDXL were trained on through other "
                "sources; generators of "
                + ", ".join(HELD_FAMILIES)
                + f" altogether unseen): AUC {worth.value:.2f} (95 % {worth.low:.2f} to "
                f"{worth.high:.2f}) on pairs of like size; at the 1 % point it finds "
                f"{100 * caught:.0f} % of the generated pictures. Where topic and format match too "
                f"(one set of {topics['fake']} and {topics['real']}), only {topics['auc']:.2f} "
                f"({topics['auc_low']:.2f} to {topics['auc_high']:.2f}): part of what it has "
                "learned is content.",
            ]
        },
    }  # fmt: skip
    (a.out / "card.toml").write_text(dumps(card), encoding="utf-8")
    golden(model, a.out / "golden.json")


if __name__ == "__main__":
    main()
