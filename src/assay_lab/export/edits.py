"""Export the network that looks for edited parts: graph, parity, calibration, card, golden outputs.

    python -m assay_lab.export.edits --features DIR --heads DIR --weights FILE \
        --cache DIR --base src/assay/models/zoo/image-v7 \
        --out src/assay/models/zoo/edits-v1 --commit SHA --date 2026-12-01

The matrices of the tower are borrowed from the picture network at ``--base``. All that is said
comes from heads that left the groups judged out. The points are sure over photographs, pages of
faces and pages of edits each; the curve is fitted on these untouched pictures and on edits that
pages show, that the tamper pack holds and that the lab made, each kind of the last a source.
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

from assay.analyzers.image.edits import look
from assay.models.card import read_card
from assay_lab.benchmark import metrics as m
from assay_lab.data.cache import Cache
from assay_lab.data.images import decode
from assay_lab.export import calibration as cal
from assay_lab.export import four_bits
from assay_lab.export.card import dumps, metric
from assay_lab.export.golden import write_golden
from assay_lab.export.images import bounded
from assay_lab.export.onnx_graph import check_parity, sha256
from assay_lab.train.edit_features import Stored, read
from assay_lab.train.edit_net import SIZE, TAPS, EditHead, EditNet, load_tower
from assay_lab.train.edits import apart, grades, judge, load
from assay_lab.train.folds import FOLDS
from assay_lab.train.image_features import VERSIONS
from assay_lab.train.image_net import MEAN, STD

Floats = NDArray[np.float64]
WORTH_SHIPPING = 0.60
"""What the lower bound of the AUC within pages of edits must clear."""
FEW, TINY = 5, 20
"""Pictures below which a source of edits is joined with others as small, and has no interval."""


def real_of(data: Stored, scores: Floats, how: str = "none") -> dict[str, Floats]:
    """Scores of untouched pictures that came as they are, by source; without frames of films."""
    at = ~data.fake & (data.role != "made") & (data.how == how)
    at &= ~np.char.startswith(data.source, "film_")
    return {str(s): scores[at & (data.source == s)] for s in np.unique(data.source[at])}


def strands(real: Mapping[str, Floats]) -> list[dict[str, Floats]]:
    """Photographs, pictures of pages of faces, and of pages of edits."""
    first = ("page_", "edit_")
    rest = {k: v for k, v in real.items() if not k.startswith(first)}
    return [rest, *({k: v for k, v in real.items() if k.startswith(f)} for f in first)]


def fake_of(data: Stored, scores: Floats) -> dict[str, Floats]:
    """Scores of edited pictures: of pages and the pack by source, made ones by kind."""
    at = data.fake & (data.how == "none")
    source = np.where(data.role == "made", np.char.add("made ", data.kind), data.source)
    sets = {str(s): scores[at & (source == s)] for s in np.unique(source[at])}
    small = [v for v in sets.values() if len(v) < FEW]
    sets = {k: v for k, v in sets.items() if len(v) >= FEW}
    return sets | ({"small sources": np.concatenate(small)} if small else {})


def rows_of(data: Stored, scores: Floats, strict: float) -> list[dict[str, Any]]:
    """Edits of pages against untouched pictures of pages, then against all that came as they are;
    made pairs and the pack by themselves."""
    plain = data.how == "none"
    page = data.role == "page"
    rows = []
    for how in [h for h in VERSIONS if (data.how == h).any()]:
        at = page & (data.how == how)
        pair = scores[at & ~data.fake], scores[at & data.fake]
        rows.append(metric("pages", how, *pair, strict))
    real = np.concatenate(list(real_of(data, scores).values()))
    edited = page & plain & data.fake
    rows.append(metric("pages against all", "none", real, scores[edited], strict))
    for values in (data.kind, data.source):
        for name in np.unique(values[edited]).tolist():
            mine = scores[edited & (values == name)]
            rows.append(metric(name, "none", real, mine, strict, loose=len(mine) < TINY))
    for role, label in (("pack", "tamper pack"), ("made", "made in the lab")):
        mine = (data.role == role) & plain
        own = scores[mine & ~data.fake]
        for kind in np.unique(data.kind[mine & data.fake]).tolist():
            fake = scores[mine & data.fake & (data.kind == kind)]
            few = min(len(own), len(fake)) < TINY
            rows.append(metric(f"{label}: {kind}", "none", own, fake, strict, loose=few))
    return rows


def card_of(
    data: Stored, scores: Floats, places: NDArray[np.float32], a: argparse.Namespace
) -> dict[str, Any]:
    """Curve, points and what is known of them."""
    real, fake = real_of(data, scores), fake_of(data, scores)
    strict, loose = (cal.surest_threshold(strands(real), fpr) for fpr in (0.01, 0.05))
    low = cal.low_band(fake)
    every_real, every_fake = (np.concatenate(list(sets.values())) for sets in (real, fake))
    knots = bounded(cal.calibrate(real, fake), every_real, every_fake, low, strict)
    page = scores[data.fake & (data.role == "page") & (data.how == "none")]
    caught = m.rate_at(page, strict)
    rows = rows_of(data, scores, strict)
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
            "base_sha256": sha256(a.base / "model.npz"),
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
            "n_real": len(every_real), "n_fake": len(every_fake),
            "source": "pictures judged by heads that left their groups out; edits: "
            + ", ".join(fake),
            "applies_to": "the logit of the picture",
        },
        "operating_points": {
            "fpr_1pct": strict, "fpr_5pct": loose, "low_band": low,
            "tpr_at_fpr_1pct": caught, "fnr_at_fpr_1pct": 1 - caught,
        },
        "data": data_table(data),
        "metrics": rows,
        "limits": {
            "sentences": [
                f"Edits that pages show ({rows[0]['fake']}, by hand and by networks), judged by "
                f"heads that left their repositories out: AUC {rows[0]['auc']:.2f} (95 % "
                f"{rows[0]['auc_low']:.2f} to {rows[0]['auc_high']:.2f}) against "
                f"{rows[0]['real']} untouched pictures of such pages; at the 1 % point it finds "
                f"{100 * caught:.0f} %.",
                "Places within edited pictures: mean AUC "
                + ", ".join(f"{v:.2f} ({k.removesuffix(': all')})" for k, v in inside.items())
                + ".",
                "Parts changed by generators of 2024 and later are few among what it learned.",
            ]
        },
    }  # fmt: skip


def data_table(data: Stored) -> list[dict[str, Any]]:
    """Pictures by source. ``judged``: as they came; of most of these sources other copies were
    learned, untouched and with edits made in the lab, and are counted as made."""
    plain = data.where(data.how == "none")
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for role, source, fake in zip(
        plain.role.tolist(), plain.source.tolist(), plain.fake.tolist(), strict=True
    ):
        row = table.setdefault((role, source), {"name": source, "use": role, "real": 0, "fake": 0})
        row["fake" if fake else "real"] += 1
    return [table[k] for k in sorted(table)]


def against_product(cache: Cache, data: Stored, head: EditHead, model: Path, count: int) -> None:
    """Print how far the product is from what the head says of stored tokens, on photographs."""
    card, off = read_card(model), []
    row_of = {f"{r.source}:{r.name}": i for i, r in enumerate(cache.rows)}
    at = np.flatnonzero((data.role == "judged") & (data.how == "none"))
    at = at[:: max(1, len(at) // count)]
    stored, _ = judge(head, data.where(np.isin(np.arange(len(data.name)), at)))
    for name, score in zip(data.name[at].tolist(), stored.tolist(), strict=True):
        rgb = decode(cache.data(row_of[name]))
        assert rgb is not None
        off.append(look(rgb, card)[0] - score)
    print("product less stored: mean", np.mean(off), "most", np.abs(off).max(), "of", len(off))


def main(argv: list[str] | None = None) -> None:
    """Command line of the export."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--features", type=Path, required=True, help="folder of the stored tokens")
    p.add_argument("--heads", type=Path, required=True, help="folder of assay_lab.train.edits")
    p.add_argument("--weights", type=Path, required=True, help="ONNX file of the tower")
    p.add_argument("--cache", type=Path, required=True, help="the cache of pictures")
    p.add_argument("--base", type=Path, required=True, help="folder of the picture network")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--commit", required=True)
    p.add_argument("--date", type=datetime.date.fromisoformat, required=True)
    a = p.parse_args(argv)
    torch.set_num_threads(1)
    net, matrices = load_tower(a.weights)
    net.project_on(a.features / "basis.pt")
    heads = load(a.heads)
    if len(heads) != FOLDS + 1:
        raise SystemExit(f"{a.heads}: {len(heads)} heads, not {FOLDS + 1}")
    shipped = EditNet(net, heads[FOLDS]).eval()
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
    against_product(Cache(a.cache), data, heads[FOLDS], a.out, 60)
    write_golden(model, SIZE, 0.05)


if __name__ == "__main__":
    main()
