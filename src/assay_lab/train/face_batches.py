"""Batches for the face model: pairs of a real face and a fake one.

Every batch holds as many reals as fakes, in pairs that go through one and the
same geometry and corruption draw where they share a picture: DFDC swaps with
their originals, forgeries with the face they were made from, GAN faces with
FFHQ and other photographs, and faces of galleries and project pages with
photographs, of the same page where it has any.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage

from assay_lab.data import corruptions as c
from assay_lab.data.cache import Cache, Row
from assay_lab.data.face_crops import decode
from assay_lab.forge import self_blend as forge
from assay_lab.train.loop import Batch

Image = NDArray[np.uint8]
Mask = NDArray[np.float32]
Rng = np.random.Generator

FORGED = 256  # longest side of a picture that is forged, pixels
SMALL = 0.3  # share of faces that are shrunk first
CODECS = 0.35  # share that may pass through a video codec, which is slow
MARGIN = 1.0  # serving crop, in longer sides of the face box
PAIRS = {"swap": 5, "forged": 4, "gan": 2, "other": 5}
APART = 0.6  # share of the GAN faces that are not of the one aligned set, and of their real ones
TOGETHER = 0.6  # share of the others whose real face comes from the page of the fake one


def numbers(text: str) -> NDArray[np.float64]:
    """The numbers of a space-separated manifest field."""
    return np.array([float(v) for v in text.split()])


def window(row: Row, shape: tuple[int, ...], draw: NDArray[np.float64]) -> tuple[int, int, int]:
    """Left, top, side of a jittered square inside the picture; ``draw``: numbers in [0, 1)."""
    h, w = shape[0], shape[1]
    box = numbers(row.box)
    if box.size != 4:
        box = np.array([0.1 * w, 0.1 * h, 0.9 * w, 0.9 * h])
    span = max(box[2] - box[0], box[3] - box[1])
    s = min(max(16, round(span * (0.82 + 0.5 * draw[0]))), h, w)
    left = (box[0] + box[2] - s) / 2 + 0.16 * span * (draw[1] - 0.5)
    top = (box[1] + box[3] - s) / 2 + 0.16 * span * (draw[2] - 0.5)
    return int(np.clip(round(left), 0, w - s)), int(np.clip(round(top), 0, h - s)), s


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
        """``size``: side of the network's input, pixels; ``ramp``: steps until corruption is
        strongest."""
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
        self.portraits = [
            found
            for rest in fakes.values()
            if (found := [i for i in rest if self._of_a_gan(cache.rows[i])])
        ]
        self.mates = [photos.get(name, []) for name in fakes]
        pools = [list(real.values()), self.gan[0], [i for p in self.photos for i in p]]
        self.bases = [[i for i in p if cache.rows[i].points] for p in pools]
        self.lean = {i: self._yaw(numbers(cache.rows[i].points)) for p in self.bases for i in p}

    @staticmethod
    def _of_a_gan(row: Row) -> bool:
        return row.kind == "gan" or (row.kind == "generated" and "StyleGAN" in row.generator)

    @staticmethod
    def _yaw(points: NDArray[np.float64]) -> float:
        p = points.reshape(5, 2)
        return float((p[2, 0] - p[:2, 0].mean()) / max(abs(p[1, 0] - p[0, 0]), 4.0))

    def picture(self, index: int) -> Image:
        rgb = decode(self.cache.data(index))
        if rgb is None:
            raise ValueError(f"row {index} of the cache does not decode")
        return rgb

    def compact(self, index: int) -> tuple[Image, NDArray[np.float64], Row]:
        """Picture of at most FORGED px a side, its landmarks and row: large ones cost too much."""
        row = self.cache.rows[index]
        rgb, points = self.picture(index), numbers(row.points).reshape(5, 2)
        factor = FORGED / max(rgb.shape)
        if factor >= 1:
            return rgb, points, row
        box = " ".join(f"{v * factor:.1f}" for v in numbers(row.box))
        return c.resize(rgb, factor), points * factor, replace(row, box=box)

    def finish(
        self, rgb: Image, mask: Mask | float, row: Row, seed: int, dull: bool = False
    ) -> tuple[Image, Mask]:
        """Crop, flip, corrupt, resize. The draws depend on ``seed`` only."""
        rng = np.random.default_rng(seed)
        draw = rng.random(8)
        cells = self.size // 16
        x, y, s = window(row, rgb.shape, draw)
        rgb = rgb[y : y + s, x : x + s]
        if isinstance(mask, float):
            coarse = np.full((cells, cells), mask, np.float32)
        else:
            part = np.ascontiguousarray(mask[y : y + s, x : x + s])
            coarse = cv2.resize(part, (cells, cells), interpolation=cv2.INTER_AREA)
        if draw[3] < 0.5:
            rgb, coarse = rgb[:, ::-1], coarse[:, ::-1]
        rgb = np.ascontiguousarray(rgb)
        if dull:
            rgb = c.grey(rgb)
        side = s
        if s > self.size * 1.3 and draw[7] < 0.7:  # large originals are met at the network's scale
            side = round(self.size * (1 + 0.4 * draw[5]))
        elif draw[7] < SMALL:  # and many faces are met far below it
            side = round(max(48, min(s, self.size) * (0.35 + 0.6 * draw[5])))
        if side < s:
            rgb = c.resize(rgb, side / s, down=c.INTERPOLATIONS[int(draw[4] * 3)])
        rgb = c.chain(rgb, rng, strength=self.strength, codecs=draw[4] < CODECS)
        return to_size(rgb, self.size, draw[6]), np.asarray(coarse, np.float32)

    def base(self, rng: Rng) -> tuple[int, list[int]]:
        """A real face with points, and the pool it comes from."""
        pool = self.bases[int(rng.choice(len(self.bases), p=(0.45, 0.3, 0.25)))]
        return int(rng.choice(pool)), pool

    def forged(self, index: int, pool: list[int], rng: Rng) -> tuple[Image, Image, Mask, Row]:
        """The real picture, a forgery of it, the mask, and the row with the face's box."""
        rgb, points, row = self.compact(index)
        how = rng.random()
        if how < 0.34:
            fake, mask = forge.self_blend(rgb, points, rng)
        elif how < 0.82:
            donors = [int(rng.choice(pool)) for _ in range(24)]
            donor = min(donors, key=lambda d: abs(self.lean[d] - self.lean[index]))
            other, there, _ = self.compact(donor)
            put = forge.part_blend if how < 0.6 else forge.cross_blend
            fake, mask = put(rgb, points, other, there, rng)
        elif how < 0.95:
            fake, mask = forge.inner_edit(rgb, points, rng)
        else:
            fake, mask = forge.upsampling_trace(rgb, rng)
        return rgb, fake, mask, row

    def pair(self, kind: str, rng: Rng) -> list[tuple[Image, Mask, int, float]]:
        """(crop, mask, label, weight of the mask) of one real and one fake."""
        seed, second = (int(v) for v in rng.integers(2**32, size=2))
        rows = self.cache.rows
        if kind == "swap":
            person = self.people[int(rng.integers(len(self.people)))]
            a = int(rng.choice(person))
            b = int(rng.choice(self.swaps[a]))
            rgb, fake = self.picture(a), self.picture(b)
            if rng.random() < 0.3:  # swaps are blurrier than their originals; that must not tell
                how, amount = rng.random(), float(rng.uniform(0.35, 1.0))
                rgb = c.blur(rgb, amount) if how < 0.5 else c.down_up(rgb, 1 - 0.5 * amount)
            one = self.finish(rgb, 0.0, rows[a], seed)
            two = self.finish(fake, 0.0, rows[a], seed)
            return [(*one, 0, 1.0), (*two, 1, 0.0)]
        if kind == "forged":
            a, pool = self.base(rng)
            rgb, fake, mask, row = self.forged(a, pool, rng)
            one = self.finish(rgb, 0.0, row, seed)
            two = self.finish(fake, mask, row, seed)
            return [(*one, 0, 1.0), (*two, 1, 1.0)]
        if kind == "gan":
            a, b = (int(rng.choice(p)) for p in self.gan)
            if self.portraits and rng.random() < APART:
                b = int(rng.choice(self.portraits[self.weigh(self.portraits, rng)]))
                if rng.random() < APART:
                    a = int(rng.choice(self.photos[self.weigh(self.photos, rng)]))
        else:
            page = self.weigh(self.fakes, rng)
            mates = self.mates[page] if rng.random() < TOGETHER else []
            a = int(rng.choice(mates or self.photos[self.weigh(self.photos, rng)]))
            b = int(rng.choice(self.fakes[page]))
        dull = rows[a].source == "expressions" or rng.random() < 0.05
        one = self.finish(self.picture(a), 0.0, rows[a], seed, dull=dull)
        two = self.finish(self.picture(b), 1.0, rows[b], second, dull=dull)
        return [(*one, 0, 1.0), (*two, 1, 0.0)]

    @staticmethod
    def weigh(sources: list[list[int]], rng: Rng) -> int:
        """A source, with a chance that grows as the square root of its size."""
        sizes = np.sqrt([len(s) for s in sources])
        return int(rng.choice(len(sources), p=sizes / sizes.sum()))

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        # traces are learned from clear pictures first, then held on to in corrupted ones
        self.strength = 0.35 + 0.4 * min(1.0, step / self.ramp)
        items = [it for kind, n in PAIRS.items() for _ in range(n) for it in self.pair(kind, rng)]
        x, mask, label, weight = zip(*items, strict=True)
        return {
            "x": torch.from_numpy(np.stack(x)),
            "mask": torch.from_numpy(np.stack(mask)),
            "y": torch.tensor(label, dtype=torch.float32),
            "weight": torch.tensor(weight, dtype=torch.float32),
        }
