"""Training recipe of the face model.

    python -m assay_lab.train.faces --cache DIR --weights FILE --out DIR [--resume]

Starts from the blocks of CLIP in ``FILE``, or with ``--start`` from a released network, whose
masks are learned anew. What a batch holds is in ``face_batches``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from assay.models.prepare import face_square, square_crop
from assay_lab.benchmark.metrics import auc, auc_between, tpr_at_fpr
from assay_lab.data.cache import Cache, Row
from assay_lab.data.face_crops import decode, find_faces
from assay_lab.export.face_release import restore
from assay_lab.forge import self_blend as forge
from assay_lab.train.face_batches import MARGIN, PAIRS, Mix, numbers
from assay_lab.train.face_net import SIZE, FaceNet
from assay_lab.train.image_net import to_input
from assay_lab.train.loop import Batch, Plan, fit

Image = NDArray[np.uint8]
Rng = np.random.Generator


def loss(net: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy with smoothed labels, plus the mask where it is known."""
    assert isinstance(net, FaceNet)
    x = to_input(batch["x"])
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        logit, where = net.training_outputs(x)
    logit, where, y = logit.float(), where.float(), batch["y"]
    main = F.binary_cross_entropy_with_logits(logit, 0.03 + 0.94 * y)
    dense = F.binary_cross_entropy_with_logits(where, batch["mask"].clamp(0, 1), reduction="none")
    weight = batch["weight"][:, None, None]
    side = (dense * weight).sum() / (weight.sum() * dense.shape[1] * dense.shape[2] + 1e-6)
    right = ((logit > 0) == (y > 0.5)).float()
    seen, stats, at = right.detach(), {}, 0
    for kind, n in PAIRS.items():
        stats[kind] = float(seen[at : at + 2 * n].mean())
        at += 2 * n
    return main + 0.5 * side, {"main": float(main.detach()), "mask": float(side.detach()), **stats}


def centred(row: Row, rgb: Image, size: int, scale: float = 1.0) -> Image:
    """The crop that serving makes, of the box of ``row`` or else of the largest face found.

    ``scale``: size of ``rgb`` over that of the stored picture.
    """
    box = numbers(row.box) * scale
    if box.size != 4:
        faces = find_faces(rgb, least=0.5)
        box = np.array(faces[0].box if faces else (0, 0, rgb.shape[1], rgb.shape[0]))
    x0, y0, x1, y1 = (float(v) for v in box)
    square = face_square((x0, y0, x1 - x0, y1 - y0), MARGIN, rgb.shape[1], rgb.shape[0])
    return square_crop(rgb, *square, size)


def validation_rows(cache: Cache, most: int = 100) -> dict[str, list[int]]:
    """Indices by set name; the DFDC sets are at most ``most`` of each."""
    sets: dict[str, list[int]] = defaultdict(list)
    for i, r in enumerate(cache.rows):
        if r.use == "validation":
            sets[f"{r.source}:{r.label}"].append(i)
    rng = np.random.default_rng(0)
    return {
        k: sorted(rng.permutation(v)[:most].tolist()) if len(v) > most else v
        for k, v in sorted(sets.items())
    }


def scores(net: nn.Module, crops: list[Image], device: str = "cpu") -> NDArray[np.float64]:
    """Logits of face crops."""
    out = []
    with torch.no_grad(), torch.autocast(device, dtype=torch.bfloat16):
        for at in range(0, len(crops), 32):
            x = to_input(torch.from_numpy(np.stack(crops[at : at + 32])).to(device))
            out.append(net(x)[0].float().cpu().numpy())
    return np.concatenate(out).astype(np.float64)


PANELS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "dfdc": (("dfdc:real",), ("dfdc:fake",)),
    "140k": (("140k:real",), ("140k:fake",)),
    "generated": (
        ("tt_openimages:real", "sg3_ffhq:real"),
        ("mjprofile:fake", "songguo:fake", "sg3r:fake"),
    ),
    "reenacted": (("LivePortrait:real",), ("loopy:fake", "omnihuman:fake")),
    "pages": (("/real",), ("/fake",)),
}
"""Sets of real and of fake faces; ``/real`` and ``/fake`` stand for all held project pages."""


def page_set(name: str) -> str:
    """``/real`` or ``/fake`` for a set of a project page, else nothing."""
    source, _, label = name.rpartition(":")
    return f"/{label}" if "/" in source else ""


