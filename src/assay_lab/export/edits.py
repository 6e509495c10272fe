"""Export the network that looks for edited parts: graph, parity, calibration, card, golden outputs.

    python -m assay_lab.export.edits --features DIR --heads DIR --weights FILE \
        --base src/assay/models/zoo/image-v7 --out src/assay/models/zoo/edits-v1 \
        --commit SHA --date 2026-12-01

The matrices of the tower are borrowed from the picture network at ``--base``. All that is said
comes from heads that left the repositories judged out: the points from photographs that no head
learned from, the curve from these and from edits that pages show, that the tamper pack holds and
that the lab made, each kind of edit a source of its own. The fit had no setting that was chosen on
them.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from assay_lab.benchmark import metrics as m
from assay_lab.export import calibration as cal
from assay_lab.export import four_bits
from assay_lab.export.card import dumps, metric
from assay_lab.export.golden import write_golden
from assay_lab.export.onnx_graph import check_parity, sha256
from assay_lab.train.edit_features import VERSIONS, Stored, read
from assay_lab.train.edit_net import SIZE, TAPS, EditNet, load_tower
from assay_lab.train.edits import apart, grades, load
from assay_lab.train.folds import FOLDS
from assay_lab.train.image_net import MEAN, STD

Floats = NDArray[np.float64]
WORTH_SHIPPING = 0.60
"""What the lower bound of the AUC on edits of pages must clear."""
FEW = 5
"""Pictures below which a source of edits is joined with the others that have as few."""


def real_of(data: Stored, scores: Floats, how: str = "none") -> dict[str, Floats]:
    """Scores of untouched pictures that came as they are, by source."""
    at = ~data.fake & (data.role != "made") & (data.how == how)
    return {str(s): scores[at & (data.source == s)] for s in np.unique(data.source[at])}


def fake_of(data: Stored, scores: Floats, how: str = "none") -> dict[str, Floats]:
    """Scores of edited pictures: of pages and the pack by source, made ones by kind."""
    at = data.fake & (data.how == how)
    source = np.where(data.role == "made", np.char.add("made ", data.kind), data.source)
    sets = {str(s): scores[at & (source == s)] for s in np.unique(source[at])}
    small = [v for v in sets.values() if len(v) < FEW]
    sets = {k: v for k, v in sets.items() if len(v) >= FEW}
    return sets | ({"small sources": np.concatenate(small)} if small else {})


def rows_of(data: Stored, scores: Floats, strict: float) -> list[dict[str, Any]]:
    """Pages against untouched pictures as they came, then the pack and made pairs by themselves."""
    rows = []
    for how in [h for h in VERSIONS if (data.how == h).any()]:
        real = np.concatenate(list(real_of(data, scores, how).values()))
        at = data.fake & (data.role == "page") & (data.how == how)
        rows.append(metric("edits of pages", how, real, scores[at], strict))
    real = np.concatenate(list(real_of(data, scores).values()))
    page = data.fake & (data.role == "page") & (data.how == "none")
    named = data.kind, data.source
    for values in named:
        for name in np.unique(values[page]).tolist():
            mine = scores[page & (values == name)]
            rows.append(metric(name, "none", real, mine, strict, loose=len(mine) < 20))
    for role, label in (("pack", "tamper pack"), ("made", "made in the lab")):
        mine = (data.role == role) & (data.how == "none")
        own = scores[mine & ~data.fake]
        for kind in np.unique(data.kind[mine & data.fake]).tolist():
            fake = scores[mine & data.fake & (data.kind == kind)]
            few = min(len(own), len(fake)) < 20
            rows.append(metric(f"{label}: {kind}", "none", own, fake, strict, loose=few))
    return rows


def card_of(
    data: Stored, scores: Floats, places: NDArray[np.float32], a: argparse.Namespace
) -> dict[str, Any]:
    """Curve, points and what is known of them."""
    real, fake = real_of(data, scores), fake_of(data, scores)
    strict, loose = cal.sure_threshold(real, 0.01), cal.sure_threshold(real, 0.05)
    knots = cal.calibrate(real, fake)
    page = scores[data.fake & (data.role == "page") & (data.how == "none")]
    caught = m.rate_at(page, strict)
    rows = rows_of(data, scores, strict)
    every_real = np.concatenate(list(real.values()))
    found = grades(data, scores, places)
    inside = {k: v[2] for k, v in found.items() if k.endswith(": all") and np.isfinite(v[2])}
    model = a.out / "model.npz"
    name, _, number = a.out.name.partition("-v")
    return {
        "model": {
            "name": name,
            "version": int(number),
            "task": "edited parts of photographs",
            "question": "local_edit",
            "licence": "MIT",
            "created": a.date,
            "commit": a.commit,
            "origin": f"first {max(TAPS)} blocks of CLIP ViT-B/16 (OpenAI, MIT), borrowed from "
            f"{a.base.name}; heads trained in assay_lab",
            "base": a.base.name,
            "file": model.name,
            "sha256": sha256(model),
            "bytes": model.stat().st_size,
            "summary": "Says whether a part of a photograph was changed, and which places stand "
            "out.",
        },
        "input": {
            "name": "input", "kind": "image", "height": SIZE, "width": SIZE,
            "mean": list(MEAN), "std": list(STD), "scale": 255.0,
        },
        "output": {"logit": "picture", "places": "places", "positive": "edited"},
        "gates": {"min_side_px": 128},
        "calibration": {
            "kind": "piecewise_linear", "score": knots[0], "llr": knots[1],
            "n_real": len(every_real), "n_fake": sum(map(len, fake.values())),
            "source": "pictures judged by heads that left their repositories out; edits: "
            + ", ".join(fake),
            "applies_to": "the logit of the picture",
        },
        "operating_points": {
            "fpr_1pct": strict, "fpr_5pct": loose, "low_band": cal.low_band(fake),
            "tpr_at_fpr_1pct": caught, "fnr_at_fpr_1pct": 1 - caught,
        },
        "data": data_table(data),
        "metrics": rows,
        "limits": {
            "sentences": [
                f"Edits that pages show ({rows[0]['fake']}, by hand and by networks), judged by "
                f"heads that left their repositories out: AUC {rows[0]['auc']:.2f} (95 % "
                f"{rows[0]['auc_low']:.2f} to {rows[0]['auc_high']:.2f}) against "
                f"{rows[0]['real']} untouched pictures; at the 1 % point it finds "
                f"{100 * caught:.0f} %.",
                "Places within edited pictures: mean AUC "
                + ", ".join(f"{v:.2f} ({k.removesuffix(': all')})" for k, v in inside.items())
                + ".",
                "Parts changed by generators of 2024 and later are few among what it learned.",
            ]
        },
    }  # fmt: skip


def data_table(data: Stored) -> list[dict[str, Any]]:
    """Pictures by source; those that heads are judged by may be learned too."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    plain = data.where(data.how == "none")
    for role, source, fake in zip(
        plain.role.tolist(), plain.source.tolist(), plain.fake.tolist(), strict=True
    ):
        use = "validation" if role == "judged" else "train"
        row = table.setdefault(
            (use, source), {"name": source, "use": use, "role": role, "real": 0, "fake": 0}
        )
        row["fake" if fake else "real"] += 1
    return [table[k] for k in sorted(table)]


