"""Calibrates ``audio.editing``: spliced against uncut speech, without training a network.

Joins are made from real clips: a piece cut out of one clip (``cut``), the second half
replaced by another clip of the same source (``same``) or of another one (``other``);
anywhere or in the quietest 20 ms near; butted or cross-faded over 3 or 10 ms. Uncut clips
are trimmed to the lengths of the joined ones, and both go through the same codecs
afterwards. The score of the analyzer has no fitted parameter; the curve is fitted on all
sources, its error measured on sources left out.

Command: ``python -m assay_lab.train.audio_editing --pack SPEECH/train --other CACHE --out
src/assay/models/zoo/audio-editing-v1`` (CACHE as :mod:`assay_lab.data.speech` makes it)
"""

from __future__ import annotations

import argparse
import csv
import io
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.audio.editing import HOP_SECONDS, WINDOW_SECONDS, pool
from assay.analyzers.audio.splice import RATE, background_change
from assay.analyzers.audio.windows import windows
from assay_lab.benchmark.metrics import (
    auc,
    bootstrap,
    ece,
    eer,
    rate_at,
    threshold_at_fpr,
    tpr_at_fpr,
)  # fmt: skip
from assay_lab.export.calibration import (
    calibrate,
    conservative_threshold,
    low_band,
    to_llr,
    to_probability,
)  # fmt: skip
from assay_lab.export.card import dumps

Sound = NDArray[np.float32]
Floats = NDArray[np.float64]
KINDS = ("cut", "same", "other")
CODECS = ("none", "none", "mp3", "opus")


@dataclass(frozen=True, slots=True)
class Item:
    """One scored sound. ``kind`` is ``"real"`` or one of KINDS."""

    score: float
    kind: str
    source: str
    codec: str


def join(left: Sound, right: Sound, fade: int) -> Sound:
    """``left`` then ``right``, cross-faded linearly over ``fade`` samples."""
    if fade == 0 or min(len(left), len(right)) <= fade:
        return np.concatenate([left, right])
    w = np.linspace(0, 1, fade, dtype=np.float32)
    mixed = left[-fade:] * (1 - w) + right[:fade] * w
    return np.concatenate([left[:-fade], mixed, right[fade:]])


def quietest(x: Sound, near: int, reach: int = 3200) -> int:
    """Middle of the quietest 20 ms within ``reach`` samples of ``near``."""
    low = max(0, near - reach)
    power = np.convolve(x[low : near + reach] ** 2, np.ones(320), "valid")
    return low + int(power.argmin()) + 160


def splice(x: Sound, donor: Sound | None, rng: np.random.Generator) -> tuple[Sound, int]:
    """(joined sound, index of the join); ``donor`` None cuts a piece out of ``x``."""
    if donor is None:
        a = int(rng.uniform(0.2, 0.5) * len(x))
        b = a + int(rng.uniform(0.1, 0.35) * len(x))
        y = x
    else:
        gain = np.sqrt(np.mean(x**2) / (np.mean(donor**2) + 1e-12))
        y = (donor * gain).astype(np.float32)
        a = int(rng.uniform(0.35, 0.65) * len(x))
        b = int(rng.uniform(0.35, 0.65) * len(y))
    if rng.random() < 0.5:
        a, b = quietest(x, a), quietest(y, b)
    return join(x[:a], y[b:], int(rng.choice([0, 48, 160]))), a


def through_codec(x: Sound, codec: str) -> Sound:
    """``x`` (RATE, mono) encoded with ``"mp3"`` (32 kbit/s) or ``"opus"`` (24 kbit/s) and back."""
    if codec == "none":
        return x
    import av
    import soxr

    name, container, rate = {
        "mp3": ("libmp3lame", "mp3", RATE), "opus": ("libopus", "ogg", 48_000),
    }[codec]  # fmt: skip
    file = io.BytesIO()
    y = x if rate == RATE else soxr.resample(x, RATE, rate, quality="HQ")
    pcm = (np.clip(y, -1, 1) * 32767).astype(np.int16)[None]
    with av.open(file, "w", format=container) as box:
        stream = box.add_stream(name, rate=rate, layout="mono")
        stream.bit_rate = 32_000 if codec == "mp3" else 24_000
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
        for ready in (*resampler.resample(frame), *resampler.resample(None)):
            box.mux(stream.encode(ready))
        box.mux(stream.encode(None))
    file.seek(0)
    parts = []
    with av.open(file) as box:
        mixer = av.AudioResampler(format="flt", layout="mono", rate=rate)
        for got in box.decode(audio=0):
            parts += [p.to_ndarray()[0] for p in mixer.resample(got)]
        parts += [p.to_ndarray()[0] for p in mixer.resample(None)]
    out = np.concatenate(parts)
    if rate != RATE:
        out = soxr.resample(out, rate, RATE, quality="HQ")
    return np.ascontiguousarray(out[: len(x)], np.float32)


