"""Train the head of the generated-image model on frozen features.

    python -m assay_lab.train.images views --cache DIR --dino FILE --out DIR [--part 0 --parts 2]
    python -m assay_lab.train.images held --cache DIR --dino FILE --out DIR
    python -m assay_lab.train.images fit --out DIR

``views`` puts every training crop, and aligned pairs, through one random pipeline that
is the same for both classes, and stores features; ``held`` does the same for patches of
the validation pictures as the product picks them; ``fit`` chooses the taps and the ridge by
cross-validation over groups of training sources and writes ``head.npz``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from assay.analyzers.image.patches import native_patches
from assay_lab.benchmark.metrics import auc
from assay_lab.data import corruptions as c
from assay_lab.data.cache import Cache
from assay_lab.data.images import decode, keep_order, picture
from assay_lab.forge.aligned import blend, energy, match_sharpness, resampled
from assay_lab.train.image_net import MEAN, SIZE, STD, TAPS, WIDTH, Features, load_dino

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Rng = np.random.Generator


def view(rgb: Image, seed: int, *, soften: float | None = None) -> Image:
    """One training patch: rescale, blur, noise, JPEG or WebP, crop off the grid.

    The draws depend on ``seed`` only, so that aligned pairs go the same way. ``soften``
    is a detail energy that the patch is blurred down to, if it is above.
    """
    rng = np.random.default_rng(seed)
    draw = rng.random(12)
    if draw[0] < 0.6:
        factor = float(np.exp(np.log(0.5) + draw[1] * np.log(3.0)))
        factor = max(factor, min(1.0, 110 / min(rgb.shape[:2])))
        rgb = c.resize(rgb, factor, down=c.INTERPOLATIONS[int(draw[2] * 4)])
    room = SIZE + 16
    y = int(draw[3] * max(0, rgb.shape[0] - room))
    x = int(draw[4] * max(0, rgb.shape[1] - room))
    rgb = np.ascontiguousarray(rgb[y : y + room, x : x + room])
    if draw[5] < 0.5:
        rgb = np.ascontiguousarray(rgb[:, ::-1])
    if soften is not None:
        rgb = match_sharpness(rgb, soften)
    if draw[6] < 0.12:
        rgb = c.blur(rgb, float(rng.uniform(0.4, 1.1)))
    elif draw[6] < 0.2:
        rgb = c.sharpen(rgb, float(rng.uniform(0.2, 0.8)))
    if draw[7] < 0.12:
        sigma = float(rng.uniform(1, 5))
        rgb = c.noise(rgb, sigma, rng, grey=draw[8] < 0.5, grain=0.0 if draw[9] < 0.5 else 0.6)
    if draw[10] < 0.75:
        rgb = c.jpeg(rgb, int(rng.integers(50, 98)), subsample=draw[11] < 0.7)
        if draw[11] < 0.25:
            rgb = c.jpeg(np.ascontiguousarray(rgb[3:, 5:]), int(rng.integers(60, 96)))
    elif draw[10] < 0.87:
        rgb = c.webp(rgb, int(rng.integers(60, 96)))
    h, w = rgb.shape[:2]
    y, x = int(rng.integers(0, max(1, h - SIZE + 1))), int(rng.integers(0, max(1, w - SIZE + 1)))
    return native_patches(rgb[y : y + SIZE, x : x + SIZE], SIZE).pixels[0]


def tensor(patches: list[Image]) -> torch.Tensor:
    """Normalised NCHW float32."""
    x = (np.stack(patches).astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()


class Extractor:
    """Patches to features, in batches; bfloat16 inside the blocks."""

    def __init__(self, dino: Path) -> None:
        self.net = Features().eval()
        load_dino(self.net, dino)

    def __call__(self, patches: list[Image]) -> NDArray[np.float16]:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return np.asarray(self.net(tensor(patches)).float().numpy(), np.float16)


Job = tuple[str, str, str, list[Image]]  # source, label, kind of pair, patches


def training_jobs(
    cache: Cache,
    extra: Cache | None,
    part: int,
    parts: int,
    *,
    after: int = 0,
    paired: bool = True,
    seed: int = 11,
) -> Iterator[Job]:
    """Views of every training crop in random order, one aligned pair after every second.

    ``after`` leaves out so many crops of this part; ``paired`` makes the pairs.
    """
    rows = [i for i, r in enumerate(cache.rows) if r.use == "train"]
    real = [i for i in rows if cache.rows[i].label == "real" and cache.rows[i].kind == "photo"]
    twins: dict[str, dict[str, int]] = defaultdict(dict)
    for i in rows:
        if cache.rows[i].source in ("recon_taef2", "taef2_twin"):
            twins[cache.rows[i].group][cache.rows[i].label] = i
    pairs = [(t["real"], t["fake"]) for t in twins.values() if len(t) == 2]
    by_sha = {cache.rows[i].sha256: i for i in real}
    made = [] if extra is None else [(n, by_sha[r.pair]) for n, r in enumerate(extra.rows)]
    levels = [energy(picture(cache, int(i))) for i in real[:: max(1, len(real) // 200)]]
    order = np.random.default_rng(5).permutation(rows)
    for n, i in enumerate(order.tolist()):
        if n % parts != part or n // parts < after:
            continue
        row, rng = cache.rows[i], np.random.default_rng([seed, n])
        draws = int(rng.integers(2**40))
        soften = float(rng.choice(levels)) if rng.random() < 0.4 else None
        yield row.source, row.label, "plain", [view(picture(cache, i), draws, soften=soften)]
        if not paired or (n // parts) % 2:
            continue
        how = rng.random()
        if pairs and how < 0.45:
            a, b = pairs[int(rng.integers(len(pairs)))]
            one, two, kind = picture(cache, a), picture(cache, b), "taef2"
        elif made and how < 0.8:
            b, a = made[int(rng.integers(len(made)))]
            one, two, kind = picture(cache, a), picture(extra, b), extra.rows[b].generator  # type: ignore[arg-type,union-attr]
        else:
            a = int(rng.choice(real))
            one = picture(cache, a)
            two, kind = resampled(one, rng), "resampled"
        if kind != "resampled":
            two = blend(one, two, rng)
        if rng.random() < 0.7:
            one = match_sharpness(one, energy(two))
        draws = int(rng.integers(2**40))
        source = f"aligned:{cache.rows[a].source}"
        yield source, "real", kind, [view(one, draws)]
        yield source, "fake", kind, [view(two, draws)]


VERSIONS = ("none", "jpeg70", "half_size")


def version(rgb: Image, how: str) -> Image:
    """A whole picture as it would be met: plain, JPEG 70, or half size (and JPEG 90)."""
    if how == "jpeg70":
        return c.jpeg(rgb, 70)
    if how == "half_size":
        return c.jpeg(c.resize(rgb, 0.5), 90)
    return rgb


def held_jobs(cache: Cache, part: int, parts: int) -> Iterator[Job]:
    """Patches of the validation pictures, as the product picks them; kind is the version."""
    rows = [i for i, r in enumerate(cache.rows) if r.use == "validation"]
    order = np.random.default_rng(3).permutation(rows).tolist()
    for n, i in enumerate(order):
        if n % parts != part:
            continue
        rgb = decode(cache.data(i))
        if rgb is None or min(rgb.shape[:2]) < 96:
            continue
        # plain for all; JPEG 70 and half size for a third each
        for how in ("none", *VERSIONS[1 + n % 3 : 2 + n % 3]):
            seen = version(rgb, how)
            row = cache.rows[i]
            yield row.source, row.label, how, list(native_patches(seen, SIZE).pixels)


def store(jobs: Iterator[Job], extract: Extractor, out: Path, every: int = 400) -> None:
    """Extract in batches of 24 patches; save a growing ``npz`` so that a stop loses little."""
    waiting: list[Job] = []
    rows: list[tuple[str, str, str, int]] = []
    found: list[NDArray[np.float16]] = []
    saved, number, began = 0, 0, time.monotonic()

    def flush() -> None:
        nonlocal waiting, number
        patches = [p for job in waiting for p in job[3]]
        values = extract(patches)
        at = 0
        for source, label, kind, mine in waiting:
            rows.extend((source, label, kind, number) for _ in mine)
            found.append(values[at : at + len(mine)])
            at += len(mine)
            number += 1
        waiting = []

    def save() -> None:
        source, label, kind, item = (np.array(v) for v in zip(*rows, strict=True))
        part = out.with_suffix(".part.npz")
        np.savez(part, x=np.concatenate(found), source=source, label=label, kind=kind, item=item)
        part.replace(out)

    for job in jobs:
        waiting.append(job)
        if sum(len(j[3]) for j in waiting) >= 24:
            flush()
        if len(rows) - saved >= every:
            save()
            saved = len(rows)
            print(len(rows), round(time.monotonic() - began), flush=True)
    if waiting:
        flush()
    save()
    print("done", len(rows), round(time.monotonic() - began), flush=True)


def read(paths: list[Path]) -> dict[str, NDArray[np.generic]]:
    """Several stored parts as one; ``item`` stays unique."""
    parts = [dict(np.load(p)) for p in paths]
    shift = 0
    for part in parts:
        part["item"] = part["item"] + shift
        shift = int(part["item"].max()) + 1
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def weights_of(data: dict[str, NDArray[np.generic]], aligned: float = 0.2) -> Floats:
    """Both classes alike; inside a class sources by the root of their size; a share to pairs."""
    source, label = data["source"].astype(str), data["label"].astype(str)
    paired = np.char.startswith(source, "aligned:")
    w = np.zeros(len(source))
    for which in ("real", "fake"):
        for pairs in (False, True):
            mine = (label == which) & (paired == pairs)
            names, index, count = np.unique(source[mine], return_inverse=True, return_counts=True)
            if not len(names):
                continue
            each = 1 / np.sqrt(count[index])
            w[mine] = each / each.sum() * (aligned if pairs else 1 - aligned)
    return np.asarray(w / w.sum() * len(w), np.float64)


def fold_of(source: str, folds: int = 3) -> int:
    """Sources of one repository fall into one fold."""
    stem = source.removeprefix("aligned:").split("_")[0]
    return int(keep_order(stem)[:8], 16) % folds


def moments(x: Floats32, y: Floats32, w: Floats32) -> tuple[Floats32, Floats32]:
    """Weighted ``X'WX`` and ``X'Wy`` with a column of ones at the end."""
    a = np.c_[x, np.ones(len(x), np.float32)]
    b = a * w[:, None]
    return b.T @ a, b.T @ y


def solve(
    square: Floats32, cross: Floats32, pick: NDArray[np.int64], ridge: float, total: float
) -> Floats:
    """Ridge least squares on the columns ``pick``: ``[len(pick) + 1]``, the bias last.

    On class-balanced +-1 targets this is Fisher's discriminant with a shrunken covariance;
    from the moments of each fold every choice of columns and ridge costs one solve.
    """
    at = np.r_[pick, len(square) - 1]
    left = square[np.ix_(at, at)].copy()
    left[np.arange(len(pick)), np.arange(len(pick))] += ridge * total
    return np.asarray(np.linalg.solve(left, cross[at]), np.float64)


TAP_SETS: tuple[tuple[int, ...], ...] = ((0, 1, 2, 3, 4), (0, 1, 2, 4))
"""Parts of the features: indices of the taps, and 4 for the frequencies."""
RIDGES = (2e-1, 5e-1, 1.0, 2.0)


def columns(parts: tuple[int, ...]) -> NDArray[np.int64]:
    """Columns of the full vector that belong to ``parts``."""
    sizes = (*(2 * WIDTH for _ in TAPS), 189)
    ends = np.cumsum((0, *sizes))
    return np.concatenate([np.arange(ends[k], ends[k + 1]) for k in parts])


def fit(out: Path, folds: int = 3) -> dict[str, object]:
    """Choose parts and ridge on unseen sources, fit on all views, write ``head.npz``.

    The weights are for features as they come, not standardised. The choice is by the mean
    AUC of plain views over folds whose sources (of both classes) were left out.
    """
    data = read(sorted(out.glob("views-*.npz")))
    source = data["source"].astype(str)
    fold = np.array([fold_of(s, folds) for s in source])
    plain = data["kind"] == "plain"
    x = data["x"].astype(np.float32)
    mean, std = x.mean(0), x.std(0) + np.float32(1e-3)
    x = (x - mean) / std
    y = np.where(data["label"].astype(str) == "fake", 1, -1).astype(np.float32)
    w = weights_of(data).astype(np.float32)
    parts_of = [moments(x[fold == k], y[fold == k], w[fold == k]) for k in range(folds)]
    square, cross = sum(p[0] for p in parts_of), sum(p[1] for p in parts_of)
    found: dict[tuple[tuple[int, ...], float], float] = {}
    for parts in TAP_SETS:
        pick = columns(parts)
        for ridge in RIDGES:
            areas = []
            for k, (a, b) in enumerate(parts_of):
                inside = float(w[fold != k].sum())
                beta = solve(square - a, cross - b, pick, ridge, inside)
                test = (fold == k) & plain
                areas.append(auc(y[test] > 0, x[test][:, pick] @ beta[:-1] + beta[-1]))
            found[parts, ridge] = float(np.mean(areas))
    parts, ridge = max(found, key=lambda key: found[key])
    pick = columns(parts)
    beta = solve(square, cross, pick, ridge, float(w.sum()))
    weight = np.zeros(x.shape[1])
    weight[pick] = beta[:-1] / std[pick]
    scale = 1 / float(np.std(x[plain][:, pick] @ beta[:-1]))  # a handy unit; calibration follows
    bias = float(beta[-1] - (weight * mean).sum())
    np.savez(out / "head.npz", weight=weight * scale, bias=bias * scale, parts=np.array(parts))
    table = {f"{p} {r}": round(v, 4) for (p, r), v in sorted(found.items(), key=lambda t: -t[1])}
    return {"views": len(x), "parts": parts, "ridge": ridge, "folds": table}


def main(argv: list[str] | None = None) -> None:
    """Command line of the recipe."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("what", choices=("views", "held", "fit"))
    p.add_argument("--cache", type=Path)
    p.add_argument("--extra", type=Path, help="cache of reconstructions (forge.autoencoders)")
    p.add_argument("--dino", type=Path)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--part", type=int, default=0)
    p.add_argument("--parts", type=int, default=1)
    p.add_argument("--seed", type=int, default=11, help="another seed, another view of each crop")
    p.add_argument("--after", type=int, default=0, help="crops of the part that are done already")
    p.add_argument("--unpaired", action="store_true", help="no aligned pairs")
    a = p.parse_args(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    a.out.mkdir(parents=True, exist_ok=True)
    if a.what == "fit":
        print(json.dumps(fit(a.out), indent=1))
        return
    cache = Cache(a.cache)
    if a.what == "views":
        extra = Cache(a.extra) if a.extra else None
        more = {"after": a.after, "paired": not a.unpaired, "seed": a.seed}
        jobs = training_jobs(cache, extra, a.part, a.parts, **more)
    else:
        jobs = held_jobs(cache, a.part, a.parts)
    store(jobs, Extractor(a.dino), a.out / f"{a.what}-{a.seed}-{a.part}-{a.after}.npz")


if __name__ == "__main__":
    main()
