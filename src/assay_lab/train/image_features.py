"""Features of pictures and patches, stored once for the fits on them.

    python -m assay_lab.train.image_features whole --cache DIR --weights FILE --out DIR/whole.npz
    python -m assay_lab.train.image_features native --cache DIR --weights FILE --out DIR/native.npz

``whole`` sees pictures made small, ``native`` patches at their own scale. What is stored is
known by the hash of the picture in the cache and the number of the view, so that a second
run, or one over a larger cache, computes what is missing only. Training pictures are cut,
rescaled and compressed at random, alike for both classes; validation pictures are taken
as the product takes them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
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
from assay.models.runtime import open_network
from assay_lab.data import corruptions as c
from assay_lab.data.cache import Cache
from assay_lab.data.images import MANY, NO_PHOTO, decode, keep_order, picture
from assay_lab.export import four_bits
from assay_lab.train.image_net import SIZE, WIDTH, Features, load_tower, to_input

Image = NDArray[np.uint8]
Rng = np.random.Generator
Strings = NDArray[np.str_]
TAPS = (2, 3, 4, 5, 6, 7)
CAP = 80
"""Pictures of a source, at most, but for those of ``MANY``."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Features ``x`` [n, d] of views and what the cache says of their pictures.

    ``name`` is source and path with a colon between.
    """

    x: NDArray[np.float32]
    view: NDArray[np.int64]
    name: Strings
    kind: Strings
    label: Strings
    source: Strings
    use: Strings
    parts: dict[str, slice]

    @property
    def fake(self) -> NDArray[np.bool_]:
        return np.asarray(self.label == "fake")

    def where(self, at: NDArray[np.bool_]) -> Stored:
        """Those at which ``at`` holds."""
        return Stored(self.x[at], self.view[at], self.name[at], self.kind[at], self.label[at],
                      self.source[at], self.use[at], self.parts)  # fmt: skip


def read(path: Path, cache: Cache) -> Stored:
    """What ``path`` holds of the pictures of ``cache``."""
    held = np.load(path)
    rows = {r.sha256: r for r in cache.rows}
    at = np.array([str(k) in rows for k in held["sha256"]])
    known = [rows[str(k)] for k in held["sha256"][at]]
    fields = ([getattr(r, f) for r in known] for f in ("kind", "label", "source", "use"))
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


def _seed(sha256: str, view: int) -> Rng:
    return np.random.default_rng([int(sha256[:12], 16), view])


def wholes(
    cache: Cache, known: set[tuple[str, int]], views: int
) -> Iterator[tuple[str, int, Image]]:
    """Hash, view and whole picture made small, at most ``CAP`` pictures a source."""
    for i in _order(cache, whole=True):
        row = cache.rows[i]
        seen = row.use == "train" and row.kind not in NO_PHOTO
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
        if row.use == "train":
            for v in range(views):
                if (row.sha256, v) not in known:
                    rng = _seed(row.sha256, v)
                    yield row.sha256, v, patch(worn(picture(cache, i), rng), rng)
            continue
        rgb = decode(cache.data(i)) if (row.sha256, 0) not in known else None
        if rgb is not None and min(rgb.shape[:2]) >= 96:
            for v, pixels in enumerate(native_patches(rgb, SIZE).pixels):
                yield row.sha256, v, pixels


def _order(cache: Cache, *, whole: bool) -> Iterator[int]:
    """Rows to look at, in an order that does not depend on the cache, capped a source."""
    taken: Counter[tuple[str, str]] = Counter()
    for i in sorted(range(len(cache.rows)), key=lambda i: keep_order(cache.rows[i].name)):
        row = cache.rows[i]
        small = row.name.endswith("#whole")
        if (row.use == "train" and small != whole) or (row.kind in NO_PHOTO and not whole):
            continue
        key = (row.source, row.name[-2:] if row.use == "train" else "")
        taken[key] += 1
        if taken[key] <= MANY.get(row.source, CAP):
            yield i


def served(taps: tuple[int, ...], weights: Path, path: Path) -> Features:
    """Write the tower to ``path`` as it is served, so that heads are fitted on what serves."""
    net = Features(taps)
    four_bits.write(
        net.eval(), torch.zeros(2, 3, SIZE, SIZE), path, ("features",), load_tower(net, weights)
    )
    return net


def extract(
    jobs: Iterator[tuple[str, int, Image]], parts: Iterable[str], tower: Path, out: Path
) -> None:
    """Add what ``tower`` says of ``jobs`` to ``out``; it is written anew every 2048 views."""
    keys: list[tuple[str, int]] = []
    found: list[NDArray[np.float16]] = []
    if out.exists():
        held = np.load(out)
        keys = list(zip(held["sha256"].tolist(), held["view"].tolist(), strict=True))
        found = [held["x"]]
    waiting: list[Image] = []
    session = open_network(tower, 1)

    def flush() -> None:
        batch = to_input(torch.from_numpy(np.stack(waiting))).contiguous().numpy()
        found.append(np.asarray(session.run(None, {"input": batch})[0], np.float16))
        waiting.clear()

    def save() -> None:
        part = out.with_suffix(".part.npz")
        sha, view = zip(*keys, strict=True)
        np.savez(part, x=np.concatenate(found), sha256=np.array(sha), view=np.array(view),
                 parts=np.array(tuple(parts)))  # fmt: skip
        part.replace(out)
        print(json.dumps({"views": len(keys)}), flush=True)

    for sha256, view, pixels in jobs:
        waiting.append(pixels)
        keys.append((sha256, view))
        if len(waiting) == 8:
            flush()
            if len(keys) % 2048 < 8:
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
    with tempfile.TemporaryDirectory() as folder:
        tower = Path(folder) / "tower.npz"
        net = served(tuple(a.taps), a.weights, tower)
        extract(jobs, net.parts, tower, a.out)


if __name__ == "__main__":
    main()
