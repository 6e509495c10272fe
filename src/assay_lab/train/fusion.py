"""How the ratios of a picture and of its faces count together for a generated picture.

    python -m assay_lab.train.fusion --shared DIR --mirrors DIR --faces CACHE --out fusion.json

Pictures that neither network learned from go through the whole product: those of the held rows
of the table of faces, but for repositories in the recipes of pictures, and stored crops of the
held sources that are no pages (``CROPS``). Where faces and picture were both judged,
a logistic regression of *wholly generated or real* on the picture's ratio and the mean of its
faces' gives the three numbers of ``assay.fusion.calibration``. Sources weigh by the root of their
size, both classes alike. How well the mixture then ranks and is calibrated is measured with
numbers that were fitted without the source in question. Local fakes are ranked, not fitted on.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

import assay
from assay.findings import Question
from assay.fusion import Hypothesis
from assay.fusion.calibration import posterior, shares
from assay_lab.benchmark.logistic import fit_logistic
from assay_lab.benchmark.metrics import auc_between, ece, rate_at
from assay_lab.data.cache import Cache
from assay_lab.data.face_sources import rows as face_rows
from assay_lab.data.gitmirror import mirror_of
from assay_lab.data.images import fair, found_in, repositories
from assay_lab.train.weighting import root_weights

Floats = NDArray[np.float64]
WHOLLY = frozenset({"gan", "diffusion", "generated"})
CROPS = ("dfdc", "expressions", "loopy", "omnihuman", "LivePortrait")
MOST_OF_ROW, MOST_OF_SOURCE = 40, 80
ALONE = (1.0, 0.0, 0.0)
"""The picture's own ratio and nothing else."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the product found in one picture: natural-log ratios, ``None`` where not judged.

    ``face`` is pooled over faces as for the question of faces, ``faces`` their mean; ``part`` is
    that of an edited part.
    """

    source: str
    fake: bool
    wholly: bool
    face: float | None
    faces: float | None
    picture: float | None
    part: float | None = None


def held(mirrors: Path, faces: Path, known: set[str]) -> Iterator[tuple[str, bool, str, bytes]]:
    """Source, fake or not, kind and file of every picture, but of ``known`` repositories."""
    for row in face_rows():
        mirror = mirror_of(mirrors, row["repository"])
        if row["role"] != "held" or row["repository"] in known or mirror is None:
            continue
        pattern = re.compile(row["pattern"])
        names = [n for n in mirror.names if pattern.search(n)]
        for _, data in found_in(mirror, names, MOST_OF_ROW, row["crop"]):
            yield row["source"], row["label"] == "fake", row["kind"], data
    cache = Cache(faces)
    kept = [r for r in enumerate(cache.rows) if r[1].use == "validation" and r[1].source in CROPS]
    # one crop of each identity, where these are known
    kept = fair(
        kept, lambda r: r[1].name,
        lambda r: (r[1].label, r[1].group if r[1].source == "dfdc" else r[0]), 1,
    )  # fmt: skip
    for i, r in fair(
        kept, lambda r: r[1].name, lambda r: (r[1].source, r[1].label), MOST_OF_SOURCE
    ):
        yield r.source, r.label == "fake", r.kind, cache.data(i)


def ask(item: tuple[Path, str, bool, str]) -> Seen:
    """Analyse one file: (path, source, fake, kind)."""
    path, source, fake, kind = item
    report = assay.analyze(path, pictures=False)
    said = defaultdict(list)
    for e in report.evidence:
        if e.llr is not None and e.question is not None:
            said[e.question].append(e.llr)
    ratios = {h.question: h.llr for h in report.hypotheses}
    face, whole = said[Question.FACE_MANIPULATION], said[Question.GENERATED_IMAGE]
    return Seen(
        source=source, fake=fake, wholly=kind in WHOLLY,
        face=ratios[Question.FACE_MANIPULATION] if face else None,
        faces=float(np.mean(face)) if face else None,
        picture=whole[0] if whole else None,
        part=ratios[Question.LOCAL_EDIT] if said[Question.LOCAL_EDIT] else None,
    )  # fmt: skip


def weights(seen: Sequence[Seen]) -> Floats:
    """Sources by the root of their size, both classes alike; mean 1."""
    label = np.array(["fake" if s.fake else "real" for s in seen])
    return root_weights(label, np.array([s.source for s in seen]))


def fit(seen: Sequence[Seen]) -> tuple[float, float, float]:
    """Weight of the picture's ratio, of the mean of its faces' ratios, and what is added."""
    used = [s for s in seen if s.picture is not None and s.face is not None
            and (s.wholly or not s.fake)]  # fmt: skip
    x = np.array([[s.picture, s.faces] for s in used], np.float64)
    found = fit_logistic(x, [float(s.fake) for s in used], weights=weights(used))
    of_picture, of_faces, added = (round(float(v), 3) for v in found)
    return of_picture, of_faces, added


def probability(seen: Seen, numbers: tuple[float, float, float]) -> float:
    """That of the product with these numbers, at the prior of one half."""
    face, whole, local = (
        Question.FACE_MANIPULATION, Question.GENERATED_IMAGE, Question.LOCAL_EDIT,
    )  # fmt: skip
    llr = {whole: seen.picture, face: seen.face, local: seen.part}
    if seen.picture is not None and seen.faces is not None:
        of_picture, of_faces, added = numbers
        llr[whole] = of_picture * seen.picture + of_faces * seen.faces + added
    share = shares(llr)
    return posterior(
        [Hypothesis(question=q, tested=v is not None, share=share[q], llr=v or 0.0)
         for q, v in llr.items()], 0.5,
    )  # fmt: skip


def grade(seen: Sequence[Seen], p: Floats) -> dict[str, float]:
    """AUC with sources alike, log loss and calibration error, and who is above .75."""
    fake = np.array([s.fake for s in seen])
    real_sets, fake_sets = (
        [p[[i for i, s in enumerate(seen) if s.source == name and s.fake == kind]]
         for name in dict.fromkeys(s.source for s in seen if s.fake == kind)]
        for kind in (False, True)
    )  # fmt: skip
    areas = [auc_between(r, f) for r in real_sets for f in fake_sets if min(len(r), len(f)) >= 3]
    loss = -np.log(np.where(fake, p, 1 - p))
    w = weights(seen)
    pick = np.random.default_rng(0).choice(len(p), 20000, p=w / w.sum())
    return {
        "auc, sources alike": round(float(np.mean(areas)), 4),
        "auc": round(auc_between(p[~fake], p[fake]), 4),
        "log loss": round(float(np.average(loss, weights=w)), 4),
        "ece": round(ece(fake[pick].astype(float), p[pick]), 4),
        "real above .75": round(float(np.mean([rate_at(r, 0.75) for r in real_sets])), 4),
        "fake above .75": round(float(np.mean([rate_at(f, 0.75) for f in fake_sets])), 4),
    }


def report(seen: Sequence[Seen]) -> dict[str, Any]:
    """The numbers from all sources, and what they bring on sources left out of the fit."""
    seen = [s for s in seen if s.face is not None or s.picture is not None]
    apart = np.zeros(len(seen))
    for name in {s.source for s in seen}:
        numbers = fit([s for s in seen if s.source != name])
        for i, s in enumerate(seen):
            if s.source == name:
                apart[i] = probability(s, numbers)
    kinds = {"all": lambda s: True, "wholly generated": lambda s: s.wholly or not s.fake,
             "faces only": lambda s: not s.wholly}  # fmt: skip
    found: dict[str, Any] = {"numbers": fit(seen), "real": sum(not s.fake for s in seen),
                             "fake": sum(s.fake for s in seen)}  # fmt: skip
    alone = np.array([probability(s, ALONE) for s in seen])
    faces = np.array([1 / (1 + np.exp(-(s.face or 0.0))) for s in seen])
    for kind, wanted in kinds.items():
        at = [i for i, s in enumerate(seen) if wanted(s)]
        mine = [seen[i] for i in at]
        found[kind] = {
            "the question of faces alone": grade(mine, faces[at]),
            "each question by its own tests": grade(mine, alone[at]),
            "faces count for the picture": grade(mine, apart[at]),
        }
    return found


def main(argv: list[str] | None = None) -> None:
    """Command line of the fit."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--shared", type=Path, required=True)
    p.add_argument("--mirrors", type=Path, required=True)
    p.add_argument("--faces", type=Path, required=True, help="the cache of faces")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--workers", type=int, default=2)
    a = p.parse_args(argv)
    with TemporaryDirectory() as folder:
        items = []
        for n, (source, fake, kind, data) in enumerate(
            held(a.mirrors, a.faces, repositories(a.shared))
        ):
            path = Path(folder) / f"{n}"
            path.write_bytes(data)
            items.append((path, source, fake, kind))
        with ProcessPoolExecutor(a.workers, get_context("spawn")) as pool:
            seen = list(pool.map(ask, items, chunksize=8))
    result = report(seen)
    a.out.write_text(json.dumps({**result, "seen": [asdict(s) for s in seen]}, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