def score(x: Sound) -> float | None:
    """The analyzer's raw score of ``x``, in dB; None where it has none."""
    size, hop = round(WINDOW_SECONDS * RATE), round(HOP_SECONDS * RATE)
    found = [background_change(w) for _, w in windows([x], size, hop)]
    sizes = [c.decibels for c in found if c is not None]
    return pool(sizes) if sizes else None


def build(clips: list[tuple[str, Sound]], seed: int = 0) -> list[Item]:
    """Scores of every clip and of one joined sound of each kind from it."""
    rng = np.random.default_rng(seed)
    by_source: dict[str, list[int]] = defaultdict(list)
    for i, (source, _) in enumerate(clips):
        by_source[source].append(i)
    items = []
    for i, (source, x) in enumerate(clips):
        lengths = []
        for kind in KINDS:
            donor = _donor(i, kind, clips, by_source, rng)
            if kind == "same" and donor is None:
                continue
            y, _ = splice(x, donor, rng)
            lengths.append(len(y))
            items += _item(y, kind, source, rng)
        # Uncut clips are as long as the joined ones, or length would tell.
        length = min(len(x), int(rng.choice(lengths)))
        at = int(rng.integers(0, len(x) - length + 1))
        items += _item(x[at : at + length], "real", source, rng)
    return items


def _donor(
    i: int, kind: str, clips: list[tuple[str, Sound]], by_source: Mapping[str, list[int]],
    rng: np.random.Generator,
) -> Sound | None:  # fmt: skip
    source = clips[i][0]
    if kind == "cut":
        return None
    same = kind == "same"
    pool_ = [j for j in by_source[source] if j != i] if same else [
        j for j in range(len(clips)) if clips[j][0] != source
    ]  # fmt: skip
    return clips[int(rng.choice(pool_))][1] if pool_ else None


def _item(x: Sound, kind: str, source: str, rng: np.random.Generator) -> list[Item]:
    codec = str(rng.choice(CODECS))
    value = score(through_codec(x, codec))
    return [] if value is None else [Item(value, kind, source, codec)]


def by_source(items: list[Item]) -> dict[str, Floats]:
    out: dict[str, list[float]] = defaultdict(list)
    for item in items:
        out[item.source].append(item.score)
    return {k: np.array(v) for k, v in sorted(out.items())}


def left_out_llr(items: list[Item], folds: int = 5) -> Floats:
    """Ratio of each item from a curve fitted without its source."""
    sources = sorted({i.source for i in items})
    fold = {s: k % folds for k, s in enumerate(sources)}
    out = np.zeros(len(items))
    for k in range(folds):
        kept = [i for i in items if fold[i.source] != k]
        knots = calibrate(
            by_source([i for i in kept if i.kind == "real"]),
            by_source([i for i in kept if i.kind != "real"]),
        )
        for n, item in enumerate(items):
            if fold[item.source] == k:
                out[n] = to_llr(np.array([item.score]), knots)[0]
    return out


def metric_row(name: str, real: list[Item], fake: list[Item], **more: Any) -> dict[str, Any]:
    both = real + fake
    y = np.array([0] * len(real) + [1] * len(fake))
    s = np.array([i.score for i in both])
    area = bootstrap(auc, y, s, groups=np.array([i.source for i in both]))
    return {
        "set": "leave-sources-out", "source": name, "real": len(real), "fake": len(fake),
        "corruption": "none, MP3 or Opus", "auc": area.value, "auc_low": area.low,
        "auc_high": area.high, "tpr_at_1fpr": tpr_at_fpr(y, s), "eer": eer(y, s), **more,
    }  # fmt: skip


def within(
    knots: tuple[list[float], list[float]], low: float, high: float, count: int = 9
) -> tuple[list[float], list[float]]:
    """The same curve with its ends at the scores ``low`` and ``high``: no claim beyond."""
    at = np.linspace(low, high, count)
    return [round(float(v), 5) for v in at], [round(float(v), 5) for v in to_llr(at, knots)]


