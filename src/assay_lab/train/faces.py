"""Training recipe of the face model: pairs of a real face and a fake one.

    python -m assay_lab.train.faces --cache DIR --out DIR [--resume] [--device cuda]

Every batch holds as many reals as fakes, in pairs that go through one and the
same geometry and corruption draw where they share a picture: DFDC swaps with
their originals, forgeries with the face they were made from, StyleGAN faces
with FFHQ, and faces of galleries and talking-head clips with photographs.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from torch import Tensor, nn
from torch.nn import functional as F

from assay_lab.benchmark.metrics import auc, tpr_at_fpr
from assay_lab.data import corruptions as c
from assay_lab.data.cache import Cache, Row
from assay_lab.data.faces import decode
from assay_lab.forge import self_blend as forge
from assay_lab.train.loop import Batch, Plan, fit
from assay_lab.train.net import FaceNet, fold_batchnorm, load_imagenet

Image = NDArray[np.uint8]
Rng = np.random.Generator

MEAN = (0.5, 0.5, 0.5)
STD = (0.5, 0.5, 0.5)
MARGIN = 1.0  # serving crop, in longer sides of the face box
PAIRS = {"swap": 7, "forged": 5, "gan": 2, "other": 2}
ONE_SIZE = frozenset({"dfdc"})  # crops without room around the face


def normalise(rgb: Image) -> NDArray[np.float32]:
    """[H, W, 3] uint8 to [3, H, W] float32 in the network's units."""
    mean, std = np.asarray(MEAN, np.float32), np.asarray(STD, np.float32)
    x = (rgb.astype(np.float32) / 255 - mean) / std
    return np.ascontiguousarray(x.transpose(2, 0, 1))


def numbers(text: str) -> NDArray[np.float64]:
    """The numbers of a space-separated manifest field."""
    return np.array([float(v) for v in text.split()])


def window(row: Row, shape: tuple[int, ...], draw: NDArray[np.float64]) -> tuple[int, int, int]:
    """Left, top, side of a jittered square; ``draw`` is five numbers in [0, 1).

    In two of five draws the square may leave the picture, as it does in serving
    for a face at the edge or a picture that is itself a tight crop.
    """
    h, w = shape[0], shape[1]
    box = numbers(row.box)
    free = draw[4] < 0.4
    if row.source in ONE_SIZE or box.size != 4:
        side = min(h, w) * (0.78 + (0.4 if free else 0.22) * draw[0])
        left, top = (w - side) * draw[1], (h - side) * draw[2]
    else:
        span = max(box[2] - box[0], box[3] - box[1])
        side = span * (0.82 + 0.5 * draw[0])
        side = side if free else min(side, h, w)
        left = (box[0] + box[2] - side) / 2 + 0.16 * span * (draw[1] - 0.5)
        top = (box[1] + box[3] - side) / 2 + 0.16 * span * (draw[2] - 0.5)
    s = max(16, round(side))
    if free:
        return round(left), round(top), s
    s = min(s, h, w)
    return int(np.clip(round(left), 0, w - s)), int(np.clip(round(top), 0, h - s)), s


def piece(values: NDArray[Any], left: int, top: int, side: int) -> NDArray[Any]:
    """A square of ``values`` [h, w, ...]; border values repeat outside, as in serving."""
    h, w = values.shape[:2]
    rows = np.clip(np.arange(top, top + side), 0, h - 1)
    columns = np.clip(np.arange(left, left + side), 0, w - 1)
    return values[rows[:, None], columns[None, :]]


def to_size(rgb: Image, size: int, draw: float = 0.0) -> Image:
    """Square resize: the serving kernel for ``draw`` below one half, another one above."""
    if draw < 0.5:
        picture = PillowImage.fromarray(np.ascontiguousarray(rgb))
        return np.asarray(picture.resize((size, size), PillowImage.Resampling.BICUBIC), np.uint8)
    kind = cv2.INTER_AREA if rgb.shape[0] >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (size, size), interpolation=kind), np.uint8)


