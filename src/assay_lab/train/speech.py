"""Train a branch of the speech network on cached clips.

``python -m assay_lab.train.speech --branch whisper --cache A --cache B --validation SOURCES
--whisper-weights model.bin --out RUN --minutes 60``

Seeded; one JSON line per report in ``RUN/log.jsonl``; ``RUN/last.pt`` holds everything that
``--resume`` needs, ``RUN/best.pt`` the averaged weights with the best validation figure.
Sources named in ``--validation`` are never trained on; of them only the systems that no
training source has are validated with. The learning rate follows a cosine over ``--steps`` or
``--minutes``, whichever ends first (with ``--minutes`` a run depends on the machine's speed).
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from assay_lab.benchmark.logistic import fit_logistic
from assay_lab.benchmark.metrics import auc, eer, tpr_at_fpr
from assay_lab.train.speech_batches import Clips, clip_windows, prepare, split, start
from assay_lab.train.speech_net import SpectrumNet, SpeechNet, WhisperNet


@torch.inference_mode()
def score(
    net: nn.Module, clips: Clips, which: NDArray[np.int64], variant: int = 0
) -> NDArray[np.float64]:
    """Mean logit over the windows of each clip."""
    net.eval()
    out = np.zeros(which.size)
    for first in range(0, which.size, 16):
        parts = [clip_windows(clips.samples(int(i), variant)) for i in which[first : first + 16]]
        logits = net(torch.from_numpy(np.concatenate(parts))).double().numpy()
        ends = np.cumsum([len(p) for p in parts])
        out[first : first + len(parts)] = [p.mean() for p in np.split(logits, ends[:-1])]
    return out


def build(branch: str, blocks: int, weights: Path | None) -> SpeechNet:
    spectrum = SpectrumNet((16, 32, 64, 128)) if branch in ("spectrum", "both") else None
    whisper = WhisperNet(blocks) if branch in ("whisper", "both") else None
    if whisper is not None and weights is not None:
        whisper.load_whisper(weights)
    return SpeechNet(spectrum, whisper)


def warm_start(net: WhisperNet, pool: ProcessPoolExecutor, batches: int) -> float:
    """Start from a linear fit on the pretrained features; returns its AUC on what it saw."""
    net.eval()
    found, labels = [], []
    for work in [pool.submit(prepare, 10_000_000 + k) for k in range(batches)]:
        x, y, _, mask = (torch.from_numpy(part) for part in work.result())
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            found.append(net.features(x, mask).float().numpy())
        labels.append(y.numpy())
    features, y = np.concatenate(found), np.concatenate(labels)
    count = 2 * net.size * len(net.blocks)
    scaled = (features - features.mean(0)) / np.sqrt(features.var(0) + 1e-4)
    weights = fit_logistic(scaled[:, :count], y, ridge=1000.0, rounds=8)
    net.warm_start(features, weights[:-1], float(weights[-1]))
    return auc(y.astype(int), scaled[:, :count] @ weights[:-1])


def groups(net: SpeechNet, rate: float, encoder_rate: float) -> list[dict[str, Any]]:
    """Parameter groups: pretrained parts at their own rate, no decay on vectors."""
    out: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, p in net.named_parameters():
        pretrained = name.startswith(("whisper.conv", "whisper.blocks", "whisper.place"))
        out.setdefault((pretrained, p.ndim > 1), []).append(p)
    return [
        {
            "params": ps,
            "base": encoder_rate if pre else rate,
            "weight_decay": 0.02 if decay else 0.0,
        }
        for (pre, decay), ps in out.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a branch of the speech network.")
    parser.add_argument("--branch", choices=("spectrum", "whisper", "both"), required=True)
    parser.add_argument("--cache", type=Path, action="append", required=True)
    parser.add_argument("--validation", required=True, help="comma-separated sources")
    parser.add_argument("--noise", type=Path, help="int16 samples at 16 kHz, .npy")
    parser.add_argument("--whisper-weights", type=Path)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--encoder-rate", type=float, default=1e-4)
    parser.add_argument("--warm-batches", type=int, default=90)
    parser.add_argument("--copies", type=float, default=0.25)
    parser.add_argument("--smoothing", type=float, default=0.02)
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    clips = Clips(args.cache)
    train, held = split(clips, set(args.validation.split(",")))
    net = build(args.branch, args.blocks, args.whisper_weights).to(args.device)
    if net.spectrum is not None:
        net.spectrum.to(memory_format=torch.channels_last)
    average = copy.deepcopy(net)
    average.eval()
    optimizer = torch.optim.AdamW(groups(net, args.rate, args.encoder_rate), lr=args.rate)
    step, spent, best = 0, 0.0, 0.0
    kind = {"branch": args.branch, "blocks": args.blocks}
    if args.resume:
        state = torch.load(args.out / "last.pt", map_location=args.device, weights_only=True)
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent, best = state["step"], state["spent"], state["best"]

    def say(**entry: Any) -> None:
        with open(args.out / "log.jsonl", "a", encoding="utf-8") as log:
            print(json.dumps(entry), file=log)
        print(json.dumps(entry), flush=True)

    settings = (args.cache, args.validation, args.copies, args.noise, args.batch, args.seed)
    pool = ProcessPoolExecutor(1, initializer=start, initargs=settings)
    if net.whisper is not None and not args.resume:
        fitted = warm_start(net.whisper, pool, args.warm_batches)
        average.load_state_dict(net.state_dict())
        say(warm_start=args.warm_batches * args.batch, auc_on_itself=round(fitted, 4))
    ahead: deque[Future[tuple[NDArray[Any], ...]]] = deque()

    say(
        clips=len(clips.rows),
        train=int(train.sum()),
        held=held.size,
        held_fake=int(clips.fake[held].sum()),
    )
    began, losses = time.monotonic() - spent, []
    done = False
    while not done:
        progress = max(step / args.steps, (time.monotonic() - began) / (60 * args.minutes))
        done = progress >= 1
        warm = min(1.0, (step + 1) / 100)
        for group in optimizer.param_groups:
            group["lr"] = (
                group["base"] * warm * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * min(1, progress))))
            )
        net.train()
        while len(ahead) < 4:
            ahead.append(pool.submit(prepare, step + len(ahead)))
        x, y, wide, mel = (
            torch.from_numpy(part).to(args.device) for part in ahead.popleft().result()
        )
        masks = (wide, mel)
        with torch.autocast(args.device, torch.bfloat16):
            parts = net.parts(x, masks)
        goal = y * (1 - 2 * args.smoothing) + args.smoothing
        loss = torch.stack(
            [F.binary_cross_entropy_with_logits(p.float(), goal) for p in parts]
        ).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        step += 1
        keep = min(0.995, (1 + step) / (10 + step))
        with torch.no_grad():
            for a, b in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
                a.lerp_(b, 1 - keep) if a.is_floating_point() else a.copy_(b)
        if step % 50 == 0:
            say(
                step=step,
                loss=round(float(np.mean(losses[-50:])), 4),
                minutes=round((time.monotonic() - began) / 60, 2),
                progress=round(progress, 3),
            )
        if step % args.every == 0 or done:
            figures = {}
            use = held if done else held[:: max(1, held.size // 500)]
            labels = clips.fake[use].astype(int)
            for variant, name in ((0, "clean"), (2, "narrow")):
                s = score(average, clips, use, variant)
                figures[f"auc_{name}"] = round(auc(labels, s), 4)
                figures[f"eer_{name}"] = round(eer(labels, s), 4)
                figures[f"tpr1_{name}"] = round(tpr_at_fpr(labels, s), 4)
            say(step=step, **figures)
            value = 0.6 * figures["auc_clean"] + 0.4 * figures["auc_narrow"]
            if value >= best:
                best = value
                torch.save({"net": average.state_dict(), **kind}, args.out / "best.pt")
            state = {"net": net.state_dict(), "average": average.state_dict()}
            state |= {"optimizer": optimizer.state_dict(), "step": step, "best": best, **kind}
            torch.save({**state, "spent": time.monotonic() - began}, args.out / "last.pt")
    pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    main()
