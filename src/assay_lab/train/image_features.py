"""Features of pictures and patches, stored once for the fits on them.

    python -m assay_lab.train.image_features whole --cache DIR --weights FILE --out DIR/whole.npz
    python -m assay_lab.train.image_features native --cache DIR --weights FILE --out DIR/native.npz

``whole`` sees pictures made small, ``native`` patches at their own scale. What is stored is
known by the hash of the picture in the cache and the number of the view, so that a second
run, or one over a larger cache, computes what is missing only. Training pictures are cut,
rescaled and compressed at random, alike for both classes; validation pictures are taken
as the product takes them, and one in six once more as JPEG 70 or at half size (``VERSIONS``).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from assay.analyzers.image.patches import native_patches
from assay.models.prepare import whole_picture
from assay_lab.data import corruptions as c
from assay_lab.data.cache import Cache, Row
from assay_lab.data.images import MANY, NO_PHOTO, decode, keep_order, picture
from assay_lab.train.image_net import SIZE, WIDTH, Features, load_tower, to_input

Image = NDArray[np.uint8]
Rng = np.random.Generator
Strings = NDArray[np.str_]
TAPS = (2, 3, 4, 5, 6, 7)
CAP, CAP_JUDGED = 80, 40
"""Pictures of a source that are learned and judged, at most; of ``MANY`` more are learned."""
VERSIONS = ("none", "jpeg70", "half_size")
VERSION = 100
"""Views of a validation picture in a version are numbered from this times its place up."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Features ``x`` [n, d] of views and what the cache says of their pictures.

    ``name`` is source and path with a colon between; pictures of a ``group`` leave training
    together.
    """

    x: NDArray[np.float32]
    view: NDArray[np.int64]
    name: Strings
    kind: Strings
    label: Strings
    source: Strings
    use: Strings
    group: Strings
    parts: dict[str, slice]

    @property
    def fake(self) -> NDArray[np.bool_]:
        return np.asarray(self.label == "fake")

    def where(self, at: NDArray[np.bool_]) -> Stored:
        """Those at which ``at`` holds."""
        return Stored(self.x[at], self.view[at], self.name[at], self.kind[at], self.label[at],
                      self.source[at], self.use[at], self.group[at], self.parts)  # fmt: skip

    def once(self) -> Stored:
        """One view of each picture: that of validation where it is there, else the first."""
        validated = set(self.name[self.use == "validation"].tolist())
        twin = np.array([n.removesuffix("#whole") in validated for n in self.name.tolist()])
        return self.where((self.view == 0) & ~((self.use == "train") & twin))


def read(path: Path, cache: Cache) -> Stored:
    """What ``path`` holds of the pictures of ``cache``."""
    held = np.load(path)
    rows = {r.sha256: r for r in cache.rows}
    at = np.array([str(k) in rows for k in held["sha256"]])
    known = [rows[str(k)] for k in held["sha256"][at]]
    fields = ([getattr(r, f) for r in known] for f in ("kind", "label", "source", "use", "group"))
    name = np.array([f"{r.source}:{r.name}" for r in known])
    return Stored(held["x"][at].astype(np.float32), held["view"][at].astype(np.int64), name,
                  *(np.array(f) for f in fields), slices(held["parts"].tolist()))  # fmt: skip


def slices(parts: Iterable[str]) -> dict[str, slice]:
    """Where the named parts stand in a vector of features."""
    return {n: slice(k * WIDTH, (k + 1) * WIDTH) for k, n in enumerate(parts)}


def worn(rgb: Image, rng: Rng) -> Image:
    """A picture as it is met: rescaled, blurred or sharpened, noisy, compressed once or twice."""
    draw = rng.random(9)
    if draw[0] < 0.6:
        factor = float(np.exp(rng.uniform(np.log(0.5), np.log(1.4))))
        factor = max(factor, min(1.0, 128 / min(rgb.shape[:2])))
        rgb = c.resize(rgb, factor, down=c.INTERPOLATIONS[int(draw[1] * 4)])
    if draw[2] < 0.12:
        rgb = c.blur(rgb, float(rng.uniform(0.4, 1.1)))
    elif draw[2] < 0.2:
        rgb = c.sharpen(rgb, float(rng.uniform(0.2, 0.8)))
    if draw[3] < 0.12:
        rgb = c.noise(rgb, float(rng.uniform(1, 5)), rng, grey=draw[4] < 0.5)
    if draw[5] < 0.2:  # an earlier compression on another grid
        rgb = c.jpeg(rgb, int(rng.integers(60, 96)), subsample=draw[6] < 0.7)
        rgb = np.ascontiguousarray(rgb[3:, 5:])
    if draw[7] < 0.8:
        return c.jpeg(rgb, int(rng.integers(50, 98)), subsample=draw[8] < 0.7)
    return c.webp(rgb, int(rng.integers(60, 96))) if draw[7] < 0.92 else rgb


def look(rgb: Image, rng: Rng) -> Image:
    """Most of a whole picture, perhaps mirrored and compressed.

    A light hand: heavily worn whole pictures taught less on unseen sources.
    """
    h, w = rgb.shape[:2]
    tall, wide = (round(v * rng.uniform(0.75, 1.0)) for v in (h, w))
    y, x = int(rng.integers(0, h - tall + 1)), int(rng.integers(0, w - wide + 1))
    part = rgb[y : y + tall, x : x + wide]
    part = np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)
    return c.jpeg(part, int(rng.integers(50, 98))) if rng.random() < 0.6 else part


def patch(rgb: Image, rng: Rng) -> Image:
    """A patch off the grid of its compression, at its own scale."""
    h, w = rgb.shape[:2]
    y, x = int(rng.integers(0, max(1, h - SIZE + 1))), int(rng.integers(0, max(1, w - SIZE + 1)))
    return native_patches(rgb[y : y + SIZE, x : x + SIZE], SIZE).pixels[0]


def version(rgb: Image, how: str) -> Image:
    """A picture as it would be met: plain, JPEG 70, or half size (and JPEG 90)."""
    if how == "jpeg70":
        return c.jpeg(rgb, 70)
    if how == "half_size":
        return c.jpeg(c.resize(rgb, 0.5), 90)
    return rgb


def versions(row: Row) -> Iterator[tuple[int, str]]:
    """First number and name of the versions in which a validation picture is looked at."""
    yield 0, VERSIONS[0]
    chance = int(keep_order(row.name)[:8], 16)
    if chance % 6 == 0:
        place = 1 + chance // 6 % 2
        yield VERSION * place, VERSIONS[place]


def _seed(sha256: str, view: int) -> Rng:
    return np.random.default_rng([int(sha256[:12], 16), view])


def wholes(
    cache: Cache, known: set[tuple[str, int]], views: int
) -> Iterator[tuple[str, int, Image]]:
    """Hash, view and whole picture made small, at most ``CAP`` pictures a source."""
    for i in _order(cache, whole=True):
        row = cache.rows[i]
        if row.use == "validation":
            for v, rgb in _validated(cache, i, known):
                yield row.sha256, v, whole_picture(rgb, SIZE)
            continue
        seen = row.kind not in NO_PHOTO
        numbers = [v for v in range(views if seen else 1) if (row.sha256, v) not in known]
        rgb = decode(cache.data(i)) if numbers else None
        if rgb is None or min(rgb.shape[:2]) < 96:
            continue
        for v in numbers:
            rng = _seed(row.sha256, v)
            yield row.sha256, v, whole_picture(look(rgb, rng) if seen else rgb, SIZE)


def natives(
    cache: Cache, known: set[tuple[str, int]], views: int
) -> Iterator[tuple[str, int, Image]]:
    """Hash, view and patch: of training crops, and of validation pictures as the product picks."""
    for i in _order(cache, whole=False):
        row = cache.rows[i]
        if row.use == "validation":
            for first, rgb in _validated(cache, i, known):
                for v, pixels in enumerate(native_patches(rgb, SIZE).pixels, first):
                    yield row.sha256, v, pixels
            continue
        for v in range(views):
            if (row.sha256, v) not in known:
                rng = _seed(row.sha256, v)
                yield row.sha256, v, patch(worn(picture(cache, i), rng), rng)


def _validated(
    cache: Cache, index: int, known: set[tuple[str, int]]
) -> Iterator[tuple[int, Image]]:
    """Number of the first view and pixels of each version that is not known yet."""
    row = cache.rows[index]
    missing = [(v, how) for v, how in versions(row) if (row.sha256, v) not in known]
    rgb = decode(cache.data(index)) if missing else None
    if rgb is None or min(rgb.shape[:2]) < 96:
        return
    for v, how in missing:
        yield v, version(rgb, how)


def _order(cache: Cache, *, whole: bool) -> Iterator[int]:
    """Rows to look at, validation first, in an order that does not depend on the cache.

    Capped a source, but for those of which no picture is learned (``_held``).
    """
    taken: Counter[tuple[str, str]] = Counter()

    def place(i: int) -> tuple[bool, str]:
        row = cache.rows[i]
        return row.use != "validation", keep_order(row.name)

    for i in sorted(range(len(cache.rows)), key=place):
        row = cache.rows[i]
        small = row.name.endswith("#whole")
        if (row.use == "train" and small != whole) or (row.kind in NO_PHOTO and not whole):
            continue
        key = (row.source, row.use)
        taken[key] += 1
        judged = CAP if row.source.endswith("_held") else CAP_JUDGED
        if taken[key] <= (MANY.get(row.source, CAP) if row.use == "train" else judged):
            yield i


def tower(taps: tuple[int, ...], weights: Path) -> Features:
    """The tower with its matrices rounded as they are served."""
    net = Features(taps)
    load_tower(net, weights)
    return net.eval()


def extract(jobs: Iterator[tuple[str, int, Image]], net: Features, out: Path) -> None:
    """Add what ``net`` says of ``jobs`` to ``out``; it is written anew every 4096 views.

    It multiplies in sixteen bits where the processor can, in half the time: features move by
    half a hundredth of their deviation.
    """
    keys: list[tuple[str, int]] = []
    found: list[NDArray[np.float16]] = []
    if out.exists():
        held = np.load(out)
        keys = list(zip(held["sha256"].tolist(), held["view"].tolist(), strict=True))
        found = [held["x"]]
    waiting: list[Image] = []
    sixteen: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()

    def flush() -> None:
        batch = to_input(torch.from_numpy(np.stack(waiting))).contiguous()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=sixteen):
            found.append(net(batch).float().numpy().astype(np.float16))
        waiting.clear()

    def save() -> None:
        part = out.with_suffix(".part.npz")
        sha, view = zip(*keys, strict=True)
        np.savez(part, x=np.concatenate(found), sha256=np.array(sha), view=np.array(view),
                 parts=np.array(net.parts))  # fmt: skip
        part.replace(out)
        print(json.dumps({"views": len(keys)}), flush=True)

    for sha256, view, pixels in jobs:
        waiting.append(pixels)
        keys.append((sha256, view))
        if len(waiting) == 16:
            flush()
            if len(keys) % 4096 < 16:
                save()
    if waiting:
        flush()
    save()


def known(path: Path) -> set[tuple[str, int]]:
    """Hash and view of what is stored."""
    if not path.exists():
        return set()
    held = np.load(path)
    return set(zip(held["sha256"].tolist(), held["view"].tolist(), strict=True))


def main(argv: list[str] | None = None) -> None:
    """Command line of the extraction."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("what", choices=("whole", "native"))
    p.add_argument("--cache", type=Path, required=True)
    p.add_argument("--weights", type=Path, required=True, help="ONNX file of the tower")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--taps", type=int, nargs="+", default=TAPS, help="blocks, counted from 1")
    p.add_argument("--views", type=int, default=1, help="of each training picture or crop")
    a = p.parse_args(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    a.out.parent.mkdir(parents=True, exist_ok=True)
    jobs = (wholes if a.what == "whole" else natives)(Cache(a.cache), known(a.out), a.views)
    extract(jobs, tower(tuple(a.taps), a.weights), a.out)


if __name__ == "__main__":
    main()
