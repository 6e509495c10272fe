"""Measure a speech model on the test pack, the way the product scores a recording.

    python -m assay_lab.benchmark.speech --pack DIR/speech --cache PAGES \
        --model src/assay/models/zoo/speech-v7 --out benchmarks/speech-v7.json --card

``DIR/speech/test`` is only measured here; nothing is chosen with it. The nuisance baseline (see
:func:`describe`) is fitted on ``DIR/speech/train``: what loudness, bandwidth, silence and
length alone give away. ``--cache`` names the training cache: systems that stand in it (with other
voices, from other pages) are told apart from those never trained on.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.audio.synthetic import pool
from assay.analyzers.audio.voice import SpeechWindows, windows_of_speech
from assay.models.card import read_card
from assay.models.runtime import open_network
from assay_lab.benchmark.logistic import decision, fit_logistic
from assay_lab.benchmark.metrics import auc, eer, rate_at, summary
from assay_lab.data.sound_corruptions import (
    NARROW,
    RATE,
    WIDE,
    low_pass,
    room,
    telephone,
    through_codec,
    with_noise,
)
from assay_lab.data.speech import decode
from assay_lab.export.calibration import to_llr, to_probability
from assay_lab.export.card import dumps

Sound = NDArray[np.float32]
Floats = NDArray[np.float64]

OPEN_TEST = "On the open test"

CORRUPTIONS: dict[str, Callable[[Sound, np.random.Generator], Sound]] = {
    "none": lambda x, _: x,
    "telephone": lambda x, _: telephone(x),
    "mp3_32k": lambda x, _: through_codec(x, WIDE[0], 32_000, 16_000),
    "opus_16k": lambda x, _: through_codec(x, WIDE[2], 16_000, 16_000),
    "amr_nb_12k": lambda x, _: through_codec(x, NARROW[2], 12_200, 8_000),
    "noise_20db": lambda x, r: with_noise(x, 20.0, r),
    "room_0.3s": lambda x, r: room(x, 0.3, r),
    "low_pass_4k": lambda x, _: low_pass(x, 4_000.0),
}


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording of the pack with its row of the manifest."""

    row: dict[str, str]
    samples: Sound

    @property
    def fake(self) -> bool:
        return self.row["label"] == "fake"


