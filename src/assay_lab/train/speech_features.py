"""Frozen features of windows of speech, for :mod:`assay_lab.train.speech_head`.

    python -m assay_lab.train.speech_features --cache PAGES --cache MORE --fronts fronts.onnx \
        --workers 2 --out RUN

``fronts.onnx`` is what :mod:`assay_lab.export.speech_fronts` wrote.

Two kinds of windows. ``plain``: the first four seconds of clips of every source and system, as the
product hears them, some through a codec; they are for training and, where the source is left out,
for validation. ``drawn``: batches of :mod:`assay_lab.train.speech_batches`, through rooms, noise
and codecs, for training alone. What is computed is a function of the caches and the seed;
``RUN`` keeps it, so a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from assay_lab.export.onnx_graph import run_onnx, sha256
from assay_lab.train.speech_batches import WINDOW, Clips, prepare, start, window

CHUNK = 16
DRAWN = 3  # the kind of drawn windows; those below are as the product hears them
PER_SOURCE, PER_SYSTEM = 40, 6  # plain clips, at most
Job = tuple[int, int]

_process: dict[str, Any] = {}


def plain_jobs(clips: Clips, seed: int = 1) -> list[Job]:
    """(clip, variant), shuffled: 0 plain; of every fourth clip also 1, wide-band codec; of every
    fourth also 2, narrow-band."""
    rng = np.random.default_rng(seed)
    count: dict[tuple[str, str], int] = {}
    picked: list[int] = []
    for i in rng.permutation(np.flatnonzero(~clips.doubtful)):
        row = clips.rows[i]
        fake = bool(clips.fake[i])
        key = (row["source"], row["system"] if fake else "")
        count[key] = count.get(key, 0) + 1
        if count[key] <= (PER_SYSTEM if fake else PER_SOURCE):
            picked.append(int(i))
    jobs = [*((i, 0) for i in picked), *((i, 1) for i in picked[1::4]),
            *((i, 2) for i in picked[::4])]  # fmt: skip
    return [jobs[k] for k in rng.permutation(len(jobs))]


def claim(folder: Path, clips: Clips, fronts: Path) -> None:
    """Write down of which caches, and by which front ends, the features in ``folder`` are.

    Raises ValueError when they are of others.
    """
    path = folder / "caches.json"
    claimed = {"caches": clips.digests, "fronts": sha256(fronts)}
    if not path.exists():
        path.write_text(json.dumps(claimed), encoding="utf-8")
    elif json.loads(path.read_text(encoding="utf-8")) != claimed:
        raise ValueError(f"{folder} holds features of other caches or front ends")


def file_of(folder: Path, kind: str, number: int) -> Path:
    """Where features of a kind, ``plain`` or ``drawn``, stand."""
    return folder / kind / f"{number:06d}.npz"


def _start(args: argparse.Namespace) -> None:
    _process["clips"] = Clips(args.cache)
    start(_process["clips"], args.noise, CHUNK, args.seed)


def _save(path: Path, **arrays: NDArray[Any]) -> None:
    """Whole file or none: a run may be stopped at any time."""
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)
    part.rename(path)


def _features(fronts: Path, x: NDArray[np.float32]) -> NDArray[np.float16]:
    half = [run_onnx(fronts, x[i : i + 4])[0].astype(np.float16) for i in range(0, len(x), 4)]
    return np.concatenate(half)


def _compute(fronts: Path, folder: Path, kind: str, number: int, jobs: list[Job]) -> None:
    """One file of features: of the plain ``jobs``, or of the drawn batch ``number``."""
    if kind == "plain":
        clips: Clips = _process["clips"]
        x = np.stack([window(clips.samples(i, variant), WINDOW, 0) for i, variant in jobs])
        index, variant = np.array(jobs).T
        y = clips.fake[index].astype(np.float32)
    else:
        x, y, index = prepare(number)
        variant = np.full(len(y), DRAWN)
    _save(file_of(folder, kind, number), x=_features(fronts, x), y=y, index=index, variant=variant)


def main() -> None:
    parser = argparse.ArgumentParser(description="Features of windows of speech.")
    parser.add_argument("--cache", type=Path, action="append", required=True)
    parser.add_argument("--fronts", type=Path, required=True)
    parser.add_argument("--noise", type=Path, help="int16 samples at 16 kHz, .npy")
    parser.add_argument("--batches", type=int, default=900, help="of drawn windows")
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("plain", "drawn"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    clips = Clips(args.cache)
    claim(args.out, clips, args.fronts)
    jobs = plain_jobs(clips)
    chunks = [jobs[k : k + CHUNK] for k in range(0, len(jobs), CHUNK)]
    # Both kinds grow alike, so that a run that is stopped has a fair share of each.
    todo = [((k + 0.5) / len(chunks), "plain", k, c) for k, c in enumerate(chunks)]
    todo += [((k + 0.5) / args.batches, "drawn", k, []) for k in range(args.batches)]
    todo = sorted(t for t in todo if not file_of(args.out, t[1], t[2]).exists())
    began, done = time.monotonic(), 0
    running: set[Future[None]] = set()
    with ProcessPoolExecutor(args.workers, initializer=_start, initargs=(args,)) as pool:
        for _, kind, number, part in todo:
            if time.monotonic() - began > 60 * args.minutes:
                break
            running.add(pool.submit(_compute, args.fronts, args.out, kind, number, part))
            if len(running) < 2 * args.workers:
                continue
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for task in finished:
                task.result()
                done += 1
                if done % 50 == 0:
                    minutes = (time.monotonic() - began) / 60
                    print(f"{done} of {len(todo)} in {minutes:.1f} minutes", flush=True)
        for task in running:
            task.result()


if __name__ == "__main__":
    main()
