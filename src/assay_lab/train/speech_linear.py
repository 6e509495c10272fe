"""Train the linear classifier of the speech model on frozen features.

    python -m assay_lab.train.speech_linear --cache PAGES --validation SOURCES \
        --distillmos distill_mos_v7.pt --whisper model.bin --batches 800 --workers 2 --out RUN

Batches come from :mod:`assay_lab.train.speech_batches`: one even pass over sources and systems,
then random draws that also go through codecs. Batch k is a function of (seed, k). ``RUN`` keeps
what was computed: a stopped run goes on. With ``--run``, one for each ``--cache`` in their order,
the fit is on what these runs computed on their caches alone, and new pages need no second look
at the old ones. In the fit all synthetic systems weigh alike, whatever
the number of their clips.
Both front ends share one logistic regression. Which of their layers it gets and its penalty are
chosen on one half of the held-out sources and their unseen systems; the other half is for the
calibration (:mod:`assay_lab.export.speech`).
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from assay_lab.benchmark.metrics import auc, eer, tpr_at_fpr
from assay_lab.train.quality_net import BANDS, CHANNELS, FIRST, WIDTH, QualityNet
from assay_lab.train.speech_batches import (
    Clips,
    clip_windows,
    even,
    prepare,
    prepare_even,
    split,
    start,
)
from assay_lab.train.speech_net import WhisperNet

LENGTH = 40_000
CONTEXT, BLOCKS = 7, 3
PER_SOURCE, PER_SYSTEM = 70, 12  # held-out clips, at most
# Blocks of Distill-MOS and of Whisper, and the penalties to try with them.
GRID = ((0, 2, (0.1,)), (CONTEXT, 2, (0.03,)), (CONTEXT, 3, (0.3, 0.1, 0.03, 0.01)))
Floats32 = NDArray[np.float32]
Fronts = tuple[QualityNet, WhisperNet]

_process: dict[str, Any] = {}


def fronts(distillmos: Path, whisper: Path, context: int = CONTEXT, blocks: int = BLOCKS) -> Fronts:
    """Both front ends with the weights of others, frozen."""
    quality = QualityNet(6, context)
    quality.load_distillmos(distillmos)
    listener = WhisperNet(blocks)
    listener.load_whisper(whisper)
    quality.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return quality, listener.eval()


@torch.inference_mode()
def features(nets: Fronts, x: Floats32) -> NDArray[np.float16]:
    """Frozen features [n, F] of samples [n, L]; half precision inside, as far as it is fast."""
    wave = torch.from_numpy(np.ascontiguousarray(x))
    quality, listener = nets
    with torch.autocast("cpu", torch.bfloat16):
        a = quality.features(wave).float()
        b = listener.features(wave)
    return torch.cat([a, b], 1).numpy().astype(np.float16)


def columns(context: int, blocks: int) -> tuple[NDArray[np.bool_], int]:
    """Which columns of all features the nets with fewer layers give, and how many of the first."""
    conv = sum(CHANNELS[i + 1] * BANDS * 2 for i in range(FIRST, 6))
    kept = 0 if context == 0 else (context + 1) * 2 * WIDTH
    mask = np.r_[
        np.full(conv, True),
        np.arange((CONTEXT + 1) * 2 * WIDTH) < kept,
        np.arange(BLOCKS * 2 * 384) < blocks * 2 * 384,
    ]
    return mask, conv + kept


def _start(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    start(args.cache, args.validation, args.copies, args.noise, args.batch, args.seed)
    _process["nets"] = fronts(args.distillmos, args.whisper)
    _process["clips"] = Clips(args.cache)


def _batch(folder: Path, number: int) -> Path:
    path = folder / f"{number:06d}.npz"
    if not path.exists():
        x, y, index = prepare(number)
        found = features(_process["nets"], x[:, :LENGTH])
        _save(path, x=found, y=y, index=index)
    return path


def _even(folder: Path, number: int) -> Path:
    path = folder / f"{number:06d}.npz"
    if not path.exists():
        x, y, index = prepare_even(number)
        _save(path, x=features(_process["nets"], x), y=y, index=index)
    return path


def _held(folder: Path, number: int, jobs: list[tuple[int, int]]) -> Path:
    path = folder / f"{number:06d}.npz"
    if not path.exists():
        clips: Clips = _process["clips"]
        windows = [clip_windows(clips.samples(i, kind), 1)[0] for i, kind in jobs]
        _save(path, x=features(_process["nets"], np.stack(windows)))
    return path


def _save(path: Path, **arrays: NDArray[Any]) -> None:
    """Whole file or none: a run may be stopped at any time."""
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)
    part.rename(path)


def held_jobs(clips: Clips, sources: str) -> list[tuple[int, int]]:
    """(clip, variant): all held-out clips plain, a fifth wide-band, a quarter narrow-band.

    Clips of doubtful label are left out after the draws, which their list does not change.
    """
    _, held = split(clips, set(sources.split(",")), PER_SOURCE, PER_SYSTEM)
    ids = [int(i) for i in np.random.default_rng(1).permutation(held)]
    jobs = [*((i, 0) for i in ids), *((i, 1) for i in ids[1::5]), *((i, 2) for i in ids[::4])]
    return [(i, kind) for i, kind in jobs if not clips.doubtful[i]]


def choosing(sources: str) -> set[str]:
    """The half of the validation sources on which layers and penalty are chosen."""
    return set(sorted(sources.split(","))[::2])


def balance(y: Floats32, systems: NDArray[np.str_]) -> Floats32:
    """Weights of mean 1: half for the real clips, half for the fakes, their systems alike."""
    real = y < 0.5
    _, inverse, count = np.unique(systems[~real], return_inverse=True, return_counts=True)
    weight = np.empty(len(y), np.float32)
    weight[real] = 0.5 / real.sum()
    weight[~real] = 0.5 / len(count) / count[inverse]
    return weight * len(y)


def fit(
    x: Floats32, y: Floats32, penalty: float, weight: Floats32, rounds: int = 60
) -> tuple[Floats32, float]:
    """Logistic regression on whitened ``x`` by L-BFGS; mean loss plus penalty / 2 |w|^2."""
    a, goal = torch.from_numpy(x), torch.from_numpy(y.astype(np.float32))
    weights = torch.from_numpy(weight)
    w = torch.zeros(x.shape[1], requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    solver = torch.optim.LBFGS(
        [w, b], max_iter=rounds, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = F.binary_cross_entropy_with_logits(a @ w + b, goal, weights)
        value = value + penalty / 2 * w.square().sum()
        value.backward()
        return value

    solver.step(loss)
    return w.detach().numpy(), float(b.detach())


def collect(args: argparse.Namespace, clips: Clips) -> tuple[list[Path], list[Path]]:
    """Feature files of the held-out clips and of the training batches, within ``--minutes``."""
    jobs = held_jobs(clips, args.validation)
    chunks = [jobs[k : k + 16] for k in range(0, len(jobs), 16)]
    for name in ("held", "even", "features"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    numbers = list(range(args.first_batch, args.first_batch + args.batches))
    train, _ = split(clips, set(args.validation.split(",")))
    passes = range(-(-len(even(clips, train)) // args.batch))
    if args.run:
        passes, numbers = range(0), []
    with ProcessPoolExecutor(args.workers, initializer=_start, initargs=(args,)) as pool:
        held = [pool.submit(_held, args.out / "held", k, c) for k, c in enumerate(chunks)]
        done = list(pool.map(_even, [args.out / "even"] * len(passes), passes))
        for k in range(0, len(numbers), 2 * args.workers):
            if time.monotonic() - began > 60 * args.minutes:
                break
            part = numbers[k : k + 2 * args.workers]
            done += pool.map(_batch, [args.out / "features"] * len(part), part)
            if k % (20 * args.workers) == 0:
                minutes = (time.monotonic() - began) / 60
                print(f"{len(done)} batches in {minutes:.1f} minutes", flush=True)
        return [h.result() for h in held], done


def drawn(
    made: list[Path], args: argparse.Namespace, clips: Clips
) -> tuple[Floats32, Floats32, NDArray[np.int64]]:
    """Features, labels and clips of the batches ``made``, or of all of ``--run``."""
    files = [(path, 0) for path in made]
    for number, run in enumerate(args.run):
        first = clips.place.index((number, 0))
        files += [(path, first) for kind in ("even", "features")
                  for path in sorted((run / kind).glob("[0-9]*.npz"))]  # fmt: skip
    parts = [(np.load(path), first) for path, first in files]
    index = np.concatenate([part["index"] + first for part, first in parts])
    known, _ = split(clips, set(args.validation.split(",")))
    keep = known[index]
    x = np.concatenate([part["x"] for part, _ in parts])[keep].astype(np.float32)
    return x, np.concatenate([part["y"] for part, _ in parts])[keep], index[keep]


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the linear speech classifier.")
    parser.add_argument("--cache", type=Path, action="append", required=True)
    parser.add_argument("--validation", required=True, help="comma-separated sources")
    parser.add_argument("--distillmos", type=Path, required=True)
    parser.add_argument("--whisper", type=Path, required=True)
    parser.add_argument("--noise", type=Path, help="int16 samples at 16 kHz, .npy")
    parser.add_argument("--batches", type=int, default=800)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--first-batch", type=int, default=30_000_000)
    parser.add_argument("--copies", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.run and len(args.run) != len(args.cache):
        parser.error("give one --run for each --cache")
    torch.set_num_threads(1)
    clips = Clips(args.cache)
    held, made = collect(args, clips)
    jobs = np.array(held_jobs(clips, args.validation))
    index, variant = jobs[:, 0], jobs[:, 1]
    v = np.concatenate([np.load(p)["x"] for p in held]).astype(np.float32)
    x, y, of = drawn(made, args, clips)
    weight = balance(y, np.array([clips.rows[i]["system"] for i in of]))
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    for part in (x, v):
        part -= mean
        part /= deviation
    chosen = choosing(args.validation)
    choice = np.array([clips.rows[i]["source"] in chosen for i in index])
    labels = clips.fake[index].astype(int)

    def figures(s: NDArray[np.float64], half: NDArray[np.bool_]) -> dict[str, float]:
        out = {}
        for kind, name in enumerate(("plain", "wide", "narrow")):
            part = half & (variant == kind)
            out[f"auc_{name}"] = auc(labels[part], s[part])
            if kind == 0:
                out["eer"] = eer(labels[part], s[part])
                out["tpr_at_1fpr"] = tpr_at_fpr(labels[part], s[part])
        out["value"] = 0.6 * out["auc_plain"] + 0.2 * out["auc_wide"] + 0.2 * out["auc_narrow"]
        return {k: round(f, 4) for k, f in out.items()}

    best: dict[str, Any] = {"value": 0.0}
    for context, blocks, penalties in GRID:
        mask, _ = columns(context, blocks)
        for penalty in penalties:
            w, b = fit(np.ascontiguousarray(x[:, mask]), y, penalty, weight)
            s = (v[:, mask] @ w + b).astype(np.float64)
            row = {"context": context, "blocks": blocks, "penalty": penalty, "samples": len(y)}
            entry = {**row, "choice": figures(s, choice), "other": figures(s, ~choice)}
            with open(args.out / "log.jsonl", "a", encoding="utf-8") as log:
                print(json.dumps(entry), file=log)
            print(json.dumps(entry), flush=True)
            value = entry["choice"]["value"]  # type: ignore[index]
            if value > best["value"]:
                best = {**row, "value": value, "w": w, "b": b, "mask": mask, "scores": s}
    np.savez(
        args.out / "validation.npz", index=index, variant=variant, logit=best["scores"],
        choice=choice,
    )  # fmt: skip
    save(args.out / "best.pt", args.distillmos, args.whisper, best, mean, deviation)


def save(
    path: Path, distillmos: Path, whisper: Path, best: dict[str, Any], mean: Floats32,
    deviation: Floats32,
) -> None:  # fmt: skip
    """Both front ends with their share of the classifier, in one file."""
    quality, listener = fronts(distillmos, whisper, best["context"], best["blocks"])
    _, count = columns(best["context"], best["blocks"])
    mean, deviation = mean[best["mask"]], deviation[best["mask"]]
    quality.set_linear(mean[:count], deviation[:count], best["w"][:count], best["b"])
    listener.set_linear(mean[count:], deviation[count:], best["w"][count:], 0.0)
    torch.save(
        {
            "quality": quality.state_dict(), "whisper": listener.state_dict(),
            "context": best["context"], "blocks": best["blocks"], "samples": best["samples"],
        },
        path,
    )  # fmt: skip


if __name__ == "__main__":
    main()
