"""Which recordings of a test stand in a speech cache too, cut or encoded otherwise?

    python -m assay_lab.data.speech_overlap --test DIR/speech/test --cache CACHE

Project pages lend prompts from the same corpora, and results of others, from each other. Printed
are likeness, then label, source and path of the clip and of the test recording, tab-separated, the
most alike first: the paths to leave out. The likeness is the correlation of 1.2 s from the middle
of a test recording, as a log-mel picture, with the stretch of the clip where it is highest. One
recording stays above .95, through a telephone above .9, and so do good copies of it by a codec or
another system; a few others come so high by chance and have to be looked at.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay_lab.data.mel import mel_filters
from assay_lab.data.speech import RATE, SpeechCache, decode, trim

BANDS, HOP, SIZE = 24, 320, 60  # of the picture: rows, samples a column; columns of a template
LEAST = 512 + SIZE * HOP  # samples
ALIKE = 0.9
NAMED = ("label", "source", "path")
Floats = NDArray[np.float32]

_MEL = mel_filters(RATE, 512, BANDS, 100.0, 7000.0)


def picture(x: Floats) -> Floats:
    """Log-mel [columns, BANDS] of 16 kHz samples, the mean of each band 0."""
    frames = np.lib.stride_tricks.sliding_window_view(x, 512)[::HOP] * np.hanning(512)
    log = np.log(np.square(np.abs(np.fft.rfft(frames))) @ _MEL.T + 1e-6)
    return np.asarray(log - log.mean(0), np.float32)


def template(x: Floats) -> Floats | None:
    """The middle of a recording, [SIZE, BANDS] of mean 0 and deviation 1; None if it is shorter."""
    if len(x) < LEAST:
        return None
    whole = picture(x)
    middle = whole[(len(whole) - SIZE) // 2 :][:SIZE]
    return (middle - middle.mean()) / (middle.std() + 1e-6)


def likeness(templates: NDArray[np.float32], x: Floats) -> NDArray[np.float64]:
    """Highest correlation [n] of ``templates`` [n, SIZE, BANDS] with any stretch of a sound."""
    if len(x) < LEAST:
        return np.zeros(len(templates))
    stretches = np.lib.stride_tricks.sliding_window_view(picture(x), SIZE, axis=0)
    products = np.tensordot(templates, stretches, ((1, 2), (2, 1)))
    return np.asarray((products / (SIZE * BANDS * (stretches.std((1, 2)) + 1e-6))).max(1))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Find recordings of a test in speech caches.")
    parser.add_argument("--test", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--cache", type=Path, action="append", required=True)
    args = parser.parse_args()
    rows, found = [], []
    with open(args.test / "manifest.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            made = template(trim(decode((args.test / row["path"]).read_bytes())[0]))
            if made is not None:
                rows.append(row)
                found.append(made)
    templates = np.stack(found)
    hits = []
    for folder in args.cache:
        cache = SpeechCache(folder)
        for i, clip in enumerate(cache.rows):
            alike = likeness(templates, cache.clip(i).astype(np.float32) / 32768)
            hits += [
                (float(alike[k]), *(row[name] for row in (clip, rows[k]) for name in NAMED))
                for k in np.flatnonzero(alike >= ALIKE)
            ]
    for alike, *names in sorted(hits, reverse=True):
        print(f"{alike:.3f}", *names, sep="\t")


if __name__ == "__main__":
    main()