class Scorer:
    """A network file run as the product runs it: voice activity, windows, pooled logit."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        self.session = open_network(path, threads)

    def logits(self, windows: NDArray[np.float32]) -> Floats:
        """Logits [n] of windows [n, 64000]."""
        out = [
            self.session.run(["logit"], {"input": windows[i : i + 8]})[0]
            for i in range(0, len(windows), 8)
        ]
        return np.concatenate(out).astype(np.float64)

    def __call__(self, x: Sound, seconds: float = 0.25, snr: float = -np.inf) -> float | None:
        """Pooled logit of 16 kHz samples, None where these gates refuse them."""
        found, spoken, above = heard(x)
        if not found or spoken < seconds or above < snr:
            return None
        return pool([float(v) for v in self.logits(np.stack(found).astype(np.float32))])


def heard(x: Sound) -> tuple[list[Sound], float, float]:
    """Windows of speech in 16 kHz samples, seconds of speech, and its SNR in dB (infinite where it
    is not known)."""
    totals = SpeechWindows()
    found = [w.samples for w in windows_of_speech([x], totals)]
    return found, totals.speech_seconds, np.inf if totals.snr_db is None else totals.snr_db


def load(folder: Path) -> list[Clip]:
    """All clips of one split of the pack."""
    clips = []
    with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            clips.append(Clip(row, decode((folder / row["path"]).read_bytes())[0]))
    return clips


def systems_of(caches: list[Path]) -> frozenset[str]:
    """Names of the systems in speech caches."""
    return frozenset[str]().union(*(_systems(folder) for folder in caches))


def _systems(cache: Path) -> frozenset[str]:
    with open(cache / "manifest.csv", newline="", encoding="utf-8") as file:
        return frozenset(r["system"] for r in csv.DictReader(file) if r["label"] == "fake")


def describe(x: Sound) -> Floats:
    """Nuisance numbers of a recording; nothing here looks at how speech is made."""
    level = np.sqrt(np.square(x).mean() + 1e-12)
    power = np.square(np.abs(np.fft.rfft(x)))
    freq = np.fft.rfftfreq(x.size, 1 / RATE)
    total = power.sum() + 1e-12
    rolled = freq[min(int(np.searchsorted(np.cumsum(power) / total, 0.99)), freq.size - 1)]
    n = max(1, x.size // 320)
    frames = 10 * np.log10(np.square(x[: n * 320].reshape(n, -1)).mean(1) + 1e-10)
    loud = frames > np.percentile(frames, 95) - 35
    first = int(np.argmax(loud)) if loud.any() else 0
    last = int(np.argmax(loud[::-1])) if loud.any() else 0
    return np.array(
        [
            np.log(level),
            np.log(np.abs(x).max() + 1e-6),
            rolled / 8000,
            np.log(power[freq > 4000].sum() / total + 1e-9),
            np.log(power[freq > 7000].sum() / total + 1e-9),
            np.percentile(frames, 5) / 20,
            float((x == 0).mean()),
            first / 50,
            last / 50,
            1 - float(loud.mean()),
            np.log(x.size / RATE),
        ]
    )


def nuisance(train: list[Clip], test: list[Clip]) -> dict[str, float]:
    """AUC and EER of a logistic regression on :func:`describe`, fitted on the training pack."""
    a = np.stack([describe(c.samples) for c in train])
    b = np.stack([describe(c.samples) for c in test])
    mean, std = a.mean(0), a.std(0) + 1e-9
    weights = fit_logistic((a - mean) / std, np.array([c.fake for c in train], float), ridge=1.0)
    s = decision((b - mean) / std, weights)
    y = np.array([c.fake for c in test], int)
    return {"auc": auc(y, s), "eer": eer(y, s)}


def speed(scorer: Scorer, clips: list[Clip]) -> float:
    """Seconds of sound a second of processor time, voice activity included, on two minutes.

    Processor time of one thread, because a busy machine must not change the figure.
    """
    x = np.concatenate([c.samples for c in clips])[: 120 * RATE]
    scorer(x[: 8 * RATE])
    start = time.process_time()
    scorer(x)
    return x.size / RATE / (time.process_time() - start)


def measure(
    scorer: Scorer,
    folder: Path,
    clips: list[Clip],
    train: list[Clip],
    names: list[str],
    known: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """The document that is committed; ``known`` are systems that were trained on."""
    card = read_card(folder)
    if card.calibration is None or card.points is None:
        raise ValueError("the model is not calibrated")
    knots = (list(card.calibration.score), list(card.calibration.llr))
    point = card.points.fpr_1pct
    rows: list[dict[str, Any]] = []
    clean: dict[int, float] = {}
    for name in names:
        change = CORRUPTIONS[name]
        rng = np.random.default_rng(3)
        found = [scorer(change(c.samples, rng)) for c in clips]
        heard = [i for i, s in enumerate(found) if s is not None]
        s = np.array([found[i] for i in heard], float)
        y = np.array([clips[i].fake for i in heard], int)
        groups = [clips[i].row["source"] for i in heard]
        if name == "none":
            clean = dict(zip(heard, s.tolist(), strict=True))
        rows.append(
            {
                "corruption": name,
                **summary(
                    y, s, probabilities=to_probability(to_llr(s, knots), y.mean()), rounds=300
                ),
                "flagged_real_at_point": rate_at(s[y == 0], point),
                "flagged_fake_at_point": rate_at(s[y == 1], point),
                "no_speech_found": len(clips) - len(heard),
                "sources": len(set(groups)),
            }
        )
    real = np.array([s for i, s in clean.items() if not clips[i].fake])

    def part(key: str, value: str, fake: bool) -> dict[str, Any]:
        s = np.array(
            [v for i, v in clean.items() if clips[i].fake == fake and clips[i].row[key] == value]
        )
        row: dict[str, Any] = {key: value, "n": len(s), "flagged_at_point": rate_at(s, point)}
        if fake:
            y = np.r_[np.zeros(len(real), int), np.ones(len(s), int)]
            row["auc"] = auc(y, np.r_[real, s])
            row["eer"] = eer(y, np.r_[real, s])
        return row

    def values(key: str, fake: bool) -> list[str]:
        return sorted({clips[i].row[key] for i in clean if clips[i].fake == fake})

    speech = [i for i in clean if clips[i].row["type"] not in ("codec", "edit")]
    y = np.array([clips[i].fake for i in speech], int)
    s = np.array([clean[i] for i in speech])

    def among(seen: bool) -> dict[str, Any]:
        """Fakes of systems trained on or not, against all real clips."""
        chosen = [
            i for i in clean if not clips[i].fake or (clips[i].row["system"] in known) == seen
        ]
        s = np.array([clean[i] for i in chosen])
        y = np.array([clips[i].fake for i in chosen], int)
        if not y.any():
            return {"fake": 0}
        systems = {clips[i].row["system"] for i in chosen if clips[i].fake}
        return {
            **summary(y, s, rounds=300), "systems": len(systems),
            "flagged_fake_at_point": rate_at(s[y == 1], point),
        }  # fmt: skip

    return {
        "systems_never_trained_on": among(False),
        "systems_trained_on": among(True),
        "model": card.key,
        "model_sha256": card.sha256,
        "point_fpr_1pct": point,
        "overall": rows,
        "without_codec_and_edit": summary(y, s, rounds=300),
        "by_type": [part("type", v, True) for v in values("type", True)],
        "by_system": [part("system", v, True) for v in values("system", True)],
        "fake_by_source": [part("source", v, True) for v in values("source", True)],
        "real_by_source": [part("source", v, False) for v in values("source", False)],
        "nuisance_baseline": nuisance(train, clips),
        "times_real_time_one_core": round(speed(scorer, clips), 1),
        "weights_bytes": card.size,
    }


def card_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that go into the model's card."""
    keys = ("real", "fake", "auc", "auc_low", "auc_high", "tpr_at_1fpr", "eer", "ece")
    rows = [
        {
            "set": "test",
            "source": f"speech pack, {row['sources']} pages, 45 zero-shot systems",
            "corruption": row["corruption"],
            **{k: row[k] for k in keys},
            "flagged_real_at_point": row["flagged_real_at_point"],
        }
        for row in document["overall"]
    ]
    for part in document["real_by_source"]:
        rows.append(
            {
                "set": "test",
                "source": part["source"],
                "corruption": "none",
                "real": part["n"],
                "fake": 0,
                "flagged_real_at_point": part["flagged_at_point"],
            }
        )
    return rows