class Mix:
    """Draws training batches from a cache; ``mix(step)`` depends on seed and step only."""

    def __init__(self, cache: Cache, size: int, seed: int, ramp: int = 2000) -> None:
        self.cache, self.size, self.seed, self.ramp = cache, size, seed, ramp
        self.strength = 1.0
        rows = [(i, r) for i, r in enumerate(cache.rows) if r.use == "train"]
        real = {r.name: i for i, r in rows if r.source == "dfdc" and r.label == "real"}
        swaps: dict[int, list[int]] = defaultdict(list)
        for i, r in rows:
            if r.kind == "face_swap" and r.pair in real:
                swaps[real[r.pair]].append(i)
        # by identity first, or the few people with hundreds of clips dominate
        people: dict[str, list[int]] = defaultdict(list)
        for i in swaps:
            people[cache.rows[i].group].append(i)
        self.people = list(people.values())
        self.swaps = dict(swaps)
        self.gan = [
            [i for i, r in rows if r.source == "140k" and r.label == x] for x in ("real", "fake")
        ]
        photos: dict[str, list[int]] = defaultdict(list)
        fakes: dict[str, list[int]] = defaultdict(list)
        for i, r in rows:
            if r.source in ("dfdc", "140k"):
                continue
            (photos if r.label == "real" else fakes)[r.source].append(i)
        self.photos, self.fakes = list(photos.values()), list(fakes.values())
        pools = [list(real.values()), self.gan[0], [i for p in self.photos for i in p]]
        self.bases = [[i for i in p if cache.rows[i].points] for p in pools]
        self.lean = {i: self._yaw(numbers(cache.rows[i].points)) for p in self.bases for i in p}

    @staticmethod
    def _yaw(points: NDArray[np.float64]) -> float:
        p = points.reshape(5, 2)
        return float((p[2, 0] - p[:2, 0].mean()) / max(abs(p[1, 0] - p[0, 0]), 4.0))

    def picture(self, index: int) -> Image:
        rgb = decode(self.cache.data(index))
        if rgb is None:
            raise ValueError(f"row {index} of the cache does not decode")
        return rgb

    def finish(
        self,
        rgb: Image,
        mask: NDArray[np.float32],
        row: Row,
        seed: int,
        plain: bool = False,
        dull: bool = False,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Crop, flip, corrupt, resize. The draws depend on ``seed`` only."""
        rng = np.random.default_rng(seed)
        draw = rng.random(8)
        x, y, s = window(row, rgb.shape, draw)
        rgb = piece(rgb, x, y, s).astype(np.uint8)
        mask = piece(mask, x, y, s).astype(np.float32)
        if draw[3] < 0.5:
            rgb, mask = rgb[:, ::-1], mask[:, ::-1]
        rgb = np.ascontiguousarray(rgb)
        if dull:
            rgb = c.grey(rgb)
        if s > self.size * 1.3 and draw[7] < 0.7:  # large originals are met at the network's scale
            small = round(self.size * (1 + 0.4 * draw[5]))
            rgb = np.asarray(
                cv2.resize(rgb, (small, small), interpolation=cv2.INTER_AREA), np.uint8
            )
        if not plain:
            rgb = c.chain(rgb, rng, strength=self.strength)
        cells = (self.size // 16, self.size // 16)
        coarse = cv2.resize(np.ascontiguousarray(mask), cells, interpolation=cv2.INTER_AREA)
        return normalise(to_size(rgb, self.size, draw[6])), np.asarray(coarse, np.float32)

    def base(self, rng: Rng) -> tuple[int, list[int]]:
        """A real face with points, and the pool it comes from."""
        pool = self.bases[int(rng.choice(len(self.bases), p=(0.6, 0.18, 0.22)))]
        return int(rng.choice(pool)), pool

    def forged(
        self, index: int, pool: list[int], rng: Rng
    ) -> tuple[Image, Image, NDArray[np.float32]]:
        """The real picture, a forgery of it, and the mask."""
        row = self.cache.rows[index]
        rgb, points = self.picture(index), numbers(row.points).reshape(5, 2)
        how = rng.random()
        if how < 0.52:
            fake, mask = forge.self_blend(rgb, points, rng)
        elif how < 0.78:
            donors = [int(rng.choice(pool)) for _ in range(24)]
            donor = min(donors, key=lambda d: abs(self.lean[d] - self.lean[index]))
            there = numbers(self.cache.rows[donor].points).reshape(5, 2)
            fake, mask = forge.cross_blend(rgb, points, self.picture(donor), there, rng)
        elif how < 0.95:
            fake, mask = forge.inner_edit(rgb, points, rng)
        else:
            fake, mask = forge.upsampling_trace(rgb, rng)
        return rgb, fake, mask

    def pair(
        self, kind: str, rng: Rng
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float32], int, float]]:
        """(input, mask, label, weight of the mask) of one real and one fake."""
        seed, second = (int(v) for v in rng.integers(2**32, size=2))

        def empty(rgb: Image, value: float) -> NDArray[np.float32]:
            return np.full(rgb.shape[:2], value, np.float32)

        if kind == "swap":
            person = self.people[int(rng.integers(len(self.people)))]
            a = int(rng.choice(person))
            b = int(rng.choice(self.swaps[a]))
            rgb, fake = self.picture(a), self.picture(b)
            if rng.random() < 0.4:  # swaps are blurrier than their originals; that must not tell
                how, amount = rng.random(), float(rng.uniform(0.35, 1.0))
                rgb = c.blur(rgb, amount) if how < 0.5 else c.down_up(rgb, 1 - 0.5 * amount)
            rows = self.cache.rows[a], self.cache.rows[b]
            one = self.finish(rgb, empty(rgb, 0), rows[0], seed)
            two = self.finish(fake, empty(fake, 0), rows[1], seed)
            return [(*one, 0, 1.0), (*two, 1, 0.0)]
        if kind == "forged":
            a, pool = self.base(rng)
            rgb, fake, mask = self.forged(a, pool, rng)
            row = self.cache.rows[a]
            one = self.finish(rgb, empty(rgb, 0), row, seed)
            two = self.finish(fake, mask, row, seed)
            return [(*one, 0, 1.0), (*two, 1, 1.0)]
        if kind == "gan":
            a, b = (int(rng.choice(p)) for p in self.gan)
        else:
            a = int(rng.choice(self.photos[int(rng.integers(len(self.photos)))]))
            b = int(rng.choice(self.fakes[int(rng.integers(len(self.fakes)))]))
        dull = self.cache.rows[a].source == "expressions" or rng.random() < 0.05
        rgb, fake = self.picture(a), self.picture(b)
        one = self.finish(rgb, empty(rgb, 0), self.cache.rows[a], seed, dull=dull)
        two = self.finish(fake, empty(fake, 1), self.cache.rows[b], second, dull=dull)
        return [(*one, 0, 1.0), (*two, 1, 0.0)]

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        # traces are learned from clear pictures first, then held on to in corrupted ones
        self.strength = 0.35 + 0.4 * min(1.0, step / self.ramp)
        items = [it for kind, n in PAIRS.items() for _ in range(n) for it in self.pair(kind, rng)]
        x, mask, label, weight = zip(*items, strict=True)
        return {
            "x": torch.from_numpy(np.stack(x)).contiguous(memory_format=torch.channels_last),
            "mask": torch.from_numpy(np.stack(mask)),
            "y": torch.tensor(label, dtype=torch.float32),
            "weight": torch.tensor(weight, dtype=torch.float32),
        }


def loss(net: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy with smoothed labels, plus the mask where it is known."""
    assert isinstance(net, FaceNet)
    logit, where = net.training_outputs(batch["x"])
    y = batch["y"]
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


def centred(row: Row, rgb: Image, margin: float = MARGIN) -> Image:
    """The crop that serving makes: a square of ``margin`` face boxes; one-size crops stay whole."""
    box = numbers(row.box)
    if row.source in ONE_SIZE or box.size != 4:
        return rgb
    h, w = rgb.shape[:2]
    side = min(margin * max(box[2] - box[0], box[3] - box[1]), h, w)
    left = float(np.clip((box[0] + box[2] - side) / 2, 0, w - side))
    top = float(np.clip((box[1] + box[3] - side) / 2, 0, h - side))
    a, b, s = round(left), round(top), int(side)
    return np.ascontiguousarray(rgb[b : b + s, a : a + s])


def validation_rows(cache: Cache, most: int = 300) -> dict[str, list[int]]:
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


def scores(
    net: nn.Module, pictures: list[Image], size: int, device: str = "cpu"
) -> NDArray[np.float64]:
    """Logits of face crops."""
    out = []
    with torch.no_grad():
        for at in range(0, len(pictures), 32):
            x = np.stack([normalise(to_size(p, size)) for p in pictures[at : at + 32]])
            out.append(net(torch.from_numpy(x).to(device))[0].float().cpu().numpy())
    return np.concatenate(out).astype(np.float64)


PANELS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "dfdc": (("dfdc:real",), ("dfdc:fake",)),
    "140k": (("140k:real",), ("140k:fake",)),
    "generated": (
        ("tt_openimages:real", "sg3_ffhq:real"),
        ("mjprofile:fake", "songguo:fake", "sg3r:fake"),
    ),
    "reenacted": (("LivePortrait:real",), ("loopy:fake", "omnihuman:fake")),
}


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
                    pictures.append(centred(cache.rows[i], rgb))
            by_set[name] = scores(net, pictures, size, device)
        result: dict[str, float] = {}
        for panel, (real, fake) in PANELS.items():
            a = [by_set[k] for k in real if k in by_set]
            b = [by_set[k] for k in fake if k in by_set]
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
        for k in ("dfdc:real", "expressions:real", "tt_openimages:real")
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
        real.append(centred(row, rgb))
        fake.append(centred(row, forge.self_blend(rgb, points, rng)[0]))
        if there is not None:
            where = numbers(cache.rows[other].points).reshape(5, 2)
            parts.append(centred(row, forge.cross_blend(rgb, points, there, where, rng)[0]))
    a, b, d = (scores(net, p, size, device) for p in (real, fake, parts))
    return {
        "self_blend": round(auc(np.r_[a * 0, b * 0 + 1], np.r_[a, b]), 4),
        "cross_blend": round(auc(np.r_[a * 0, d * 0 + 1], np.r_[a, d]), 4),
    }


