"""Batches for the speech classifier: which clips, and what happens to them on the way.

Drawing is balanced by class, source and system; filters, rooms, noise, codecs and level are
drawn alike for real and fake. A batch is a function of (seed, step) alone.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay_lab.data import speech
from assay_lab.data.sound_corruptions import random_codec
from assay_lab.data.speech import RATE, SpeechCache
from assay_lab.export.onnx_graph import sha256

WINDOW = 64_000
LEFT_OUT = Path(speech.__file__).with_name("speech_left_out.tsv")
Drawn = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


def doubtful(rows: list[dict[str, str]]) -> NDArray[np.bool_]:
    """Which clips are not what their page calls them, or stand in the open test:
    ``speech_left_out.tsv``."""
    with open(LEFT_OUT, newline="", encoding="utf-8") as file:
        rules = [
            (r["repository"], re.compile(r["pattern"]))
            for r in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]
    return np.array(
        [
            any(row["repository"] == name and p.search(row["path"]) for name, p in rules)
            for row in rows
        ],
        bool,
    )


class Clips:
    """Several caches as one; ``digests`` are those of their manifests."""

    def __init__(self, folders: list[Path]) -> None:
        self.rows: list[dict[str, str]] = []
        self.place: list[tuple[int, int]] = []
        self.caches = [SpeechCache(f) for f in folders]
        self.digests = [sha256(f / "manifest.csv") for f in folders]
        for number, store in enumerate(self.caches):
            self.rows += store.rows
            self.place += [(number, i) for i in range(len(store))]
        self.fake = np.array([r["label"] == "fake" for r in self.rows])
        self.doubtful = doubtful(self.rows)

    def samples(self, index: int, variant: int = 0) -> NDArray[np.int16]:
        """All samples of a clip: 0 plain, 1 through a wide-band codec, 2 through a narrow one.

        The codec is a function of the clip and the variant alone.
        """
        number, i = self.place[index]
        x = self.caches[number].clip(i)
        if variant == 0:
            return x
        rng = np.random.default_rng([variant, int(self.rows[index]["sha256"][:8], 16)])
        y = random_codec(x.astype(np.float32) / 32768, rng, narrow=variant == 2)
        return np.clip(np.round(y * 32768), -32768, 32767).astype(np.int16)


def window(x: NDArray[np.int16], size: int, start: int) -> NDArray[np.float32]:
    """``size`` samples from ``start``; a shorter clip is repeated."""
    x = x[start : start + size]
    if x.size < size:
        x = np.tile(x, -(-size // x.size))[:size]
    return x.astype(np.float32) / 32768


class Sampler:
    """Draws classes evenly, then a source (by the root of its size), a system, a clip."""

    def __init__(self, clips: Clips) -> None:
        self.trees: dict[str, dict[str, dict[str, list[int]]]] = {"real": {}, "fake": {}}
        for i in np.flatnonzero(~clips.doubtful):
            row = clips.rows[i]
            tree = self.trees[row["label"]].setdefault(row["source"], {})
            tree.setdefault(row["system"], []).append(int(i))
        self.weights = {}
        for kind, tree in self.trees.items():
            size = np.array([min(400, sum(map(len, s.values()))) for s in tree.values()], float)
            self.weights[kind] = (list(tree), np.sqrt(size) / np.sqrt(size).sum())

    def draw(self, fake: bool, rng: np.random.Generator, source: str = "") -> int:
        kind = "fake" if fake else "real"
        tree = self.trees[kind]
        names, weights = self.weights[kind]
        systems = tree[source if source in tree else names[int(rng.choice(len(names), p=weights))]]
        keys = list(systems)
        found = systems[keys[int(rng.integers(len(keys)))]]
        return found[int(rng.integers(len(found)))]


def make_batch(
    clips: Clips, sampler: Sampler, size: int, length: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
    """Samples, labels and clips of a batch: half real, half fake; some fakes are a stretch of
    fake speech inside a real clip."""
    xs, ys, indices = [], [], []
    for k in range(size):
        fake = k % 2 == 1
        index = sampler.draw(fake, rng)
        variant = int(rng.choice(3, p=(0.5, 0.27, 0.23)))
        x = _crop(clips.samples(index), length, rng)
        if fake and rng.random() < 0.08:
            other = sampler.draw(False, rng, clips.rows[index]["source"])
            y = _crop(clips.samples(other), length, rng)
            span = int(rng.uniform(0.35, 0.7) * length)
            at = int(rng.integers(0, length - span))
            level = np.sqrt((np.square(y).mean() + 1e-9) / (np.square(x).mean() + 1e-9))
            y[at : at + span] = x[at : at + span] * level
            x = y
        if variant:
            x = random_codec(x, rng, narrow=variant == 2)
        xs.append(x)
        ys.append(float(fake))
        indices.append(index)
    return torch.from_numpy(np.stack(xs)), torch.tensor(ys), np.array(indices)


def _crop(x: NDArray[np.int16], length: int, rng: np.random.Generator) -> NDArray[np.float32]:
    if rng.random() < 0.15:  # a short clip, repeated: so short ones are not told by repetition
        part = int(rng.uniform(0.4, 0.9) * length)
        x = x[int(rng.integers(0, max(1, x.size - part))) :][:part]
    return window(x, length, int(rng.integers(0, max(1, x.size - length + 1))))


@cache
def coloured_noise(size: int = 1 << 22) -> tuple[NDArray[np.float32], ...]:
    """White, two pinkish and one brown noise of unit power, to cut stretches from."""
    rng = np.random.default_rng(99)
    out = []
    for tilt in (0.0, 0.35, 0.7, 1.0):
        white = np.fft.rfft(rng.standard_normal(size))
        made = np.fft.irfft(white * np.maximum(np.arange(white.size), size / 800) ** -tilt, size)
        out.append((made / made.std()).astype(np.float32))
    return tuple(out)


def disturb(x: Tensor, noise: NDArray[np.int16] | None, rng: np.random.Generator) -> Tensor:
    """Random filters, low-pass, room, distortion, noise and dither on a batch [N, L]."""
    n, length = x.shape
    total = length + 8_000
    freq = np.fft.rfftfreq(total, 1 / RATE)
    curve = np.ones((n, freq.size), np.complex64)
    rough = rng.random(n) < 0.55  # the others get a light hand: clean recordings are common
    for i in range(n):
        db = np.zeros(freq.size)
        if rng.random() < (0.6 if rough[i] else 0.2):  # equaliser: a smooth random curve in octaves
            knots = np.log2(np.array([60, 125, 250, 500, 1000, 2000, 4000, 8000]))
            db = np.interp(np.log2(freq + 30), knots, rng.normal(0, 4, 8))
        response = 10 ** (db / 20)
        if rng.random() < (0.5 if rough[i] else 0.1):
            cut = rng.uniform(3_300, 8_000)
            response = response / (
                1 + np.exp(np.clip((freq - cut) / rng.uniform(20, 150), -50, 50))
            )
        if rng.random() < 0.3:
            response = response / (1 + np.exp(np.clip((rng.uniform(60, 320) - freq) / 20, -50, 50)))
        if rough[i] and rng.random() < 0.35:
            taps = int(rng.uniform(0.08, 0.5) * RATE)
            tail = rng.standard_normal(taps) * np.exp(-6.9 * np.arange(taps) / taps)
            tail *= rng.uniform(0.1, 0.6) / np.sqrt(np.square(tail).sum())
            tail[0] = 1.0
            response = response * np.fft.rfft(tail, total)
        curve[i] = response
    y = torch.fft.irfft(torch.fft.rfft(x, total) * torch.from_numpy(curve), total)[:, :length]
    y = y / (y.square().mean(1, keepdim=True).sqrt() + 1e-6)
    bent = torch.from_numpy(rough & (rng.random(n) < 0.25))
    if bool(bent.any()):
        drive = torch.from_numpy(rng.uniform(0.1, 0.6, (n, 1)).astype(np.float32))
        y = torch.where(bent[:, None], torch.tanh(y * drive) / drive, y)
    extra = np.zeros((n, length), np.float32)
    bank = coloured_noise()

    def stretch(source: NDArray[Any]) -> NDArray[np.float32]:
        at = int(rng.integers(0, source.size - length))
        return np.asarray(source[at : at + length], np.float32)

    for i in range(n):
        # dither: no exact zeros
        extra[i] = 10 ** (-rng.uniform(45, 75) / 20) * stretch(bank[0])
        u = rng.random() if rough[i] else 1.0
        if noise is not None and u < 0.2:
            sound = stretch(noise)
            extra[i] += 10 ** (-rng.uniform(10, 35) / 20) * sound / (sound.std() + 1.0)
        elif u < 0.6:
            tint = bank[int(rng.integers(len(bank)))]
            extra[i] += 10 ** (-rng.uniform(10, 40) / 20) * stretch(tint)
    y = y + torch.from_numpy(extra)
    gain = torch.from_numpy(10 ** (rng.uniform(-40, -14, (n, 1)) / 20).astype(np.float32))
    return (y * gain).clamp(-1, 1)


_loader: dict[str, Any] = {}


def start(clips: Clips, noise: Path | None, batch: int, seed: int) -> None:
    """Set up the process that prepares batches."""
    torch.set_num_threads(1)
    _loader.update(
        clips=clips,
        sampler=Sampler(clips),
        noise=np.load(noise, mmap_mode="r") if noise else None,
        batch=batch,
        seed=seed,
    )


def prepare(step: int) -> Drawn:
    """Batch number ``step``: samples, labels and clips; a function of seed and step."""
    rng = np.random.default_rng([_loader["seed"], step])
    x, y, index = make_batch(_loader["clips"], _loader["sampler"], _loader["batch"], WINDOW, rng)
    x = disturb(x, _loader["noise"], rng)
    return x.numpy(), y.numpy(), index
