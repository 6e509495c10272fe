"""Calibrate the traces of local edits and of generators that need no network.

    python -m assay_lab.train.structure --shared DIR --mirrors DIR --pictures CACHE \
        --cache DIR --out src/assay/models/zoo [--traces copy-move ...]

Scores every picture with the shipped analyzers and fits, per trace, a monotone curve from
raw score to log-likelihood ratio (pool-adjacent-violators; Zadrozny and Elkan, KDD 2002),
bounded by what the number of untouched pictures supports. Untouched pictures and edits go
through the same cropping, scaling and saving; beside these stand what the pages of
``edit_sources.tsv`` show and the tamper pack. A trace whose AUC on the edits it is about is not
clearly above chance gets no card, and the analyzer then shows it without weight. Test folders
are measured at the end and decide nothing.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import io
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from assay.analyzers.image.cfa import ColourFilterArray
from assay.analyzers.image.copy_move import CopyMove
from assay.analyzers.image.jpeg import JpegHistory
from assay.analyzers.image.noise import NoiseLevel
from assay.analyzers.image.spectrum import Spectrum
from assay.findings import NotApplicable
from assay.media import Image, Source
from assay_lab.benchmark.metrics import auc_between, tpr_at_fpr
from assay_lab.data.cache import Cache
from assay_lab.data.edits import pages
from assay_lab.data.images import decode as readable
from assay_lab.export.card import dumps
from assay_lab.forge.local_edits import EDITS, Pixels, decode, edit, encode, prepared

Traces = Mapping[str, tuple[str, Any]]
ANALYZERS: Traces = {
    "jpeg-history": ("local_edit", JpegHistory()),
    "noise-level": ("local_edit", NoiseLevel()),
    "cfa": ("local_edit", ColourFilterArray()),
    "copy-move": ("local_edit", CopyMove()),
    "spectrum": ("generated_image", Spectrum()),
}
# The edits a trace is about: it must be better than chance on these. Its curve is fitted on
# edits of all kinds, since the question is whether there is any.
TARGETS: Mapping[str, tuple[str, ...]] = {
    "jpeg-history": ("made:",),
    "noise-level": ("made:retouch", "made:splice"),
    "cfa": ("made:",),
    "copy-move": ("made:copy_move", "page:copy_move"),
    "spectrum": ("pack:",),
}
LEAST_AUC = 0.55


class Item(NamedTuple):
    """One scored picture: ``score`` ``None`` = the analyzer does not apply."""

    source: str
    kind: str
    scores: dict[str, float | None]


def as_image(data: bytes, path: Path) -> Image:
    """A picture file as the product sees it; written to ``path``."""
    path.write_bytes(data)
    with Pillow.open(io.BytesIO(data)) as picture:
        form, (width, height) = (picture.format or "").lower(), picture.size
        pixels = np.asarray(picture.convert("RGB"), np.uint8)
    pixels.setflags(write=False)
    digest = hashlib.sha256(data).hexdigest()
    source = Source(
        path=path, sha256=digest, size=len(data), format=form, mime="", extension_matches=True
    )
    return Image(source=source, pixels=pixels, stored_width=width, stored_height=height)


def score(data: bytes, path: Path, chosen: Traces) -> dict[str, float | None]:
    """Raw score by trace; 0 where the analyzer looked and found nothing worth saying."""
    image = as_image(data, path)
    result: dict[str, float | None] = {}
    for name, (_, analyzer) in chosen.items():
        answer = analyzer.analyze(image)
        if isinstance(answer, NotApplicable):
            result[name] = None
        else:
            result[name] = max(
                (f.raw_score for f in answer if f.raw_score is not None), default=0.0
            )
    return result


def photographs(pictures: Cache, each: int) -> Iterator[tuple[str, bytes]]:
    """Source and JPEG file of photographs as they came, ``each`` of a source at most."""
    taken: Counter[str] = Counter()
    for i, row in enumerate(pictures.rows):
        if row.use != "validation" or row.kind != "photo" or taken[row.source] >= each:
            continue
        data = pictures.data(i)
        if not data.startswith(b"\xff\xd8"):
            continue
        pixels = decode(data)
        if min(pixels.shape[:2]) >= 256 and pixels.shape[0] * pixels.shape[1] < 16e6:
            taken[row.source] += 1
            yield row.source, data


def made(pictures: Cache, each: int, path: Path, chosen: Traces) -> Iterator[Item]:
    """Untouched photographs (as they are, and saved again) and edits of them."""
    rng = np.random.default_rng(20261124)
    before: Pixels | None = None
    for i, (source, data) in enumerate(photographs(pictures, each)):
        pixels = prepared(data, rng)
        second = int(rng.integers(70, 99))
        sub = int(rng.choice((0, 2)))
        history = int(rng.integers(60, 96)) if rng.random() < 0.5 else 0
        if history:
            pixels = decode(encode(pixels, history))
        yield Item(source, "real", score(data, path, chosen))
        yield Item(source, "real", score(encode(pixels, second, sub), path, chosen))
        if i % 4 == 0:  # the whole picture in its own size, saved again
            yield Item(source, "real", score(encode(decode(data), second, sub), path, chosen))
        if before is not None:
            kind = EDITS[i % len(EDITS)]
            forged = edit(pixels, before, kind, rng).pixels
            yield Item(source, f"made:{kind}", score(encode(forged, second, sub), path, chosen))
        before = pixels


def shown(mirrors: Path, path: Path, chosen: Traces) -> Iterator[Item]:
    """What the pages show, untouched and edited."""
    absent: list[str] = []
    for _, row, data in pages(mirrors, absent):
        if readable(data) is None:
            continue
        kind = "real" if row["label"] == "real" else f"page:{row['kind']}"
        yield Item(row["source"], kind, score(data, path, chosen))
    if absent:
        print("not fetched:", *sorted(set(absent)))


def pack(
    folder: Path, path: Path, most: int, keep: Callable[[dict[str, str]], bool], chosen: Traces
) -> Iterator[Item]:
    """Items of a pack whose manifest row passes ``keep``."""
    with (folder / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if keep(row)]
    rows.sort(key=lambda row: hashlib.sha256(row["path"].encode()).hexdigest())
    taken: Counter[tuple[str, str]] = Counter()
    for row in rows:
        key = (row["source"], row["label"])
        taken[key] += 1
        if taken[key] <= most:
            kind = "real" if row["label"] == "real" else f"pack:{row['kind']}"
            yield Item(
                row["source"], kind, score((folder / row["path"]).read_bytes(), path, chosen)
            )


def isotonic(
    real: NDArray[np.float64], fake: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[list[float], list[float]]:
    """Knots (score, llr) by pool-adjacent-violators over scores, both classes at equal weight.

    Half an edited and one untouched picture is added to every pool, and the ratio is kept
    within +-ln(n_real / 10).
    """
    scores = np.concatenate([real, fake])
    is_fake = np.concatenate([np.zeros(len(real)), weights / weights.mean()])
    is_real = np.concatenate([np.ones(len(real)), np.zeros(len(fake))])
    order = np.argsort(scores, kind="stable")
    pools: list[list[float]] = []  # real, fake, lowest, highest score
    for value, group in _runs(scores[order], is_real[order], is_fake[order]):
        pools.append([group[0], group[1], value, value])
        while len(pools) > 1 and _share(pools[-2]) >= _share(pools[-1]):
            last = pools.pop()
            pools[-1] = [
                pools[-1][0] + last[0],
                pools[-1][1] + last[1],
                pools[-1][2],
                last[3],
            ]
    # Pools of few pictures are noise: merge them into their lower neighbour.
    merged: list[list[float]] = []
    for pool in pools:
        if merged and (pool[0] + pool[1] < 12):
            last = merged[-1]
            merged[-1] = [last[0] + pool[0], last[1] + pool[1], last[2], pool[3]]
        else:
            merged.append(pool)
    bound = float(np.log(max(20.0, len(real)) / 10))
    at: list[float] = []
    llr: list[float] = []
    for r, f, low, high in merged:
        value = np.log((f + 0.5) / (len(fake) + 1)) - np.log((r + 1) / (len(real) + 1))
        value = float(np.clip(value, -bound, bound))
        # One knot in the middle of a pool: its lower end is where the last untouched picture
        # of the sample happened to lie, and a step there would not hold elsewhere.
        middle = round((low + high) / 2, 5)
        if not at or middle > at[-1]:
            at.append(middle)
            llr.append(round(max(value, llr[-1] if llr else value), 5))
    if len(at) == 1:
        at.append(at[0] + 1)
        llr.append(llr[0])
    return at, llr


def _share(pool: Sequence[float]) -> float:
    return pool[1] / max(1e-9, pool[0] + pool[1])


def _runs(
    scores: NDArray[np.float64], real: NDArray[np.float64], fake: NDArray[np.float64]
) -> Iterator[tuple[float, tuple[float, float]]]:
    """Equal scores together."""
    values, start = np.unique(scores, return_index=True)
    for i, value in enumerate(values):
        stop = start[i + 1] if i + 1 < len(values) else len(scores)
        part = slice(int(start[i]), int(stop))
        yield float(value), (float(real[part].sum()), float(fake[part].sum()))


def auc_interval(real: NDArray[np.float64], fake: NDArray[np.float64]) -> tuple[float, ...]:
    """AUC with the 2.5 and 97.5 % points of 200 bootstrap draws of pictures."""
    rng = np.random.default_rng(0)
    draws = [
        auc_between(rng.choice(real, len(real)), rng.choice(fake, len(fake))) for _ in range(200)
    ]
    low, high = np.percentile(draws, [2.5, 97.5])
    return auc_between(real, fake), float(low), float(high)


def values(items: Sequence[Item], name: str, start: str) -> NDArray[np.float64]:
    found = [i.scores[name] for i in items if i.kind.startswith(start)]
    return np.array([v for v in found if v is not None], np.float64)


def metrics(items: Sequence[Item], name: str, set_name: str, point: float) -> list[dict[str, Any]]:
    """One row a kind of positives, against all untouched pictures of the set."""
    real = values(items, name, "real")
    rows = []
    for kind in sorted({i.kind for i in items if i.kind != "real"}):
        fake = values(items, name, kind)
        if len(real) < 10 or len(fake) < 5:
            continue
        middle, low, high = auc_interval(real, fake)
        y, s = np.r_[np.zeros(len(real)), np.ones(len(fake))], np.r_[real, fake]
        rows.append(
            {
                "set": set_name,
                "source": kind,
                "real": len(real),
                "fake": len(fake),
                "auc": middle,
                "auc_low": low,
                "auc_high": high,
                "tpr_at_1fpr": tpr_at_fpr(y, s, 0.01),
                "flagged_real_at_point": float((real > point).mean()),
            }
        )
    return rows


def gather(
    shared: Path, mirrors: Path, pictures: Cache, chosen: Traces, each: int, cache: Path
) -> dict[str, list[Item]]:
    """Scores of all sets; every set is kept in the folder ``cache`` for the next fit."""
    data = shared / "data"
    cache.mkdir(parents=True, exist_ok=True)
    result: dict[str, list[Item]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture"
        sets: dict[str, Iterator[Item]] = {
            "made": made(pictures, each, path, chosen),
            "pages": shown(mirrors, path, chosen),
            "tamper": pack(data / "tamper/train", path, 200, lambda r: True, chosen),
            "images": pack(data / "images/train", path, 40 * each, _no_twin, chosen),
            "faces": pack(
                data / "faces/train", path, 30 * each, lambda r: r["label"] == "real", chosen
            ),
            "tamper_test": pack(data / "tamper/test", path, 999, lambda r: True, chosen),
            "images_test": pack(data / "images/test", path, 30 * each, lambda r: True, chosen),
        }
        for name, items in sets.items():
            file = cache / f"{name}-{each}-{'-'.join(chosen)}.json"
            if not file.is_file():
                file.write_text(json.dumps(list(items)))
                print(f"scored {name}", flush=True)
            result[name] = [Item(*row) for row in json.loads(file.read_text())]
    return result


def _no_twin(row: dict[str, str]) -> bool:
    return row["kind"] != "reconstruction"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--mirrors", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model zoo")
    parser.add_argument("--pictures", type=Path, required=True, help="the cache of pictures")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the scores")
    parser.add_argument("--each", type=int, default=1, help="photographs a source")
    parser.add_argument("--traces", nargs="+", choices=ANALYZERS, default=tuple(ANALYZERS))
    args = parser.parse_args()
    cv2.setNumThreads(1)
    chosen = {name: ANALYZERS[name] for name in args.traces}
    sets = gather(args.shared, args.mirrors, Cache(args.pictures), chosen, args.each, args.cache)
    for name, (question, analyzer) in chosen.items():
        write_card(name, question, analyzer.info, sets, args.out)


def write_card(
    name: str, question: str, info: Any, sets: Mapping[str, list[Item]], out: Path
) -> None:
    """Fit and write ``<out>/<name>-v1/card.toml``, unless the trace is no better than chance."""
    local = question == "local_edit"
    used = ("tamper", "made", "pages", "faces", "images") if local else ("images",)
    real = np.concatenate([values(sets[s], name, "real") for s in used])
    if local:
        parts = [
            values(sets[s], name, kind)
            for s, kind in (("tamper", "pack:"), ("made", "made:"), ("pages", "page:"))
        ]
    else:
        parts = [values(sets["images"], name, "pack:")]
    parts = [p for p in parts if len(p)]
    if len(real) < 50 or not parts or sum(map(len, parts)) < 30:
        print(
            f"{name}: applies to {len(real)} untouched and {sum(map(len, parts))} others: no card"
        )
        return
    fake = np.concatenate(parts)
    weights = np.concatenate([np.full(len(p), 1 / len(p)) for p in parts])
    middle, low, high = auc_interval(real, fake)
    own = ("made", "pages") if local else ("images",)
    aimed = np.concatenate([values(sets[s], name, kind) for s in own for kind in TARGETS[name]])
    plain = np.concatenate([values(sets[s], name, "real") for s in own])
    target = auc_interval(plain, aimed)
    flagged = float((real > 0).mean())
    point = float(np.quantile(real, 0.99, method="higher"))
    print(
        f"{name}: AUC {middle:.3f} [{low:.3f}, {high:.3f}], {len(real)} real, {len(fake)} others, "
        f"{flagged:.3f} of real with a finding; "
        f"on its own kinds AUC {target[0]:.3f} [{target[1]:.3f}, {target[2]:.3f}]"
    )
    train = ("tamper", "made", "pages") if local else ("images",)
    rows = [row for s in train for row in metrics(sets[s], name, s, point)]
    rows += metrics(sets["tamper_test" if local else "images_test"], name, "test", point)
    for row in rows:
        print("   ", {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})
    if target[1] <= LEAST_AUC:
        print(f"{name}: not clearly better than chance: no card")
        return
    at, llr = isotonic(real, fake, weights)
    card = {
        "model": {
            "name": name,
            "version": 1,
            "task": "calibration of a trace",
            "question": question,
            "licence": "Apache-2.0",
            "summary": f"Calibration of the raw score of {info.name}.",
            "file": "",
            "created": datetime.datetime.now(tz=datetime.UTC).date(),
            "origin": "own measurements (assay_lab.train.structure)",
        },
        "calibration": {
            "kind": "piecewise_linear",
            "score": at,
            "llr": llr,
            "n_real": len(real),
            "n_fake": len(fake),
            "source": "untouched: " + ", ".join(used) + "; edits: tamper/train, made by code "
            "and shown by pages, at equal weight"
            if local
            else "images/train and untouched photographs",
            "applies_to": "findings of the analyzer; without a finding nothing is added",
        },
        "operating_points": {
            "fpr_1pct": point,
            "fpr_5pct": float(np.quantile(real, 0.95, method="higher")),
            "low_band": 0.0,
            "tpr_at_fpr_1pct": float((fake > point).mean()),
        },
        "metrics": [
            {
                "set": "calibration",
                "source": "all",
                "real": len(real),
                "fake": len(fake),
                "auc": middle,
                "auc_low": low,
                "auc_high": high,
                "flagged_real_at_point": float((real > point).mean()),
            },
            {
                "set": "calibration",
                "source": "edits of its own kinds",
                "real": len(plain),
                "fake": len(aimed),
                "auc": target[0],
                "auc_low": target[1],
                "auc_high": target[2],
            },
            *rows,
        ],
        "limits": {"sentences": list(info.limitations)},
    }
    folder = out / f"{name}-v1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.toml").write_text(dumps(card))


if __name__ == "__main__":
    main()