def main(argv: list[str] | None = None) -> None:
    """Command line of the recipe."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--cache", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--resume", action="store_true")
    p.add_argument("--device", default="cpu")
    p.add_argument("--size", type=int, default=192)
    p.add_argument("--steps", type=int, default=5000)
    p.add_argument("--lr", type=float, default=5e-4)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--processes", type=int, default=1, help="processes that average their weights")
    p.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    p.add_argument("--eval-every", type=int, default=500)
    p.add_argument("--ramp", type=int, default=2000, help="steps until corruption is strongest")
    p.add_argument("--freeze", type=int, default=0, help="blocks that are no longer trained")
    p.add_argument("--start", type=Path, help="checkpoint whose average is the starting point")
    p.add_argument("--fold", action="store_true", help="fold batch normalisation before training")
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
    net = FaceNet()
    load_imagenet(net)
    if a.fold:
        fold_batchnorm(net)
    if a.start:
        net.load_state_dict(torch.load(a.start, map_location="cpu", weights_only=True)["average"])
    if a.freeze:
        net.freeze(a.freeze)
    plan = Plan(
        a.steps, lr=a.lr, warmup=min(100, 1 + a.steps // 10), seed=a.seed,
        threads=a.threads, workers=a.workers,
        device=a.device, eval_every=a.eval_every, peers=a.processes, rank=a.rank,
    )  # fmt: skip
    fit(
        net,
        loss,
        functools.partial(Mix.__call__, Mix(cache, a.size, a.seed + 1_000_003 * a.rank, a.ramp)),
        a.out,
        plan,
        evaluate=validator(cache, a.size, a.device),
        resume=a.resume,
    )
    for other in others:
        other.wait()


if __name__ == "__main__":
    main()
