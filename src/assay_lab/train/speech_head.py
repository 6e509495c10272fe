"""Train the classifier of the speech model on frozen features.

    python -m assay_lab.train.speech_head --cache PAGES --cache MORE --run FEATURES --out RUN

``--run`` names what :mod:`assay_lab.train.speech_features` computed, of one or several of the
caches. Clips that were found to be doubtful since then do not count. The sources fall into folds
(:mod:`assay_lab.train.folds`). For each fold a classifier is trained without it, and scores it:
these scores of sources that a classifier never met, and of synthetic systems that none of its
sources has, are all that the calibration sees (:mod:`assay_lab.export.speech`). Settings were
chosen on the folds of ``CHOOSING``; the others calibrate. The classifier that is released learned
from all sources.

In training both classes weigh alike, and all synthetic systems, whatever the number of their
clips.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from assay_lab.benchmark.metrics import auc, eer, tpr_at_fpr
from assay_lab.train.folds import CHOOSING, FOLDS, fold_of
from assay_lab.train.speech_batches import Clips
from assay_lab.train.speech_features import DRAWN
from assay_lab.train.speech_net import Classifier

STEPS, BATCH, RATE, DECAY = 3000, 256, 7e-4, 0.5
DROPPED = 0.3  # of the features, in training
Floats32 = NDArray[np.float32]


class Windows(NamedTuple):
    """Features ``x`` [n, F], 1 for fake ``y``, number of the clip ``index``, kind of window
    ``variant`` (0 plain, 1 wide-band codec, 2 narrow-band codec, 3 drawn)."""

    x: NDArray[np.float16]
    y: Floats32
    index: NDArray[np.int64]
    variant: NDArray[np.int64]


_process: dict[str, Any] = {}


def load(runs: list[Path], clips: Clips) -> tuple[Windows, str]:
    """What all runs computed, with the numbers that the clips have in ``clips``, and the digest of
    the front ends that computed it.

    Raises ValueError where a run is of a cache that is not among them, or of other front ends.
    """
    first = np.cumsum([0, *(len(c) for c in clips.caches)])
    parts: list[tuple[NDArray[Any], ...]] = []
    fronts: set[str] = set()
    for run in runs:
        claimed = json.loads((run / "caches.json").read_text(encoding="utf-8"))
        fronts.add(claimed["fronts"])
        ranges: list[NDArray[np.int64]] = []
        for digest in claimed["caches"]:
            if digest not in clips.digests:
                raise ValueError(f"{run} has features of a cache that is not given")
            k = clips.digests.index(digest)
            ranges.append(np.arange(first[k], first[k + 1]))
        number = np.concatenate(ranges)
        for path in sorted(run.glob("plain/??????.npz")) + sorted(run.glob("drawn/??????.npz")):
            with np.load(path) as part:
                index = number[part["index"]]
                kept = ~clips.doubtful[index]
                parts.append((part["x"][kept], part["y"][kept], index[kept], part["variant"][kept]))
    if len(fronts) > 1:
        raise ValueError("the runs are of different front ends")
    return Windows(*(np.concatenate(column) for column in zip(*parts, strict=True))), fronts.pop()


def balance(y: Floats32, systems: NDArray[np.str_]) -> NDArray[np.float64]:
    """Weights of sum 1: half for the real clips, half for the fakes, their systems alike."""
    real = y < 0.5
    _, inverse, count = np.unique(systems[~real], return_inverse=True, return_counts=True)
    weight = np.empty(len(y))
    weight[real] = 0.5 / real.sum()
    weight[~real] = 0.5 / len(count) / count[inverse]
    return weight


def moments(x: NDArray[np.float16]) -> tuple[Floats32, Floats32]:
    """Mean and deviation of each column."""
    total, square = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for k in range(0, len(x), 1024):
        rows = x[k : k + 1024].astype(np.float64)
        total += rows.sum(0)
        square += np.square(rows).sum(0)
    mean = total / len(x)
    spread = np.sqrt(np.maximum(square / len(x) - mean**2, 0)) + 1e-3
    return mean.astype(np.float32), spread.astype(np.float32)


def fit(windows: Windows, rows: NDArray[np.int64], weight: NDArray[np.float64], seed: int,
        scale: tuple[Floats32, Floats32], steps: int) -> Classifier:  # fmt: skip
    """A classifier trained on ``rows``, drawn by their ``weight``; a function of the seed."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Classifier(windows.x.shape[1])
    # in 16 bits, as they are stored
    net.mean.copy_(torch.from_numpy(scale[0]).half())
    net.deviation.copy_(torch.from_numpy(scale[1]).half())
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(steps):
        picked = rows[rng.choice(len(rows), BATCH, p=weight)]
        z = (torch.from_numpy(windows.x[picked]).float() - net.mean) / net.deviation
        # Dropout by random bytes, which is several times faster than torch's.
        dice = np.frombuffer(rng.bytes(z.numel()), np.uint8).reshape(z.shape)
        z *= torch.from_numpy(dice >= round(256 * DROPPED))
        z /= 1 - DROPPED
        loss = F.binary_cross_entropy_with_logits(net.judge(z), torch.from_numpy(windows.y[picked]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def _without(k: int, seed: int) -> tuple[dict[str, Any], NDArray[np.int64], NDArray[np.float64]]:
    """A classifier trained without fold ``k``; which plain windows of that fold it can be judged
    by, and their logits."""
    windows, system, fold = _process["windows"], _process["system"], _process["fold"]
    rows = np.flatnonzero(fold != k)
    weight = balance(windows.y[rows], system[rows])
    net = fit(windows, rows, weight, seed + k, _process["scale"], STEPS)
    met = np.unique(system[rows])
    here = (fold == k) & (windows.variant < DRAWN)
    here &= (windows.y < 0.5) | ~np.isin(system, met)
    picked = np.flatnonzero(here)
    return net.state_dict(), picked, logits(net, windows.x[picked])


@torch.inference_mode()
def logits(net: Classifier, x: NDArray[np.float16]) -> NDArray[np.float64]:
    """Logits [n] of features."""
    if not len(x):
        return np.zeros(0)
    parts = [net(torch.from_numpy(x[k : k + 512]).float()).numpy()
             for k in range(0, len(x), 512)]  # fmt: skip
    return np.concatenate(parts).astype(np.float64)


def figures(
    y: Floats32, variant: NDArray[np.int64], s: NDArray[np.float64], keep: NDArray[np.bool_]
) -> dict[str, float]:
    """AUC by kind of window; EER and TPR at 1 % FPR of plain ones."""
    out = {}
    for kind, name in enumerate(("plain", "wide", "narrow")):
        part = keep & (variant == kind)
        labels = y[part].astype(int)
        out[f"auc_{name}"] = auc(labels, s[part])
        if kind == 0:
            out |= {"eer": eer(labels, s[part]), "tpr_at_1fpr": tpr_at_fpr(labels, s[part])}
            out |= {"real": int((labels == 0).sum()), "fake": int(labels.sum())}
    return {k: round(v, 4) for k, v in out.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the classifier of the speech model.")
    parser.add_argument("--cache", type=Path, action="append", required=True)
    parser.add_argument("--run", type=Path, action="append", required=True)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    clips = Clips(args.cache)
    windows, fronts = load(args.run, clips)
    source = np.array([clips.rows[i]["source"] for i in windows.index])
    system = np.array([clips.rows[i]["system"] for i in windows.index])
    fold = fold_of(source)
    _process.update(windows=windows, system=system, fold=fold, scale=moments(windows.x))
    # Forked, so that the features are in memory once.
    with ProcessPoolExecutor(args.workers, get_context("fork")) as pool:
        made = list(pool.map(_without, range(FOLDS + 1), [args.seed] * (FOLDS + 1)))
    score = np.zeros(len(fold))
    unseen = np.zeros(len(fold), bool)
    for _, here, found in made:
        score[here] = found
        unseen[here] = True
    choosing = np.isin(fold, CHOOSING)
    for name, half in (("choosing", choosing), ("calibrating", ~choosing)):
        row = {"sources": name, **figures(windows.y, windows.variant, score, unseen & half)}
        with open(args.out / "log.jsonl", "a", encoding="utf-8") as log:
            print(json.dumps(row), file=log)
        print(json.dumps(row), flush=True)
    keep = unseen & ~choosing
    np.savez(args.out / "validation.npz", index=windows.index[keep],
             variant=windows.variant[keep], logit=score[keep])  # fmt: skip
    (args.out / "fronts.txt").write_text(fronts, encoding="utf-8")
    for k, (state, *_) in enumerate(made):
        torch.save(state, args.out / f"{'best' if k == FOLDS else f'without_{k}'}.pt")


if __name__ == "__main__":
    main()