def make_card(items: list[Item], other: Mapping[str, Floats]) -> dict[str, Any]:
    """The card as tables; without a calibration where the bootstrap cannot tell it from chance.

    ``other`` are scores of real clips of further sources: they count as real in the curve
    and the thresholds, and not in the metrics, since no joined clips were made of them.
    """
    real = [i for i in items if i.kind == "real"]
    fake = [i for i in items if i.kind != "real"]
    llr = left_out_llr(items)
    y = np.array([i.kind != "real" for i in items]).astype(int)
    balanced = to_probability(llr, prior=float(y.mean()))
    reals = {**by_source(real), **other}
    threshold = conservative_threshold(reals, 0.01)
    scores = np.concatenate(list(reals.values()))
    rows = [metric_row("all joins", real, fake, ece=ece(y, balanced),
                       flagged_real_at_point=rate_at(scores, threshold))]  # fmt: skip
    rows += [metric_row(_NAMES[k], real, [i for i in fake if i.kind == k]) for k in KINDS]
    usable = rows[0]["auc_low"] > 0.55
    # Above the score of the top hundredth of the real clips, too few are left to say how
    # many more joined ones there are.
    lowest, highest = float(min(i.score for i in items)), float(np.quantile(scores, 0.99))
    knots = within(calibrate(reals, by_source(fake)), lowest, highest)
    claimed = float(np.ceil(scores.max()))
    fakes = np.array([i.score for i in fake])
    caught = rate_at(fakes, threshold)
    upper = 1 - 0.05 ** (1 / len(scores))
    limits = [
        f"Weak evidence: AUC {rows[0]['auc']:.2f} over all joins, {rows[1]['auc']:.2f} (chance) "
        "for a cut inside one recording, "
        f"{rows[2]['auc']:.2f} and {rows[3]['auc']:.2f} for joins of two recordings of one "
        "and of different origin.",
        f"A join is claimed from {claimed:.0f} dB on, which none of {len(scores)} real clips "
        f"reached (so the rate is below {100 * upper:.1f} %) and "
        f"{100 * rate_at(fakes, claimed):.1f} % of the joined ones do.",
        f"At the 1 % point of the card, {100 * caught:.0f} % of the joined ones are flagged.",
        "Joined clips are 1.5 to 5 s, real ones 1.5 to 8 s of read or conversational speech at 16 "
        "kHz; music, noise and long recordings were not measured.",
    ]
    card: dict[str, Any] = {
        "model": {
            "name": "audio-editing", "version": 1, "task": "audio splice detection",
            "question": "audio_edit", "licence": "Apache-2.0",
            "summary": "Calibration of the background change measured by audio.editing (dB).",
            "file": "", "created": datetime.now(UTC).date(), "origin": "own measurements",
        },
        "data": [{"name": "speech pack, train split, real clips", "sources": len(by_source(real)),
                  "real": len(real), "fake": len(fake)},
                 {"name": "speech cache, real clips over 6 s of other sources",
                  "sources": len(other), "real": len(scores) - len(real), "fake": 0}],
        "operating_points": {
            "fpr_1pct": threshold, "fpr_5pct": threshold_at_fpr(scores, 0.05),
            "low_band": low_band(by_source(fake)), "tpr_at_fpr_1pct": caught,
        },
        "gates": {"claim_db": claimed},
        "metrics": rows,
        "limits": {"sentences": limits},
    }  # fmt: skip
    if usable:
        card["calibration"] = {
            "kind": "piecewise_linear", "score": knots[0], "llr": knots[1],
            "n_real": len(scores), "n_fake": len(fake), "source": "speech pack, train split",
            "applies_to": "raw score of audio.editing.background, dB",
        }  # fmt: skip
    return card


_NAMES = {
    "cut": "piece cut out of one recording",
    "same": "joined, same source",
    "other": "joined, different sources",
}


def read_other(cache: Path, pack: Path, per_source: int = 25) -> dict[str, Floats]:
    """Scores by source of real clips over 6 s in a speech cache, other sources than ``pack``'s."""
    known = {source for source, _ in read_pack(pack)}
    sound = np.memmap(cache / "audio.i16", dtype="<i2", mode="r")
    out: dict[str, list[float]] = defaultdict(list)
    with (cache / "manifest.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            at, length = int(row["offset"]), int(row["length"])
            source = row["source"]
            if row["label"] not in ("real", "bona fide") or source in known or length < 6 * RATE:
                continue
            if len(out[source]) < per_source:
                x = sound[at : at + length].astype(np.float32) / 32768
                value = score(x)
                out[source] += [] if value is None else [value]
    return {k: np.array(v) for k, v in sorted(out.items()) if v}


def read_pack(folder: Path) -> list[tuple[str, Sound]]:
    """(source, samples) of the real clips of a speech pack."""
    import soundfile

    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["label"] == "real"]
    return [(r["source"], soundfile.read(folder / r["path"], dtype="float32")[0]) for r in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--other", type=Path, help="a speech cache with more real clips")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    other = read_other(args.other, args.pack) if args.other else {}
    card = make_card(build(read_pack(args.pack), args.seed), other)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "card.toml").write_text(dumps(card), encoding="utf-8")


if __name__ == "__main__":
    main()
