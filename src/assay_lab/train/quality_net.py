"""A front end of the speech model: the convolutions of Distill-MOS, frozen.

Distill-MOS (Stahl and Gamper, "Distillation and pruning for scalable self-supervised
representation-based speech quality assessment", 2025; weights MIT, in the package
``distillmos``) is a small network taught to agree with a speech-quality model built on
wav2vec 2.0 XLS-R. Its convolutions see the complex spectrum, phase included, and react to what
synthesis does to a voice. They stay as they are; what :func:`moments` says of the later ones, in
four bands, feeds the classifier of :mod:`assay_lab.train.speech_net`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = (2, 64, 64, 128, 256, 256, 256)
LAYERS = 6
BANDS = 4
FIRST = 3  # first layer whose statistics are used
MOMENTS = 3  # over time: mean, deviation, size of the steps from frame to frame


class QualityNet(nn.Module):
    """16 kHz samples [N, L], up to four seconds, to features [N, F]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(
                CHANNELS[i],
                CHANNELS[i + 1],
                3,
                stride=(2 if i else 1, 2 if i == 5 else 1),
                padding=(0, 1),
            )
            for i in range(LAYERS)
        )
        heights = [159, 79, 39, 19, 9, 4]
        for i in range(FIRST, LAYERS):
            self.register_buffer(f"bands{i}", _bands(heights[i]), False)

    def forward(self, x: Tensor) -> Tensor:
        """Moments of each layer from ``FIRST`` on, channel by channel and band."""
        x = x / (x.abs().amax(1, keepdim=True) + 1e-8)
        x = F.pad(x[:, None], (80, 80), mode="reflect")
        z = F.conv1d(x, fourier(320), stride=160)
        z = z.reshape(z.shape[0], 2, 161, -1)
        size = z.square().sum(1, keepdim=True).clamp_min(1e-24).sqrt()
        y = z * size.pow(-0.7)
        found = []
        for i, layer in enumerate(self.layers):
            y = F.leaky_relu(layer(y), 0.1)
            if i >= FIRST:
                banded = torch.matmul(getattr(self, f"bands{i}"), y.float())
                found.append(moments(banded).flatten(1))
        return torch.cat(found, 1)

    def load_distillmos(self, path: str | Path) -> None:
        """Fill the convolutions from ``distill_mos_v7.pt``."""
        given = torch.load(path, map_location="cpu", weights_only=True)["model"]
        with torch.no_grad():
            for i, layer in enumerate(self.layers):
                layer.weight.copy_(given[f"cnn.cnn.{2 * i}.weight"])
                layer.bias.copy_(given[f"cnn.cnn.{2 * i}.bias"])


def fourier(size: int) -> Tensor:
    """Kernels of a convolution that is the Fourier transform under a Hann window: real parts of
    all ``size // 2 + 1`` frequencies, then imaginary ones, [size + 2, 1, size]."""
    n = torch.arange(size)
    turn = 2 * np.pi / size
    angle = torch.remainder(torch.arange(size // 2 + 1)[:, None] * n, size).float() * turn
    window = 0.5 - 0.5 * torch.cos(n.float() * turn)
    return torch.cat([torch.cos(angle) * window, -torch.sin(angle) * window])[:, None]


def moments(x: Tensor) -> Tensor:
    """[N, 3, ...] of [N, ..., T]: over time mean, deviation, and root mean square of the steps from
    frame to frame, which tells slow change from fast where the deviation is the same."""
    x = x.float()
    mean = x.mean(-1)
    spread = ((x - mean[..., None]).square().mean(-1) + 1e-8).sqrt()
    step = ((x[..., 1:] - x[..., :-1]).square().mean(-1) + 1e-8).sqrt()
    return torch.stack([mean, spread, step], 1)


def _bands(height: int) -> Tensor:
    """Averages over ``BANDS`` slightly overlapping parts of the frequency axis, [4, height]."""
    out = np.zeros((BANDS, height), np.float32)
    for k in range(BANDS):
        low, high = k * height // BANDS, -(-(k + 1) * height // BANDS)
        out[k, low:high] = 1 / (high - low)
    return torch.from_numpy(out)
