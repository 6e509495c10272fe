"""Calibrate the picture network on films: curve, operating points and card.

    python -m assay_lab.export.films --cache DIR --features DIR --heads heads.pt \
        --model src/assay/models/zoo/image-v7 --out src/assay/models/zoo/film-v1 \
        --commit SHA --date 2026-12-01

What the compression of films leaves is not what that of pictures leaves, so the score of a frame
is calibrated on frames: those of the clips in the cache of pictures, judged by the heads that
left their repositories out. A clip counts once, with the mean score of its frames.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.models.card import read_card
from assay_lab.benchmark import metrics as m
from assay_lab.data.cache import Cache
from assay_lab.data.face_sources import CLIPS
from assay_lab.export import calibration as cal
from assay_lab.export.card import dumps, metric
from assay_lab.export.images import Seen, load_heads, mixed, score

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


def clips(seen: Seen, scores: Floats) -> Clips:
    """Mean scores of the plain frames of every clip."""
    found: dict[tuple[str, str], list[int]] = {}
    for i, (name, source) in enumerate(zip(seen.name.tolist(), seen.source.tolist(), strict=True)):
        frame = FRAME.match(name.removeprefix(f"{source}:"))
        if seen.how[i] == "none" and frame and CLIPS.search(frame["clip"]):
            found.setdefault((source, frame["clip"]), []).append(i)
    return Clips(
        np.array([source for source, _ in found]),
        np.array([bool(seen.fake[at[0]]) for at in found.values()]),
        np.array([float(scores[at].mean()) for at in found.values()]),
    )


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
            "source": "clips judged by heads that left their repositories out: "
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
                "judged by heads that left their repositories out: AUC "
                f"{rows[0]['auc']:.2f}; at the 1 % point it finds {100 * caught:.0f} % of the "
                "generated clips.",
                "Most clips are short and come from project pages; films that were cut, captioned,"
                " upscaled or compressed again and again are few among them.",
            ]
        },
    }  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """Command line of the calibration."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--cache", type=Path, required=True)
    p.add_argument("--features", type=Path, required=True, help="holds whole.npz and native.npz")
    p.add_argument("--heads", type=Path, required=True, help="heads.pt of assay_lab.train.images")
    p.add_argument("--model", type=Path, required=True, help="folder of the picture network")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--commit", required=True)
    p.add_argument("--date", type=datetime.date.fromisoformat, required=True)
    a = p.parse_args(argv)
    seen = score(Cache(a.cache), load_heads(a.heads), a.features, a.model)
    share = read_card(a.model).gates["share_of_the_whole"]
    found = clips(seen, mixed(seen, share))
    a.out.mkdir(parents=True, exist_ok=True)
    card = card_of(found, a.model.name, a)
    (a.out / "card.toml").write_text(dumps(card))
    real = found.by_source(fake=False)
    print(json.dumps({k: card[k] for k in ("operating_points", "metrics")}, indent=1))
    strict = card["operating_points"]["fpr_1pct"]
    print({k: [len(v), round(m.rate_at(v, strict), 3)] for k, v in real.items()})


if __name__ == "__main__":
    main()
