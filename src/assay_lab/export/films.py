"""Calibrate the picture network on films: curve, operating points and card.

    python -m assay_lab.export.films --shared DIR --cache DIR \
        --out src/assay/models/zoo/film-v1 --commit SHA --date 2026-12-01 [--most 6]

What the compression of films leaves is not what that of pictures leaves, so the score of a frame
is calibrated on frames: those of the clips in the cache of pictures, of repositories from which
the installed network learned nothing, put to the product. A clip counts once, with the mean score
of its frames; frames that the product does not judge are left out.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image import synthetic
from assay.findings import NotApplicable
from assay.models import card as installed
from assay_lab.benchmark import metrics as m
from assay_lab.data.cache import Cache, Row
from assay_lab.data.face_sources import CLIPS
from assay_lab.data.images import decode, fair, source_rows
from assay_lab.export import calibration as cal
from assay_lab.export.card import dumps, metric

Floats = NDArray[np.float64]
FRAME = re.compile(r"^(?P<clip>[^#]*)#[^#]*#\d+$")
"""Of the name of a row: path, part of the frame, number of the frame."""


TINY = 20
"""Clips of a class below which no interval is given."""


class Clips(NamedTuple):
    """Clips as they came: source, generated or not, score."""

    source: NDArray[np.str_]
    fake: NDArray[np.bool_]
    score: Floats

    def by_source(self, *, fake: bool) -> dict[str, Floats]:
        """Scores of one class by source."""
        at = self.fake == fake
        return {str(s): self.score[at & (self.source == s)] for s in np.unique(self.source[at])}


def clip_of(row: Row) -> str | None:
    """The path of the clip of which a judged row is a frame."""
    frame = FRAME.match(row.name) if row.use == "validation" else None
    return frame["clip"] if frame and CLIPS.search(frame["clip"]) else None


@cache
def _opened(folder: str) -> Cache:
    return Cache(folder)


def ask(item: tuple[str, int]) -> float | None:
    """The product's score of one row: (folder of the cache, number); None where not judged."""
    folder, index = item
    rgb = decode(_opened(folder).data(index))
    assert rgb is not None
    judged = synthetic.judge(rgb, synthetic.installed())
    return None if isinstance(judged, NotApplicable) else judged.seen.score


def clips(rows: Iterable[Row], scores: Iterable[float | None]) -> Clips:
    """Mean scores of the frames of every clip."""
    found: dict[tuple[str, str, bool], list[float]] = {}
    for row, score in zip(rows, scores, strict=True):
        clip = clip_of(row)
        if clip is not None and score is not None:
            found.setdefault((row.source, clip, row.label == "fake"), []).append(score)
    return Clips(
        np.array([source for source, _, _ in found]),
        np.array([fake for _, _, fake in found]),
        np.array([float(np.mean(v)) for v in found.values()]),
    )


def first(rows: Sequence[Row], most: int) -> list[int]:
    """Of the first ``most`` judged rows of each source, by the hash of their names, those that are
    frames of clips."""
    judged = (i for i, r in enumerate(rows) if r.use == "validation")
    taken = fair(judged, lambda i: rows[i].name, lambda i: rows[i].source, most)
    return [i for i in taken if clip_of(rows[i]) is not None]


def card_of(found: Clips, model: str, a: argparse.Namespace) -> dict[str, Any]:
    """Curve, points and what is known of them."""
    real, fake = found.by_source(fake=False), found.by_source(fake=True)
    strict, loose = cal.sure_threshold(real, 0.01), cal.sure_threshold(real, 0.05)
    knots = cal.calibrate(real, fake)
    every_real, every_fake = found.score[~found.fake], found.score[found.fake]
    caught = m.rate_at(every_fake, strict)
    sets = {"all": every_fake, **dict(sorted(fake.items()))}
    rows = [
        metric(k, "none", every_real, v, strict, loose=min(len(every_real), len(v)) < TINY)
        for k, v in sets.items()
    ]
    name, _, number = a.out.name.partition("-v")
    return {
        "model": {
            "name": name,
            "version": int(number),
            "task": "generated films",
            "question": "generated_image",
            "licence": "MIT",
            "created": a.date,
            "commit": a.commit,
            "origin": f"scores of {model}",
            "file": "",
            "summary": f"Calibration of {model} on frames of films, as video.synthetic pools them.",
        },
        "calibration": {
            "kind": "piecewise_linear", "score": knots[0], "llr": knots[1],
            "n_real": len(every_real), "n_fake": len(every_fake),
            "source": "clips of repositories from which the network learned nothing: "
            + ", ".join(sorted(real.keys() | fake.keys())),
            "applies_to": "the mean over frames of the score of the picture network",
        },
        "operating_points": {
            "fpr_1pct": strict, "fpr_5pct": loose, "low_band": cal.low_band(fake),
            "tpr_at_fpr_1pct": caught, "fnr_at_fpr_1pct": 1 - caught,
        },
        "metrics": rows,
        "limits": {
            "sentences": [
                f"Calibrated on {len(every_real)} clips of cameras from {len(real)} sources and "
                f"{len(every_fake)} generated ones from {len(fake)}, at most two frames of each, "
                f"of which the network had learned nothing: AUC {rows[0]['auc']:.2f}; at the 1 % "
                f"point it finds {100 * caught:.0f} % of the generated clips.",
                "Most clips are short and come from project pages; films that were cut, "
                "captioned, upscaled or compressed again and again are few among them.",
            ]
        },
    }  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """Command line of the calibration."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--shared", type=Path, required=True)
    p.add_argument("--cache", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--commit", required=True)
    p.add_argument("--date", type=datetime.date.fromisoformat, required=True)
    p.add_argument("--most", type=int, default=100, help="judged pictures of a source")
    p.add_argument("--workers", type=int, default=2)
    a = p.parse_args(argv)
    names = {str(d["name"]) for d in installed(synthetic.MODEL).data}
    learned = {r["repository"] for r in source_rows(a.shared) if r["source"] in names}
    held = Cache(a.cache)
    at = [
        i for i in first(held.rows, a.most)
        if held.rows[i].source not in names and held.rows[i].group not in learned
    ]  # fmt: skip
    if not at:
        raise SystemExit(f"{synthetic.MODEL} learned from every repository with clips")
    with ProcessPoolExecutor(a.workers, get_context("spawn")) as pool:
        scores = list(pool.map(ask, [(str(a.cache), i) for i in at], chunksize=16))
    found = clips([held.rows[i] for i in at], scores)
    a.out.mkdir(parents=True, exist_ok=True)
    card = card_of(found, synthetic.MODEL, a)
    (a.out / "card.toml").write_text(dumps(card))
    print(json.dumps({k: card[k] for k in ("operating_points", "metrics")}, indent=1))
    strict = card["operating_points"]["fpr_1pct"]
    real = found.by_source(fake=False)
    print({k: [len(v), round(m.rate_at(v, strict), 3)] for k, v in real.items()})


if __name__ == "__main__":
    main()
