"""A seeded training loop: log, checkpoint, resume, moving average of the weights.

Batches are a function of (seed, step) alone, so a resumed run sees what an
uninterrupted one would have seen. Checkpoints hold plain tensors and numbers
and are loaded with ``weights_only``.
"""

from __future__ import annotations

import copy
import datetime
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, Dataset

Batch = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that steers a run.

    ``steps`` fixes the cosine schedule; ``minutes`` (0: no limit) shortens it so that a run
    on a machine of unknown speed ends its schedule in that time; how far it came is logged.
    """

    steps: int
    lr: float = 4e-4
    warmup: int = 100
    weight_decay: float = 0.02
    clip: float = 2.0
    ema: float = 0.997
    seed: int = 1
    threads: int = 2
    workers: int = 1
    save_every: float = 180.0  # seconds
    eval_every: int = 1000  # steps
    device: str = "cpu"
    peers: int = 1  # processes that train alike on other batches and average their weights
    rank: int = 0
    sync: int = 10  # steps between averages
    minutes: float = 0.0


def average_peers(net: nn.Module, peers: int, progress: float) -> float:
    """Replace every floating tensor of ``net`` by its mean over the processes.

    Returns the mean ``progress``, so that all follow one schedule.

    Local SGD (Stich 2019): on cores that others use too, rare averaging loses
    less time to waiting than a shared gradient in every step.
    """
    tensors = [t for t in net.state_dict().values() if t.dtype.is_floating_point]
    flat = torch.cat([*(t.reshape(-1) for t in tensors), torch.tensor([progress])])
    distributed.all_reduce(flat)
    flat /= peers
    at = 0
    with torch.no_grad():
        for t in tensors:
            t.copy_(flat[at : at + t.numel()].view_as(t))
            at += t.numel()
    return float(flat[at])


class Steps(Dataset[Batch]):
    """``make(step)`` for every step: the batch is built inside the worker."""

    def __init__(self, make: Callable[[int], Batch], steps: int, start: int) -> None:
        self._make, self._steps, self._start = make, steps, start

    def __len__(self) -> int:
        return self._steps - self._start

    def __getitem__(self, index: int) -> Batch:
        return self._make(self._start + index)


def rate(step: int, plan: Plan, progress: float) -> float:
    """Learning rate: linear warm-up over steps, times a cosine of ``progress`` to one per cent."""
    warm = min(1.0, (step + 1) / plan.warmup)
    return plan.lr * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def _quiet_worker(_: int) -> None:
    torch.set_num_threads(1)
    import cv2

    cv2.setNumThreads(1)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a kill midway leaves the old one whole."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def fit(
    net: nn.Module,
    loss: Callable[[nn.Module, Batch], tuple[Tensor, dict[str, float]]],
    make: Callable[[int], Batch],
    out: Path,
    plan: Plan,
    *,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    resume: bool = False,
) -> nn.Module:
    """Train ``net`` and return the averaged copy; writes ``last.pt`` and ``log.jsonl`` in ``out``.

    ``loss(net, batch)`` returns the loss and numbers to log. ``evaluate`` gets
    the averaged network in evaluation mode every ``eval_every`` steps and at the end.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed + plan.rank)
    chief = plan.rank == 0
    if plan.peers > 1:
        meeting = f"file://{(out / 'peers').absolute()}"
        distributed.init_process_group(
            "gloo", init_method=meeting, rank=plan.rank, world_size=plan.peers,
            timeout=datetime.timedelta(minutes=30),
        )  # fmt: skip
    torch.set_num_threads(plan.threads)
    device = torch.device(plan.device)
    net = net.to(device).to(memory_format=torch.channels_last)
    average = copy.deepcopy(net).requires_grad_(False).eval()
    decay = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    groups = [
        {"params": decay, "weight_decay": plan.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=plan.lr)
    step, spent_before = 0, 0.0
    if resume and (out / "last.pt").exists():
        state = torch.load(out / "last.pt", map_location=device, weights_only=True)
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        if chief:
            torch.set_rng_state(state["rng"].cpu())
        step, spent_before = int(state["step"]), float(state["seconds"])
    log = (out / ("log.jsonl" if chief else f"log-{plan.rank}.jsonl")).open("a", encoding="utf-8")

    def note(**values: Any) -> None:
        log.write(json.dumps(values) + "\n")
        log.flush()

    def checkpoint() -> None:
        save(
            out / "last.pt",
            {
                "net": net.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "rng": torch.get_rng_state(),
                "step": step,
                "seconds": spent_before + time.time() - started,
            },
        )

    started = time.time()
    note(event="start", step=step, plan=asdict(plan), time=time.time())
    loader = DataLoader(
        Steps(make, plan.steps, step),
        batch_size=None,
        num_workers=plan.workers,
        prefetch_factor=4 if plan.workers else None,
        worker_init_fn=_quiet_worker,
    )
    sums: dict[str, float] = {}
    saved, began, since = time.time(), time.time(), 0

    def done() -> float:
        used = spent_before + time.time() - started
        return max(step / plan.steps, used / (60 * plan.minutes) if plan.minutes else 0.0)

    progress = done()
    for batch in loader:
        net.train()
        for group in optimiser.param_groups:
            group["lr"] = rate(step, plan, progress)
        batch = {k: v.to(device) for k, v in batch.items()}
        value, numbers = loss(net, batch)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        size = torch.nn.utils.clip_grad_norm_(net.parameters(), plan.clip)
        if torch.isfinite(size):
            optimiser.step()
        step += 1
        if plan.peers == 1:
            progress = done()
        elif step % plan.sync == 0 or step == plan.steps:
            progress = average_peers(net, plan.peers, done())
        keep = min(plan.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, now in zip(
                average.state_dict().values(), net.state_dict().values(), strict=True
            ):
                if mean.dtype.is_floating_point:
                    mean.lerp_(now, 1 - keep)
                else:
                    mean.copy_(now)
        since += 1
        for k, v in {"loss": float(value.detach()), "norm": float(size), **numbers}.items():
            sums[k] = sums.get(k, 0.0) + v
        if step % 50 == 0:
            spent = (time.time() - began) / since
            note(
                step=step,
                seconds=round(spent, 3),
                **{k: round(v / since, 4) for k, v in sums.items()},
            )
            began, sums, since = time.time(), {}, 0
        if chief and time.time() - saved > plan.save_every:
            checkpoint()
            saved = time.time()
        if chief and evaluate and (step % plan.eval_every == 0 or progress >= 1):
            note(event="validation", step=step, **evaluate(average))
            began, sums, since = time.time(), {}, 0
        if progress >= 1:
            break
    if chief:
        checkpoint()
    log.close()
    if plan.peers > 1:
        distributed.destroy_process_group()
    return average