def limit(document: dict[str, Any]) -> str:
    """What the open test says about the point, as a sentence for the card."""
    plain, *others = document["overall"]
    flagged = ", ".join(
        f"{100 * r['flagged_real_at_point']:.0f} % ({r['corruption']})" for r in others
    )
    unseen = document["systems_never_trained_on"]
    return (
        f"{OPEN_TEST} the 1 % point flagged {100 * plain['flagged_real_at_point']:.1f} % of "
        f"{plain['real']} real clips" + (f", and {flagged} after corruption" if flagged else "")
        + f"; it caught {100 * plain['flagged_fake_at_point']:.0f} % of the fakes, "
        f"{100 * unseen['flagged_fake_at_point']:.0f} % of those from systems never trained on."
    )  # fmt: skip


def add_to_card(folder: Path, document: dict[str, Any]) -> None:
    """Replace the test rows of ``folder/card.toml`` and its first limit."""
    path = folder / "card.toml"
    card = tomllib.loads(path.read_text(encoding="utf-8"))
    kept = [m for m in card["metrics"] if m["set"] != "test"]
    card["metrics"] = kept + rounded(card_rows(document))
    sentences = [t for t in card["limits"]["sentences"] if not t.startswith(OPEN_TEST)]
    card["limits"]["sentences"] = [limit(document), *sentences]
    path.write_text(dumps(card), encoding="utf-8")


def rounded(value: Any) -> Any:
    """Floats to four digits, so that a diff shows changes and not noise."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a speech model on the test pack.")
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument(
        "--cache", type=Path, action="append", default=[], help="training caches, for their systems"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--card", action="store_true", help="write the rows into the card too")
    parser.add_argument("--corruptions", default=",".join(CORRUPTIONS), help="comma-separated")
    args = parser.parse_args()
    names = ["none", *(n for n in args.corruptions.split(",") if n != "none")]
    scorer = Scorer(args.model / read_card(args.model).file)
    document = measure(
        scorer, args.model, load(args.pack / "test"), load(args.pack / "train"), names,
        systems_of(args.cache),
    )  # fmt: skip
    document["command"] = (
        "python -m assay_lab.benchmark.speech --pack <data>/speech "
        f"--cache PAGES --model src/assay/models/zoo/{args.model.name} "
        f"--out benchmarks/{args.out.name} --card"
    )
    args.out.write_text(json.dumps(rounded(document), indent=1) + "\n", encoding="utf-8")
    if args.card:
        add_to_card(args.model, document)
    print(json.dumps(rounded(document["overall"]), indent=1))


if __name__ == "__main__":
    main()
