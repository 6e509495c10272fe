"""The front end of ``speech-v1``: the convolutions of Distill-MOS under a linear classifier.

Distill-MOS (Stahl and Gamper, "Distillation and pruning for scalable self-supervised
representation-based speech quality assessment", 2025; weights MIT, in the package
``distillmos``) is a small network taught to agree with a speech-quality model built on
wav2vec 2.0 XLS-R. Its convolutions see the complex spectrum, phase included, and react to what
synthesis does to a voice. They stay as they are; means and deviations over time of the last
layers, in four bands, feed one linear layer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = (2, 64, 64, 128, 256, 256, 256)
BANDS = 4
FIRST = 2  # first layer whose statistics are used


class QualityNet(nn.Module):
    """16 kHz samples [N, L] to a logit [N]; ``layers`` of the six are kept."""

    def __init__(self, layers: int = 6) -> None:
        super().__init__()
        if not FIRST < layers <= 6:
            raise ValueError("3 to 6 layers")
        n = np.arange(320)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * n / 320)
        angle = 2 * np.pi * np.outer(np.arange(161), n) / 320
        kernel = np.stack([np.cos(angle) * window, -np.sin(angle) * window]).reshape(322, 1, 320)
        self.register_buffer("kernel", torch.from_numpy(kernel.astype(np.float32)), False)
        self.layers = nn.ModuleList(
            nn.Conv2d(
                CHANNELS[i],
                CHANNELS[i + 1],
                3,
                stride=(2 if i else 1, 2 if i == 5 else 1),
                padding=(0, 1),
            )
            for i in range(layers)
        )
        heights = [159, 79, 39, 19, 9, 4]
        for i in range(FIRST, layers):
            self.register_buffer(f"bands{i}", _bands(heights[i]), False)
        size = sum(CHANNELS[i + 1] for i in range(FIRST, layers)) * BANDS * 2
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.out = nn.Linear(size, 1)

    def features(self, x: Tensor) -> Tensor:
        """[N, F]: for each kept layer means, then deviations, channel by channel and band."""
        x = x / (x.abs().amax(1, keepdim=True) + 1e-8)
        x = F.pad(x[:, None], (80, 80), mode="reflect")
        z = F.conv1d(x, self.kernel, stride=160)
        z = z.reshape(z.shape[0], 2, 161, -1)
        size = z.square().sum(1, keepdim=True).clamp_min(1e-24).sqrt()
        y = z * size.pow(-0.7)
        found = []
        for i, layer in enumerate(self.layers):
            y = F.leaky_relu(layer(y), 0.1)
            if i >= FIRST:
                banded = torch.matmul(getattr(self, f"bands{i}"), y.float())
                mean = banded.mean(3, keepdim=True)
                spread = ((banded - mean).square().mean(3) + 1e-8).sqrt()
                found += [mean.flatten(1), spread.flatten(1)]
        return torch.cat(found, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        out: Tensor = self.out((self.features(x) - self.mean) / self.deviation)[:, 0]
        return out

    def set_linear(
        self, mean: np.ndarray, deviation: np.ndarray, weights: np.ndarray, shift: float
    ) -> None:
        """Set the whitening and the last layer."""
        with torch.no_grad():
            self.mean.copy_(torch.from_numpy(mean))
            self.deviation.copy_(torch.from_numpy(deviation))
            self.out.weight[0].copy_(torch.from_numpy(weights))
            self.out.bias.fill_(shift)

    def load_distillmos(self, path: str | Path) -> None:
        """Fill the convolutions from ``distill_mos_v7.pt``."""
        given = torch.load(path, map_location="cpu", weights_only=True)["model"]
        with torch.no_grad():
            for i, layer in enumerate(self.layers):
                layer.weight.copy_(given[f"cnn.cnn.{2 * i}.weight"])
                layer.bias.copy_(given[f"cnn.cnn.{2 * i}.bias"])


class FusedNet(nn.Module):
    """Weighted sum of the logits of several networks that take the same samples."""

    def __init__(self, parts: list[nn.Module], weights: list[float]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.weights = weights

    def forward(self, x: Tensor) -> Tensor:
        total = self.weights[0] * self.parts[0](x)
        for part, weight in zip(list(self.parts)[1:], self.weights[1:], strict=True):
            total = total + weight * part(x)
        return total


def _bands(height: int) -> Tensor:
    """Averages over ``BANDS`` slightly overlapping parts of the frequency axis, [4, height]."""
    out = np.zeros((BANDS, height), np.float32)
    for k in range(BANDS):
        low, high = k * height // BANDS, -(-(k + 1) * height // BANDS)
        out[k, low:high] = 1 / (high - low)
    return torch.from_numpy(out)
