"""The front ends of the speech model as one graph, one of them in whole numbers.

    python -m assay_lab.export.speech_fronts --distillmos distill_mos_v7.pt --whisper model.bin \
        --pack DIR/speech --out fronts.onnx

The convolutions of Distill-MOS multiply numbers of eight bits, which is several times faster than
floats on a processor with instructions for it (VNNI) and still faster on others. Weights take seven
bits: kernels without VNNI add two products in sixteen. Ranges of what is multiplied are fixed
here, from recordings of the training pack, so that an answer does not depend on what else is in the
batch. What comes out is a little different from the network in floats; the features that
the classifier learns from (:mod:`assay_lab.train.speech_features`) are computed with this file, and
the released network holds it as it is (:mod:`assay_lab.export.speech`).
"""

from __future__ import annotations

import argparse
import csv
import logging
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from assay_lab.data.speech import decode
from assay_lab.export.onnx_graph import run_onnx, write_onnx
from assay_lab.train.quality_net import LAYERS
from assay_lab.train.speech_batches import WINDOW
from assay_lab.train.speech_net import load_fronts

SHOWN = 32  # windows that ranges come from
QUANTILE = 99.999
"""Share of the values, per cent, that must lie in the range. With the largest value of all at the
end of the range the features were off by twice as much."""
Windows = NDArray[np.float32]


def windows_of(pack: Path, count: int) -> Windows:
    """The first four seconds of ``count`` recordings of the training pack, [count, 64000]."""
    folder = pack / "train"
    with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    picked = np.random.default_rng(0).permutation(len(paths))[:count]
    sounds = [decode((folder / paths[i]).read_bytes())[0] for i in picked]
    return np.stack([np.resize(x, WINDOW).astype(np.float32) for x in sounds])


class _Shown:
    """Windows, four at a time, as the quantizer asks for them."""

    def __init__(self, windows: Windows) -> None:
        self.parts = iter([windows[k : k + 4] for k in range(0, len(windows), 4)])

    def get_next(self) -> dict[str, Windows] | None:
        part = next(self.parts, None)
        return None if part is None else {"input": part}


def multiplied(graph: Any) -> list[str]:
    """The convolutions of Distill-MOS.

    Raises ValueError when they are not as many as the network has.
    """
    name = re.compile(r"/quality/layers\.\d+/Conv")
    found = [node.name for node in graph.node if name.fullmatch(node.name)]
    if len(found) != LAYERS:
        raise ValueError(f"{len(found)} convolutions of Distill-MOS in the graph")
    return found


def quantize(path: Path, windows: Windows, out: Path) -> None:
    """Write the graph ``path`` with Distill-MOS in whole numbers to ``out``."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    # The quantizer advises a preparation that folds what the runtime folds anyway.
    logging.disable(logging.WARNING)
    quantize_static(
        path, out, _Shown(windows),
        quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv"],
        nodes_to_quantize=multiplied(onnx.load(str(path)).graph),
        calibrate_method=CalibrationMethod.Percentile,
        extra_options={"CalibPercentile": QUANTILE},
    )  # fmt: skip
    logging.disable(logging.NOTSET)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the front ends of the speech model.")
    parser.add_argument("--distillmos", type=Path, required=True)
    parser.add_argument("--whisper", type=Path, required=True)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    net = load_fronts(args.distillmos, args.whisper)
    windows = windows_of(args.pack, 3 * SHOWN)
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder) / "exact.onnx"
        write_onnx(net, torch.from_numpy(windows[:1]), exact, ("features",))
        quantize(exact, windows[:SHOWN], args.out)
        others = range(SHOWN, len(windows), 4)
        a, b = (
            np.concatenate([run_onnx(path, windows[k : k + 4])[0] for k in others])
            for path in (exact, args.out)
        )
    off = (b - a) / (a.std(0) + 1e-3)
    print("off by, in deviations of each feature:", round(float(np.sqrt((off**2).mean())), 3))


if __name__ == "__main__":
    main()
