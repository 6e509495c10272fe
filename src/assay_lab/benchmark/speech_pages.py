"""Measure a released speech network on pages that were found after its training.

    python -m assay_lab.benchmark.speech_pages --model src/assay/models/zoo/speech-v6 \
        --cache FOUND --learned A.tsv --learned B.tsv --workers 2 \
        --out benchmarks/speech-v6-pages.json

The open test (:mod:`assay_lab.benchmark.speech`) has few pages, of one kind of system. Here are
many, real recordings and fakes of systems that the network had not met, heard the way the product
hears them, plain and through codecs. ``--learned`` are the recipes of its training: fakes of
systems that stand in one of them do not count, and a page that does is an error. Nothing is chosen
here. Once a network has learned from these pages, the figures are those of the one before.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.models.card import Card, read_card
from assay_lab.benchmark.metrics import auc_between, rate_at, summary
from assay_lab.benchmark.speech import Scorer, rounded
from assay_lab.data.speech import read_recipe
from assay_lab.export.calibration import to_llr, to_probability
from assay_lab.export.speech import VARIANTS
from assay_lab.train.speech_batches import Clips
from assay_lab.train.speech_features import Job, plain_jobs

RECENT = 2022  # first year of the systems that count as recent
Floats = NDArray[np.float64]

_process: dict[str, Any] = {}


def unheard(clips: Clips, learned: list[Path]) -> list[Job]:
    """(clip, variant) of real clips and of fakes by systems that no page of ``learned`` has.

    Raises ValueError when a page was learned from.
    """
    pages = read_recipe(learned)
    both = {p.repository for p in pages} & {r["repository"] for r in clips.rows}
    if both:
        raise ValueError(f"the network learned from {', '.join(sorted(both))}")
    known = {rule.system for p in pages for rule in p.rules if rule.label == "spoof"}
    return [
        (i, variant)
        for i, variant in plain_jobs(clips)
        if not clips.fake[i] or clips.rows[i]["system"] not in known
    ]


def _start(caches: list[Path], model: Path, gates: tuple[float, float]) -> None:
    _process.update(clips=Clips(caches), scorer=Scorer(model), gates=gates)


def _score(job: Job) -> float:
    """The pooled logit of a recording, NaN where the product does not judge it."""
    x = _process["clips"].samples(*job)
    logit: float | None = _process["scorer"](x.astype(np.float32) / 32768, *_process["gates"])
    return float("nan") if logit is None else logit


def measure(card: Card, clips: Clips, jobs: list[Job], logit: Floats) -> dict[str, Any]:
    """The document that is committed. Intervals draw whole pages anew.

    Raises ValueError when the network is not calibrated.
    """
    if card.calibration is None or card.points is None:
        raise ValueError("the model is not calibrated")
    knots = (list(card.calibration.score), list(card.calibration.llr))
    points = {"at_1pct": card.points.fpr_1pct, "at_5pct": card.points.fpr_5pct}
    judged = np.isfinite(logit)
    index, variant = np.array(jobs).T[:, judged]
    s, fake = logit[judged], clips.fake[index]
    page, system, kind, year = (
        np.array([clips.rows[i][key] for i in index])
        for key in ("source", "system", "type", "year")
    )

    def row(part: NDArray[np.bool_]) -> dict[str, Any]:
        y = fake[part].astype(int)
        sure = to_probability(to_llr(s[part], knots), y.mean())
        real = [s[part & ~fake & (page == p)] for p in np.unique(page[part & ~fake])]
        found: dict[str, Any] = {
            "pages": len(np.unique(page[part])), "pages_with_real": len(real),
            "systems": len(np.unique(system[part & fake])),
            **summary(y, s[part], probabilities=sure, groups=page[part], rounds=300),
        }  # fmt: skip
        for name, point in points.items():
            found[f"real_flagged_{name}"] = rate_at(s[part & ~fake], point)
            found[f"real_flagged_{name}_pages_alike"] = float(
                np.mean([rate_at(v, point) for v in real])
            )
            found[f"fake_flagged_{name}"] = rate_at(s[part & fake], point)
        return found

    plain = variant == 0
    recent = np.array([v.isdigit() and int(v) >= RECENT for v in year])
    calm = s[plain & ~fake]

    def against(part: NDArray[np.bool_]) -> dict[str, Any]:
        """Some fakes against all real recordings."""
        return {
            "n": int(part.sum()),
            "auc": auc_between(calm, s[part]),
            "flagged_at_1pct": rate_at(s[part], points["at_1pct"]),
        }

    return {
        "model": card.key,
        "model_sha256": card.sha256,
        "points": points,
        "not_judged": int((~judged).sum()),
        "overall": [{"corruption": how, **row(variant == v)} for v, how in enumerate(VARIANTS)],
        "fakes_of_recent_systems": {"since": RECENT, **row(plain & (~fake | recent))},
        "by_type": {t: against(plain & fake & (kind == t)) for t in np.unique(kind[plain & fake])},
        "by_system": {
            t: against(plain & fake & (system == t)) for t in np.unique(system[plain & fake])
        },
        "real_by_page": {
            p: {"n": len(mine), **{f"flagged_{k}": rate_at(mine, v) for k, v in points.items()}}
            for p in np.unique(page[plain & ~fake])
            if len(mine := s[plain & ~fake & (page == p)])
        },
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure a speech network on new pages.")
    parser.add_argument("--model", type=Path, required=True, help="folder of the released network")
    parser.add_argument("--cache", type=Path, action="append", required=True)
    parser.add_argument("--learned", type=Path, action="append", required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    card = read_card(args.model)
    clips = Clips(args.cache)
    jobs = unheard(clips, args.learned)
    gates = (card.gates["min_speech_s"], card.gates["min_snr_db"])
    with ProcessPoolExecutor(
        args.workers, get_context("fork"), _start, (args.cache, args.model / card.file, gates)
    ) as pool:
        logit = np.array(list(pool.map(_score, jobs, chunksize=8)))
    document = rounded(measure(card, clips, jobs, logit))
    document["command"] = (
        "python -m assay_lab.benchmark.speech_pages --cache FOUND --learned <recipes> "
        f"--model src/assay/models/zoo/{card.key} --out benchmarks/{args.out.name}"
    )
    args.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document["overall"], indent=1))


if __name__ == "__main__":
    main()
