"""A front end of the speech model: Distill-MOS, frozen, under a linear classifier.

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
BANDS = 4
FIRST = 2  # first layer whose statistics are used
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
    """16 kHz samples [N, L] to a logit [N].

    ``layers`` of the six convolutions are kept and ``context`` of the seven transformer
    blocks (which need all six).
    """

    def __init__(self, layers: int = 6, context: int = 0) -> None:
        super().__init__()
        if not FIRST < layers <= 6 or not 0 <= context <= 7:
            raise ValueError("3 to 6 layers, and 0 to 7 blocks of context")
        if context and layers < 6:
            raise ValueError("the context needs all six layers")
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
        self.blocks = nn.ModuleList(ContextBlock() for _ in range(context))
        size = sum(CHANNELS[i + 1] for i in range(FIRST, layers)) * BANDS * 2
        if context:
            self.narrow = nn.Linear(1024, WIDTH)
            self.register_buffer("place", torch.zeros(200, WIDTH))
            size += (context + 1) * WIDTH * 2
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.out = nn.Linear(size, 1)

    def features(self, x: Tensor) -> Tensor:
        """[N, F]: for each kept layer means, then deviations, channel by channel and band; then
        the same for the input of the transformer and each of its blocks."""
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
        if len(self.blocks):
            z = self.narrow(y.flatten(1, 2).transpose(1, 2))
            found += _moments(z)
            z = z + self.place[: z.shape[1]]
            for block in self.blocks:
                z = block(z)
                found += _moments(z)
        return torch.cat(found, 1)

    def forward(self, x: Tensor) -> Tensor:
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
            if not len(self.blocks):
                return
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


def _moments(x: Tensor) -> list[Tensor]:
    """Mean and deviation over time of [N, T, C]."""
    x = x.float()
    mean = x.mean(1)
    return [mean, ((x - mean[:, None]).square().mean(1) + 1e-5).sqrt()]


def _bands(height: int) -> Tensor:
    """Averages over ``BANDS`` slightly overlapping parts of the frequency axis, [4, height]."""
    out = np.zeros((BANDS, height), np.float32)
    for k in range(BANDS):
        low, high = k * height // BANDS, -(-(k + 1) * height // BANDS)
        out[k, low:high] = 1 / (high - low)
    return torch.from_numpy(out)