def validator(cache: Cache, size: int, device: str) -> Callable[[nn.Module], dict[str, float]]:
    """AUC and TPR at 1 % FPR on every held-out panel, and on forgeries of held-out faces."""
    rows = validation_rows(cache)

    def evaluate(net: nn.Module) -> dict[str, float]:
        net.eval()
        by_set = {}
        for name, indices in rows.items():
            pictures = []
            for i in indices:
                rgb = decode(cache.data(i))
                if rgb is not None:
                    pictures.append(centred(cache.rows[i], rgb, size))
            by_set[name] = scores(net, pictures, device)
        result: dict[str, float] = {}
        for panel, (real, fake) in PANELS.items():
            a = [v for k, v in by_set.items() if k in real or page_set(k) in real]
            b = [v for k, v in by_set.items() if k in fake or page_set(k) in fake]
            if not a or not b:
                continue
            s = np.concatenate(a + b)
            y = np.r_[np.zeros(sum(map(len, a))), np.ones(sum(map(len, b)))]
            result[panel] = round(auc(y, s), 4)
            result[panel + "_tpr1"] = round(tpr_at_fpr(y, s), 4)
        result.update(_forgeries(net, cache, rows, size, device))
        for k, v in by_set.items():
            if k.endswith(":real"):
                result["q99_" + k.split(":")[0]] = round(float(np.quantile(v, 0.99)), 3)
        return result

    return evaluate


def _forgeries(
    net: nn.Module, cache: Cache, rows: dict[str, list[int]], size: int, device: str
) -> dict[str, float]:
    chosen = [
        i
        for k in ("140k:real", "dfdc:real", "expressions:real", "tt_openimages:real")
        for i in rows.get(k, [])[:120]
        if cache.rows[i].points
    ]
    real, fake, parts = [], [], []
    for n, i in enumerate(chosen):
        row, rng = cache.rows[i], np.random.default_rng(n)
        rgb = decode(cache.data(i))
        if rgb is None:
            continue
        points = numbers(row.points).reshape(5, 2)
        other = chosen[(n + 1) % len(chosen)]
        there = decode(cache.data(other))
        real.append(centred(row, rgb, size))
        fake.append(centred(row, forge.self_blend(rgb, points, rng)[0], size))
        if there is not None:
            where = numbers(cache.rows[other].points).reshape(5, 2)
            parts.append(centred(row, forge.part_blend(rgb, points, there, where, rng)[0], size))
    a, b, d = (scores(net, p, device) for p in (real, fake, parts))
    return {
        "self_blend": round(auc_between(a, b), 4),
        "part_blend": round(auc_between(a, d), 4),
    }


def main(argv: list[str] | None = None) -> None:
    """Command line of the recipe."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--cache", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--weights", type=Path, required=True, help="ONNX file of CLIP")
    p.add_argument("--start", type=Path, help="released network to train further")
    p.add_argument("--resume", action="store_true")
    p.add_argument("--device", default="cpu")
    p.add_argument("--steps", type=int, default=5000)
    p.add_argument("--minutes", type=float, default=0.0, help="end the schedule in this time")
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--processes", type=int, default=1, help="processes that average their weights")
    p.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    p.add_argument("--eval-every", type=int, default=500)
    p.add_argument("--ramp", type=int, default=2000, help="steps until corruption is strongest")
    a = p.parse_args(argv)
    others = []
    if a.processes > 1 and a.rank == 0:
        a.out.mkdir(parents=True, exist_ok=True)
        (a.out / "peers").unlink(missing_ok=True)
        again = [sys.executable, "-m", "assay_lab.train.faces", *(argv or sys.argv[1:])]
        for rank in range(1, a.processes):
            others.append(subprocess.Popen([*again, "--rank", str(rank)]))  # noqa: S603
    torch.manual_seed(a.seed)
    cache = Cache(a.cache)
    net = FaceNet(a.weights)
    if a.start:
        restore(net, a.start)
    mix = Mix(cache, SIZE, a.seed + 1_000_003 * a.rank, a.ramp)
    plan = Plan(
        a.steps, lr=a.lr, warmup=min(100, 1 + a.steps // 10), seed=a.seed,
        threads=a.threads, workers=a.workers,
        device=a.device, eval_every=a.eval_every, peers=a.processes, rank=a.rank, minutes=a.minutes,
    )  # fmt: skip
    fit(
        net,
        loss,
        mix,
        a.out,
        plan,
        evaluate=validator(cache, SIZE, a.device),
        resume=a.resume,
    )
    for other in others:
        other.wait()


if __name__ == "__main__":
    main()
