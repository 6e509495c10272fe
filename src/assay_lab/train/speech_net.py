"""The speech model: two frozen front ends and a small trained classifier.

What Distill-MOS (:mod:`assay_lab.train.quality_net`) and Whisper
(:mod:`assay_lab.train.whisper_net`) hear in a window goes, each feature with mean 0 and deviation
1, through one hidden layer. The front ends are rounded before anything is learned from them
(:mod:`assay_lab.export.speech_fronts`), so that the classifier knows the numbers that are served.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay_lab.train.quality_net import BANDS, CHANNELS, FIRST, LAYERS, MOMENTS, QualityNet
from assay_lab.train.whisper_net import BLOCKS, SIZE, WhisperNet

HIDDEN = 64
FEATURES = MOMENTS * (sum(BANDS * CHANNELS[i + 1] for i in range(FIRST, LAYERS)) + BLOCKS * SIZE)


class Fronts(nn.Module):
    """Both front ends: 16 kHz samples [N, L], up to four seconds, to ``FEATURES`` [N, F]."""

    def __init__(self) -> None:
        super().__init__()
        self.quality, self.listener = QualityNet(), WhisperNet()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.quality(x), self.listener(x)], 1)


class Classifier(nn.Module):
    """Features [N, F] to a logit [N]."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int = FEATURES, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.hidden, self.out = nn.Linear(features, hidden), nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.judge((x - self.mean) / self.deviation)

    def judge(self, z: Tensor) -> Tensor:
        """Logits of features of mean 0 and deviation 1."""
        # Written as a product so that the exported matrix stands input by output.
        z = torch.matmul(z, self.hidden.weight.t()) + self.hidden.bias
        out: Tensor = self.out(F.dropout(F.gelu(z), 0.5, self.training))[:, 0]
        return out


def load_fronts(distillmos: Path, whisper: Path) -> Fronts:
    """The front ends with the weights of others, rounded: those of Whisper to 8 bit, its vectors
    and the others to 16."""
    fronts = Fronts()
    fronts.quality.load_distillmos(distillmos)
    fronts.listener.load_whisper(whisper)
    with torch.no_grad():
        for name, p in fronts.named_parameters():
            eight = p.ndim > 1 and re.search(r"blocks|listener\.conv", name)
            p.copy_(to_8_bit(p) if eight else p.half().float())
    return fronts.eval()


def to_8_bit(weight: Tensor) -> Tensor:
    """Each row as whole numbers up to 127 times a step of 11 bits, so that products are exact."""
    rows = weight.flatten(1)
    mantissa, exponent = np.frexp(rows.abs().amax(1).clamp_min(1e-6).numpy() / 127)
    step = torch.from_numpy(np.ldexp(np.ceil(mantissa * 2048) / 2048, exponent))[:, None].float()
    return ((rows / step).round().clamp(-127, 127) * step).reshape(weight.shape)
