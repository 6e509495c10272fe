"""The verdicts of the whole product on the open tests, as a user gets them.

    python -m assay_lab.benchmark.verdicts --data DIR --out benchmarks/verdicts.json [--workers 2]

The other benchmarks measure one network each. Here every file goes through ``assay.analyze``:
all analyzers that suit it, fusion, policy. Of real files of each source it is counted how many
are called ``manipulated``, ``synthetic`` or ``suspicious``, and what rate of false alarms their
reports state; of fakes, how many are so called, and how many are vouched for as ``authentic``.
The probability of the report is ranked (AUC) and its calibration error taken at the prior of the
sample; a file on which no test applies has the probability one half. Nothing is chosen here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import assay
from assay.fusion import Verdict
from assay.models import available
from assay_lab.benchmark import metrics as m
from assay_lab.benchmark.open_test import manifest
from assay_lab.data.images import fair
from assay_lab.export.calibration import to_probability

PACKS = ("faces", "images", "tamper", "video", "speech")
FLAGGED = (Verdict.MANIPULATED, Verdict.SYNTHETIC)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the product said of one file of a test."""

    pack: str
    source: str
    group: str
    fake: bool
    verdict: str
    probability: float
    stated: float | None  # false-positive rate


def ask(item: tuple[str, Path, dict[str, str]]) -> Answer:
    """Analyse one file: (name of the pack, folder of its test, row of the manifest)."""
    pack, folder, row = item
    report = assay.analyze(folder / row["path"], pictures=False)
    return Answer(
        pack=pack,
        source=row["source"],
        group=row.get("group") or row["path"],
        fake=row["label"] == "fake",
        verdict=str(report.verdict),
        probability=0.5 if report.probability is None else report.probability,
        stated=report.decision.stated_fpr,
    )


def _share(answers: list[Answer], *verdicts: str) -> float | None:
    found = sum(a.verdict in verdicts for a in answers)
    return round(found / len(answers), 4) if answers else None


def row(pack: str, source: str, answers: list[Answer]) -> dict[str, Any]:
    """One line of the result; figures that need both classes only where both are there."""
    real, fake = ([a for a in answers if a.fake is kind] for kind in (False, True))
    line: dict[str, Any] = {
        "pack": pack,
        "source": source,
        "real": len(real),
        "fake": len(fake),
    }
    if real and fake:
        y = np.array([float(a.fake) for a in answers])
        p = np.clip([a.probability for a in answers], 1e-9, 1 - 1e-9)
        at_prior = to_probability(np.log(p / (1 - p)), float(y.mean()))
        found = m.summary(y, p, probabilities=at_prior, groups=[a.group for a in answers])
        line |= {k: round(v, 4) for k, v in found.items() if k != "brier"}
    stated = [a.stated for a in real if a.stated is not None]
    return line | {
        "real_flagged": _share(real, *FLAGGED),
        "real_suspicious": _share(real, Verdict.SUSPICIOUS),
        "real_authentic": _share(real, Verdict.AUTHENTIC),
        "stated_fpr": round(float(np.mean(stated)), 4) if stated else None,
        "fake_flagged": _share(fake, *FLAGGED),
        "fake_suspicious": _share(fake, Verdict.SUSPICIOUS),
        "fake_authentic": _share(fake, Verdict.AUTHENTIC),
        "verdicts": dict(sorted(Counter(a.verdict for a in answers).items())),
    }


def rows(answers: list[Answer]) -> list[dict[str, Any]]:
    """One line for each source of each pack, and one for each pack."""
    found = []
    for pack in dict.fromkeys(a.pack for a in answers):
        mine = [a for a in answers if a.pack == pack]
        for source in dict.fromkeys(a.source for a in mine):
            found.append(row(pack, source, [a for a in mine if a.source == source]))
        found.append(row(pack, "all", mine))
    return found


def some(given: list[dict[str, str]], most: int) -> list[dict[str, str]]:
    """At most ``most`` of each source and class, chosen by the hash of their path; 0: all."""
    return fair(given, lambda r: r["path"], lambda r: (r["source"], r["label"]), most or len(given))


def main(argv: list[str] | None = None) -> None:
    """Command line of the benchmark."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder of the data packs")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--packs", nargs="+", choices=PACKS, default=PACKS)
    p.add_argument("--most", type=int, default=0, help="files of a source and class; 0: all")
    p.add_argument("--workers", type=int, default=2)
    a = p.parse_args(argv)
    items = [
        (pack, a.data / pack / "test", r)
        for pack in a.packs
        for r in some(manifest(a.data / pack / "test"), a.most)
    ]
    with ProcessPoolExecutor(a.workers, get_context("spawn")) as pool:
        answers = list(pool.map(ask, items, chunksize=8))
    found = rows(answers)
    result = {
        "command": "python -m assay_lab.benchmark.verdicts " + " ".join(argv or sys.argv[1:]),
        "version": assay.__version__,
        "models": list(available()),
        "rows": found,
    }
    a.out.write_text(json.dumps(result, indent=1) + "\n")
    keys = ("pack", "source", "real", "fake", "auc", "ece", "real_flagged", "real_suspicious",
            "stated_fpr", "fake_flagged", "fake_suspicious")  # fmt: skip
    for line in found:
        print(*(line.get(k, "-") for k in keys))


if __name__ == "__main__":
    main()
