"""A front end of the speech model: Distill-MOS, frozen.

Distill-MOS (Stahl and Gamper, "Distillation and pruning for scalable self-supervised
representation-based speech quality assessment", 2025; weights MIT, in the package
``distillmos``) is a small network taught to agree with a speech-quality model built on
wav2vec 2.0 XLS-R. Its convolutions see the complex spectrum, phase included, and react to what
synthesis does to a voice; its transformer hears what goes on over seconds. They stay as they
are; means and deviations over time of the convolutions, in four bands, and of the transformer's
layers feed one linear layer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = (2, 64, 64, 128, 256, 256, 256)
LAYERS, CONTEXT = 6, 7  # convolutions, blocks of the transformer
BANDS = 4
FIRST = 1  # first layer whose statistics are used
MOMENTS = 3  # over time: mean, deviation, size of the steps from frame to frame
WIDTH, HEADS = 200, 8  # of the transformer


class ContextBlock(nn.Module):
    """Post-norm transformer block of Distill-MOS, [N, T, 200] to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.norm_a, self.norm_b = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        heard = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c)
        x = self.norm_a(x + self.proj(heard))
        out: Tensor = self.norm_b(x + self.down(F.relu(self.up(x))))
        return out


class QualityNet(nn.Module):
    """16 kHz samples [N, L], up to four seconds, to features [N, F]."""

    def __init__(self) -> None:
        super().__init__()
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
            for i in range(LAYERS)
        )
        heights = [159, 79, 39, 19, 9, 4]
        for i in range(FIRST, LAYERS):
            self.register_buffer(f"bands{i}", _bands(heights[i]), False)
        self.blocks = nn.ModuleList(ContextBlock() for _ in range(CONTEXT))
        self.narrow = nn.Linear(1024, WIDTH)
        self.register_buffer("place", torch.zeros(200, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Moments of each layer from ``FIRST`` on, channel by channel and band; then of the
        transformer's input and of each of its blocks."""
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
                found.append(moments(banded).flatten(1))
        z = self.narrow(y.flatten(1, 2).transpose(1, 2))
        found.append(moments(z.transpose(1, 2)).flatten(1))
        z = z + self.place[: z.shape[1]]
        for block in self.blocks:
            z = block(z)
            found.append(moments(z.transpose(1, 2)).flatten(1))
        return torch.cat(found, 1)

    def load_distillmos(self, path: str | Path) -> None:
        """Fill convolutions and transformer from ``distill_mos_v7.pt``."""
        given = torch.load(path, map_location="cpu", weights_only=True)["model"]
        with torch.no_grad():
            for i, layer in enumerate(self.layers):
                layer.weight.copy_(given[f"cnn.cnn.{2 * i}.weight"])
                layer.bias.copy_(given[f"cnn.cnn.{2 * i}.bias"])
            top = "transformer_pool_attn."
            inner = top + "transformer."
            # Two batch norms in front of the projection, folded into it.
            scale, shift = torch.ones(1024), torch.zeros(1024)
            for name in (top + "norm_input", inner + "norm"):
                factor = given[name + ".weight"] / (given[name + ".running_var"] + 1e-5).sqrt()
                scale = scale * factor
                shift = (shift - given[name + ".running_mean"]) * factor + given[name + ".bias"]
            weight = given[inner + "linear_proj.weight"]
            self.narrow.weight.copy_(weight * scale)
            self.narrow.bias.copy_(given[inner + "linear_proj.bias"] + weight @ shift)
            self.place.copy_(given[inner + "position_encoding.pe"][0, : self.place.shape[0]])
            for i, block in enumerate(self.blocks):
                from_ = f"{inner}transformer_encoder.layers.{i}."
                for part, name in (
                    ("qkv", "self_attn.in_proj_"), ("proj", "self_attn.out_proj."),
                    ("up", "linear1."), ("down", "linear2."),
                    ("norm_a", "norm1."), ("norm_b", "norm2."),
                ):  # fmt: skip
                    getattr(block, part).weight.copy_(given[from_ + name + "weight"])
                    getattr(block, part).bias.copy_(given[from_ + name + "bias"])


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
