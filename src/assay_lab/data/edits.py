"""Photographs of which a part was changed, and photographs beside them.

Two kinds: what the pages of ``edit_sources.tsv`` show, mostly made by hand or by the networks of
others (copy-move sets, splices, inpainting), and edits that the lab makes of photographs in
the cache of pictures, each with its untouched twin that was saved in the same way.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay_lab.data.cache import Cache
from assay_lab.data.gitmirror import mirror_of
from assay_lab.data.images import decode, found_in
from assay_lab.forge.local_edits import EDITS, edit, finished
from assay_lab.train.folds import fold_of

Image = NDArray[np.uint8]
SOURCES = Path(__file__).with_name("edit_sources.tsv")
MOST = 60
"""Pictures of a row, at most."""
LEAST_SIDE = 128


class Example(NamedTuple):
    """A picture [h, w, 3], and where it was changed [h, w] as far as that is known.

    ``kind`` is that of the edit, also of the untouched twin of a made one, or ``photo``. Pictures
    of a ``group`` leave training together.
    """

    name: str
    source: str
    group: str
    kind: str
    fake: bool
    pixels: Image
    mask: NDArray[np.bool_] | None


def rows() -> list[dict[str, str]]:
    """Rows of the table of pages; a ``group`` joins repositories that show the same scenes."""
    csv.field_size_limit(10**7)
    with SOURCES.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def pages(mirrors: Path, absent: list[str]) -> Iterator[tuple[str, dict[str, str], bytes]]:
    """Name, row and file of what the pages show; repositories without a mirror go to ``absent``."""
    for row in rows():
        mirror = mirror_of(mirrors, row["repository"], row["ref"])
        if mirror is None:
            absent.append(row["repository"])
            continue
        pattern = re.compile(row["pattern"])
        names = [n for n in mirror.names if pattern.search(n)]
        for name, data in found_in(mirror, names, MOST):
            yield name, row, data


def shown(mirrors: Path, absent: list[str]) -> Iterator[Example]:
    """The pictures of the pages as examples."""
    for name, row, data in pages(mirrors, absent):
        rgb = decode(data)
        if rgb is None or min(rgb.shape[:2]) < LEAST_SIDE:
            continue
        fake = row["label"] == "fake"
        mask = None if fake else np.zeros(rgb.shape[:2], np.bool_)
        yield Example(
            f"{row['source']}:{name}", row["source"], row["group"] or row["repository"],
            row["kind"], fake, rgb, mask,
        )  # fmt: skip


def pack(shared: Path) -> Iterator[Example]:
    """The training part of the tamper pack."""
    folder = shared / "data/tamper/train"
    with (folder / "manifest.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            rgb = _opened(folder / row["path"])
            mask = np.zeros(rgb.shape[:2], np.bool_)
            if row["mask"]:
                mask = _opened(folder / row["mask"])[..., 0] > 127
            yield Example(
                f"{row['source']}:{row['path']}", row["source"], row["source"], row["generator"],
                row["label"] == "fake", rgb, mask,
            )  # fmt: skip


def _opened(path: Path) -> Image:
    rgb = decode(path.read_bytes())
    if rgb is None:
        raise ValueError(f"{path}: not a picture")
    return rgb


def made(cache: Cache, first: int, step: int, count: int) -> Iterator[Example]:
    """Pairs ``first``, ``first + step`` ... below ``count`` of a photograph and an edit of it.

    Sources are drawn alike; material for splices comes from groups of the same fold. Both went
    through the same saving; a pair does not depend on which others are made.
    """
    by_source: dict[str, list[int]] = defaultdict(list)
    groups: dict[str, str] = {}
    for i, row in enumerate(cache.rows):
        if row.use == "train" and row.kind == "photo" and row.name.endswith("#whole"):
            by_source[row.source].append(i)
            groups[row.source] = row.group
    sources = sorted(by_source)
    fold = fold_of(np.array([groups[s] for s in sources]))
    for n in range(first, count, step):
        rng = np.random.default_rng([20261201, n])
        place = int(rng.integers(len(sources)))
        own = other = sources[place]
        if rng.random() >= 0.4:
            other = sources[int(rng.choice(np.flatnonzero(fold == fold[place])))]
        at = [int(rng.choice(by_source[s])) for s in (own, other)]
        rgb, material = (decode(cache.data(i)) for i in at)
        if rgb is None or material is None:
            continue
        if min(*rgb.shape[:2], *material.shape[:2]) < LEAST_SIDE:
            continue
        kind = EDITS[n % len(EDITS)]
        forged = edit(rgb, material, kind, rng)
        seed = int(rng.integers(2**31))
        for fake, pixels, mask in (
            (False, rgb, np.zeros(rgb.shape[:2], np.bool_)),
            (True, forged.pixels, forged.mask),
        ):
            out = finished(pixels, np.random.default_rng(seed))
            name = f"made:{n}#{kind}"
            yield Example(name, own, cache.rows[at[0]].group, kind, fake, out, mask)


def judged(cache: Cache, each: int) -> Iterator[Example]:
    """Photographs on which the picture network is judged, ``each`` of a source at most."""
    taken: dict[str, int] = defaultdict(int)
    for i, row in enumerate(cache.rows):
        if row.use != "validation" or row.kind != "photo" or taken[row.source] >= each:
            continue
        taken[row.source] += 1
        rgb = decode(cache.data(i))
        if rgb is None or min(rgb.shape[:2]) < LEAST_SIDE:
            continue
        yield Example(
            f"{row.source}:{row.name}", row.source, row.group, "photo", False, rgb,
            np.zeros(rgb.shape[:2], np.bool_),
        )  # fmt: skip