def flagged(real: Mapping[str, Floats], point: float) -> dict[str, list[float]]:
    """Of the sources that reach the point: how many pictures, and which share does."""
    return {
        k: [len(v), round(m.rate_at(v, point), 3)] for k, v in real.items() if m.rate_at(v, point)
    }


def main(argv: list[str] | None = None) -> None:
    """Command line of the export."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--features", type=Path, required=True, help="folder of the stored tokens")
    p.add_argument("--heads", type=Path, required=True, help="folder of assay_lab.train.edits")
    p.add_argument("--weights", type=Path, required=True, help="ONNX file of the tower")
    p.add_argument("--base", type=Path, required=True, help="folder of the picture network")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--commit", required=True)
    p.add_argument("--date", type=datetime.date.fromisoformat, required=True)
    a = p.parse_args(argv)
    torch.set_num_threads(1)
    net, matrices = load_tower(a.weights)
    held = torch.load(a.features / "basis.pt", weights_only=True)
    net.basis.copy_(held["basis"].float())
    net.middle.copy_(held["middle"].float())
    heads = load(a.heads)
    if len(heads) != FOLDS + 1:
        raise SystemExit(f"{a.heads}: {len(heads)} heads, not {FOLDS + 1}")
    for head in heads[FOLDS:]:
        for value in head.parameters():
            value.data = value.data.half().float()
    shipped = EditNet(net, heads[FOLDS:]).eval()
    a.out.mkdir(parents=True, exist_ok=True)
    model = a.out / "model.npz"
    four_bits.write(
        shipped, torch.zeros(2, 3, SIZE, SIZE), model, ("picture", "places"), matrices,
        base=a.base / "model.npz",
    )  # fmt: skip
    noise = np.random.default_rng(0).normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)
    print("parity", check_parity(shipped, model, noise, 0.05), model.stat().st_size)
    data = read(a.features)
    card = card_of(data, *apart(heads[:FOLDS], data), a)
    print(json.dumps({k: card[k] for k in ("calibration", "operating_points")}, indent=1))
    for row in card["metrics"]:
        print({k: v for k, v in row.items() if k not in ("set", "ece", "eer")})
    if card["metrics"][0]["auc_low"] <= WORTH_SHIPPING:
        raise SystemExit(f"not shipped: {card['metrics'][0]}")
    (a.out / "card.toml").write_text(dumps(card))
    write_golden(model, SIZE, 0.05)


if __name__ == "__main__":
    main()
