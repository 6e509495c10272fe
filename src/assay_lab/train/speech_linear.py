"""Train a linear classifier of ``speech-v1`` on frozen features, one run for each front end.

    python -m assay_lab.train.speech_linear --front quality --weights distill_mos_v7.pt \
        --cache A --cache B --validation SOURCES --noise NOISE.npy --batches 300 --out RUN
    python -m assay_lab.train.speech_linear --front whisper --weights model.bin --like RUN ...

Batches are drawn and disturbed as in :mod:`assay_lab.train.speech_batches`; batch k is a function
of (seed, k), and ``RUN/features.npz`` keeps what was computed, so that a stopped run goes on. The
penalty and the number of layers are chosen on held-out sources and unseen systems.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from assay_lab.benchmark.metrics import auc, eer, tpr_at_fpr
from assay_lab.train.quality_net import BANDS, CHANNELS, FIRST, QualityNet
from assay_lab.train.speech_batches import Clips, clip_windows, prepare, split, start
from assay_lab.train.speech_net import WhisperNet

LENGTH = 48_000
Floats32 = NDArray[np.float32]


@torch.inference_mode()
def features(net: QualityNet | WhisperNet, x: Floats32) -> Floats32:
    """Frozen features [n, F] of samples [n, L]; half precision inside, as far as it is fast."""
    with torch.autocast("cpu", torch.bfloat16):
        found = net.features(torch.from_numpy(x)).float().numpy()
    return found[:, : net.size * 2 * len(net.blocks)] if isinstance(net, WhisperNet) else found


def collect(
    net: QualityNet | WhisperNet, out: Path, batches: range, every: int = 25
) -> tuple[Floats32, Floats32]:
    """Features and labels of the given batches, continuing from ``out``."""
    xs: list[Floats32] = []
    ys: list[Floats32] = []
    first = batches.start
    if out.exists():
        with np.load(out) as kept:
            xs, ys, first = [kept["x"].astype(np.float32)], [kept["y"]], int(kept["next"])
    for k in range(first, batches.stop, batches.step):
        x, y, _, _ = prepare(k)
        xs.append(features(net, np.ascontiguousarray(x[:, :LENGTH])))
        ys.append(y)
        if (
            k - batches.start
        ) // batches.step % every == every - 1 or k + batches.step >= batches.stop:
            kept_x = np.concatenate(xs).astype(np.float16)
            np.savez(out, x=kept_x, y=np.concatenate(ys), next=k + batches.step)
    return np.concatenate(xs), np.concatenate(ys)


def validation_features(
    net: QualityNet | WhisperNet, clips: Clips, sources: str, out: Path, like: Path | None
) -> tuple[Floats32, NDArray[np.int64], NDArray[np.int64]]:
    """Features of held-out clips, their numbers and variants: all plain, some through codecs."""
    if not out.exists():
        _, held = split(clips, set(sources.split(",")), 70, 12)
        ids = np.random.default_rng(1).permutation(held)
        jobs: list[tuple[int, int]] = [
            *((i, 0) for i in ids),
            *((i, 2) for i in ids[::4]),
            *((i, 1) for i in ids[1::6]),
        ]
        if like is not None:
            with np.load(like) as other:
                jobs = [(int(i), int(kind)) for i, kind in other["jobs"]]
        found = []
        for k in range(0, len(jobs), 16):
            part = [clip_windows(clips.samples(int(i), kind), 1)[0] for i, kind in jobs[k : k + 16]]
            found.append(features(net, np.stack(part)))
        np.savez(out, x=np.concatenate(found).astype(np.float16), jobs=np.array(jobs))
    with np.load(out) as kept:
        return kept["x"].astype(np.float32), kept["jobs"][:, 0], kept["jobs"][:, 1]


def fit(x: Floats32, y: Floats32, penalty: float, rounds: int = 60) -> tuple[Floats32, float]:
    """Logistic regression on whitened ``x`` by L-BFGS; mean loss plus penalty / 2 |w|^2."""
    a, goal = torch.from_numpy(x), torch.from_numpy(y.astype(np.float32))
    w = torch.zeros(x.shape[1], requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    solver = torch.optim.LBFGS(
        [w, b], max_iter=rounds, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = F.binary_cross_entropy_with_logits(a @ w + b, goal) + penalty / 2 * w.square().sum()
        value.backward()
        return value

    solver.step(loss)
    return w.detach().numpy(), float(b.detach())


def layer_columns(first: int, last: int) -> NDArray[np.bool_]:
    """Which columns belong to layers ``first`` .. ``last`` - 1."""
    widths = [CHANNELS[i + 1] * BANDS * 2 for i in range(FIRST, 6)]
    keep = [np.full(w, first <= FIRST + k < last) for k, w in enumerate(widths)]
    return np.concatenate(keep)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the linear speech classifier.")
    parser.add_argument("--cache", type=Path, action="append", required=True)
    parser.add_argument("--validation", required=True)
    parser.add_argument("--front", choices=("quality", "whisper"), required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--like", type=Path, help="another run: take its validation clips")
    parser.add_argument("--noise", type=Path)
    parser.add_argument("--batches", type=int, default=600)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--first-batch", type=int, default=30_000_000)
    parser.add_argument("--copies", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    start(args.cache, args.validation, args.copies, args.noise, args.batch, args.seed)
    net: QualityNet | WhisperNet
    if args.front == "quality":
        net = QualityNet()
        net.load_distillmos(args.weights)
    else:
        net = WhisperNet(2)
        net.load_whisper(args.weights)
    net.eval()
    clips = Clips(args.cache)
    like = args.like / "held.npz" if args.like else None
    v, index, variant = validation_features(
        net, clips, args.validation, args.out / "held.npz", like
    )
    plain = variant == 0
    labels = clips.fake[index[plain]].astype(int)
    batches = range(args.first_batch, args.first_batch + args.batches)
    x, y = collect(net, args.out / "features.npz", batches)
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    x, v = (x - mean) / deviation, (v - mean) / deviation
    best: dict[str, Any] = {"auc": 0.0}
    for last in (5, 6) if args.front == "quality" else (2,):
        columns = (
            layer_columns(FIRST, last) if args.front == "quality" else np.full(x.shape[1], True)
        )
        for penalty in (0.3, 0.1, 0.03, 0.01):
            w, b = fit(np.ascontiguousarray(x[:, columns]), y, penalty)
            every = (v[:, columns] @ w + b).astype(np.float64)
            s = every[plain]
            row = {
                "layers": last, "penalty": penalty, "auc": auc(labels, s), "eer": eer(labels, s),
                "tpr_at_1fpr": tpr_at_fpr(labels, s), "samples": len(y),
            }  # fmt: skip
            with open(args.out / "log.jsonl", "a", encoding="utf-8") as log:
                print(json.dumps(row), file=log)
            print(json.dumps(row), flush=True)
            if row["auc"] > best["auc"]:
                best = {**row, "w": w, "b": b, "columns": columns, "scores": every}
    np.savez(args.out / "validation.npz", index=index, variant=variant, logit=best["scores"])
    kept: QualityNet | WhisperNet
    mean, deviation = mean[best["columns"]], deviation[best["columns"]]
    if args.front == "quality":
        kept = QualityNet(best["layers"])
        kept.load_distillmos(args.weights)
        kept.set_linear(mean, deviation, best["w"], best["b"])
    else:
        kept = WhisperNet(2)
        kept.load_whisper(args.weights)
        kept.set_linear(mean, deviation, best["w"], best["b"])
    state = {"net": kept.state_dict(), "branch": args.front, "blocks": best["layers"]}
    torch.save(state, args.out / "best.pt")


if __name__ == "__main__":
    main()
