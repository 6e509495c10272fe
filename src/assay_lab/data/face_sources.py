"""Faces of project pages: pictures, clips and panels of grids, by the table beside this file.

A row of ``face_sources.tsv`` names files of one repository by a pattern and says what every
face in them is. ``crop`` gives the panel of a frame that the row speaks of, as fractions
x0, y0, x1, y1; ``per_file`` is how many frames of a clip, or faces of a picture, are taken.
Restored photographs are neither real nor fake here and are left out.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from assay_lab.data.cache import CacheWriter
from assay_lab.data.face_crops import LEAST_BOX, Image, cut, decode, find_faces
from assay_lab.data.gitmirror import AbsentBlob, mirror_of

TABLE = Path(__file__).with_name("face_sources.tsv")
CLIPS = re.compile(r"\.(mp4|m4v|mkv|gif|webm|mov|avi)$", re.IGNORECASE)
MOST_FRAMES = 250
"""Of one clip, decoded."""
MOST = 160
"""Faces of one row."""


def rows(table: Path = TABLE) -> list[dict[str, str]]:
    """What is used of the table."""
    with table.open(newline="", encoding="utf-8") as lines:
        found = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [r for r in found if r["label"] in ("real", "fake")]


def frames(data: bytes, count: int) -> list[Image]:
    """Up to ``count`` RGB frames spread over a clip; none when it does not decode."""
    import av

    kept: list[Any] = []
    try:
        with av.open(io.BytesIO(data), "r") as box:
            for number, frame in enumerate(box.decode(video=0)):
                if number >= MOST_FRAMES:
                    break
                kept.append(frame)
    except (av.FFmpegError, IndexError, ValueError):
        if not kept:
            return []
    # not the very first, which often is the still that the clip was made from
    at = np.linspace(0.1, 0.95, count) * (len(kept) - 1)
    chosen = (kept[i].to_ndarray(format="rgb24") for i in sorted({round(float(a)) for a in at}))
    return [np.ascontiguousarray(rgb).astype(np.uint8, copy=False) for rgb in chosen]


def panel(rgb: Image, crop: str) -> Image:
    """The part of a frame that a row speaks of."""
    if not crop:
        return rgb
    x0, y0, x1, y1 = (float(v) for v in json.loads(crop))
    h, w = rgb.shape[:2]
    return np.ascontiguousarray(rgb[round(y0 * h) : round(y1 * h), round(x0 * w) : round(x1 * w)])


def pictures(name: str, data: bytes, count: int) -> tuple[list[Image], int]:
    """Frames or the picture, and how many faces may be taken of each."""
    if CLIPS.search(name):
        return frames(data, count), 1
    rgb = decode(data)
    return ([] if rgb is None else [rgb]), count


def faces(
    name: str, data: bytes, count: int, crop: str
) -> Iterator[tuple[bytes, list[float], list[float]]]:
    """Stored crops with box and points, largest faces first."""
    found, each = pictures(name, data, count)
    for rgb in found:
        part = panel(rgb, crop)
        if min(part.shape[:2]) < LEAST_BOX:
            continue
        taken = 0
        for face in find_faces(part, least=0.8):
            side = max(face.box[2] - face.box[0], face.box[3] - face.box[1])
            if side >= LEAST_BOX and taken < each:
                taken += 1
                yield cut(part, face)


def add_pages(out: CacheWriter, mirrors: Path) -> list[str]:
    """Add the faces of the table; returns repositories that were not fetched."""
    missing = []
    for row in rows():
        mirror = mirror_of(mirrors, row["repository"])
        if mirror is None:
            missing.append(row["repository"])
            continue
        pattern, count, added = re.compile(row["pattern"]), int(row["per_file"]), 0
        with mirror:
            for name in mirror.names:
                if not pattern.search(name) or added >= MOST:
                    continue
                try:
                    data = mirror.read(name)
                except AbsentBlob:
                    continue
                for n, (piece, box, points) in enumerate(faces(name, data, count, row["crop"])):
                    added += 1
                    out.add(
                        piece,
                        name=f"{name}#{row['crop']}#{n}",
                        label=row["label"],
                        kind="camera" if row["label"] == "real" else row["kind"],
                        generator=row["generator"],
                        source=row["source"],
                        licence=row["licence"],
                        group=f"{row['source']}:{name}",
                        use="validation" if row["role"] == "held" else "train",
                        box=box,
                        points=points,
                    )
    return sorted(set(missing))
