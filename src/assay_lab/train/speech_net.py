"""The networks behind ``speech``: 16 kHz samples in, one logit out, front end included.

Two branches look at the same four seconds. :class:`SpectrumNet` is a small residual
network on the log power spectrum up to 8 kHz, where vocoders leave their traces.
:class:`WhisperNet` is the convolutional stem and the first blocks of the Whisper tiny.en
encoder (Radford et al. 2022, MIT), fine-tuned, with attentive statistics pooling (Okabe et
al. 2018). The logit of :class:`SpeechNet` is their mean. The Fourier transforms are fixed
convolutions, so the exported graph needs nothing but samples.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay_lab.forge.copy_synthesis import mel_filters


class Spectrum(nn.Module):
    """Power spectrum by convolution: [N, L] to [N, n_fft // 2 (+ 1), frames]; centred frames."""

    kernel: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop, self.bins = n_fft, hop, n_fft // 2 + 1
        n = np.arange(n_fft)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * n / n_fft)
        angle = 2 * np.pi * np.outer(np.arange(self.bins), n) / n_fft
        kernel = np.concatenate([np.cos(angle) * window, -np.sin(angle) * window])
        self.register_buffer("kernel", torch.from_numpy(kernel[:, None].astype(np.float32)), False)
        self.register_buffer("window", torch.from_numpy(window.astype(np.float32)), False)
        self.by_convolution = False

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x[:, None], (self.n_fft // 2, self.n_fft // 2), mode="reflect")[:, 0]
        if self.by_convolution:
            both = F.conv1d(x[:, None], self.kernel, stride=self.hop)
            power = both[:, : self.bins].square() + both[:, self.bins :].square()
        else:
            z = torch.stft(
                x, self.n_fft, self.hop, window=self.window, center=False, return_complex=True
            )
            power = z.real.square() + z.imag.square()
        return power[:, :, : power.shape[2] - 1]  # the last frame is half padding, as in Whisper


class Pool(nn.Module):
    """Attentive statistics: [N, C, T] to [N, 2 C], plus the attention [N, T]."""

    def __init__(self, channels: int, hidden: int = 64) -> None:
        super().__init__()
        self.attend = nn.Sequential(
            nn.Conv1d(channels, hidden, 1), nn.Tanh(), nn.Conv1d(hidden, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.softmax(self.attend(x), 2)
        mean = (x * weight).sum(2)
        variance = (x.square() * weight).sum(2) - mean.square()
        return torch.cat([mean, variance.clamp_min(1e-4).sqrt()], 1)


class Unit(nn.Module):
    """Two 3x3 convolutions with a skip; squeeze-excitation over frequency-time means."""

    def __init__(self, inp: int, out: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inp, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip
        self.squeeze = nn.Sequential(nn.Linear(out, out // 4), nn.ReLU(), nn.Linear(out // 4, out))
        self.skip = nn.Sequential(
            nn.AvgPool2d(stride, ceil_mode=True),
            nn.Conv2d(inp, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )  # fmt: skip
        if stride == (1, 1) and inp == out:
            self.skip = nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        y = y * torch.sigmoid(self.squeeze(y.mean((2, 3))))[:, :, None, None]
        return F.relu(y + self.skip(x))


class SpectrumNet(nn.Module):
    """Residual network on two views of the log spectrum: level-free, and mean-free per bin.

    The second view removes what a microphone, room or low-pass does to every frame alike.
    """

    def __init__(self, width: Sequence[int] = (32, 48, 96, 160), dropout: float = 0.3) -> None:
        super().__init__()
        self.spectrum = Spectrum(512, 160)
        a, b, c, d = width
        self.stem = nn.Sequential(
            nn.Conv2d(2, a, 5, 2, 2, bias=False), nn.BatchNorm2d(a), nn.ReLU()
        )
        self.body = nn.Sequential(
            Unit(a, b, (2, 2)),
            Unit(b, c, (2, 2)),
            Unit(c, c, (1, 1)),
            Unit(c, d, (2, 1)),
            Unit(d, d, (1, 1)),
        )
        self.squash = nn.Sequential(nn.Conv2d(d, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.pool = Pool(32 * 16)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(2 * 32 * 16, 1)

    def views(self, x: Tensor) -> Tensor:
        """[N, L] to [N, 2, 256, frames]."""
        with torch.no_grad():
            power = self.spectrum(x)[:, :256]
            log = torch.log(power + 1e-5 * power.mean((1, 2), keepdim=True) + 1e-12)
            level = (log - log.mean((1, 2), keepdim=True)) / 3.0
            flat = (log - log.mean(2, keepdim=True)) / 2.0
            return torch.stack([level, flat], 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``mask`` [N, 1, 256, frames] of 0 and 1 hides parts in training (SpecAugment)."""
        v = self.views(x)
        if mask is not None:
            v = v * mask[..., : v.shape[3]]
        v = v.contiguous(memory_format=torch.channels_last)
        y = self.squash(self.body(self.stem(v)))
        y = self.pool(y.flatten(1, 2))
        out: Tensor = self.out(self.drop(y))[:, 0]
        return out


class Block(nn.Module):
    """Pre-norm transformer block of Whisper's encoder."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_a, self.norm_b = nn.LayerNorm(size), nn.LayerNorm(size)
        self.qkv, self.proj = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.up, self.down = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(self.norm_a(x)).reshape(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(a.transpose(1, 2).reshape(n, t, c))
        return x + self.down(F.gelu(self.up(self.norm_b(x))))


class WhisperNet(nn.Module):
    """Whisper's mel front end, stem and first ``blocks`` blocks; a learned mix of all of them."""

    mel: Tensor

    def __init__(
        self, blocks: int = 2, size: int = 384, heads: int = 6, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.size = size
        self.spectrum = Spectrum(400, 160)
        self.register_buffer(
            "mel", torch.from_numpy(mel_filters(16_000, 400, 80, 0.0, 8000.0)), False
        )
        self.conv1 = nn.Conv1d(80, size, 3, padding=1)
        self.conv2 = nn.Conv1d(size, size, 3, 2, padding=1)
        self.place = nn.Parameter(torch.zeros(200, size))
        self.blocks = nn.ModuleList([Block(size, heads) for _ in range(blocks)])
        self.mix = nn.Parameter(torch.zeros(blocks + 1))
        self.squash = nn.Linear(size, 128)
        self.pool = Pool(128)
        # Whitened, because what tells voices from vocoders is small beside what all speech shares.
        self.scale = nn.BatchNorm1d(256 + 2 * size * blocks, affine=False)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(256 + 2 * size * blocks, 1)
        nn.init.zeros_(self.out.weight)

    def view(self, x: Tensor) -> Tensor:
        """Whisper's log-mel picture of RMS-normalised samples, [N, 80, frames]."""
        with torch.no_grad():
            x = x * (0.05 / (x.square().mean(1, keepdim=True) + 1e-12).sqrt())
            log = torch.log10(torch.matmul(self.mel, self.spectrum(x)).clamp_min(1e-10))
            log = torch.maximum(log, log.amax((1, 2), keepdim=True) - 8.0)
            return (log + 4.0) / 4.0

    def features(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[N, 2 * size * blocks + 256]: mean and deviation over time of each block, then the pool.

        ``mask`` [N, 80, frames] of 0 and 1 hides parts in training.
        """
        v = self.view(x)
        if mask is not None:
            v = v * mask[..., : v.shape[2]]
        y = F.gelu(self.conv2(F.gelu(self.conv1(v)))).transpose(1, 2)
        y = y + self.place[: y.shape[1]]
        weight = torch.softmax(self.mix, 0)
        total = weight[0] * F.layer_norm(y, (self.size,))
        found = []
        for i, block in enumerate(self.blocks):
            y = block(y)
            z = F.layer_norm(y, (self.size,))
            total = total + weight[i + 1] * z
            mean = z.mean(1)
            found += [mean, ((z - mean[:, None]).square().mean(1) + 1e-5).sqrt()]
        found.append(self.pool(F.gelu(self.squash(total)).transpose(1, 2)))
        return torch.cat(found, 1).float()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        out: Tensor = self.out(self.drop(self.scale(self.features(x, mask))))[:, 0]
        return out

    def warm_start(self, features: np.ndarray, weights: np.ndarray, shift: float) -> None:
        """Set the whitening from ``features`` [n, F] and the last layer from a linear fit on
        the whitened mean and deviation features."""
        with torch.no_grad():
            assert self.scale.running_mean is not None
            assert self.scale.running_var is not None
            self.scale.running_mean.copy_(torch.from_numpy(features.mean(0)))
            self.scale.running_var.copy_(torch.from_numpy(features.var(0) + 1e-4))
            self.out.weight.zero_()
            self.out.weight[0, : len(weights)] = torch.from_numpy(weights.astype(np.float32))
            self.out.bias.fill_(shift)

    def set_linear(
        self, mean: np.ndarray, deviation: np.ndarray, weights: np.ndarray, shift: float
    ) -> None:
        """Whitening and last layer for the mean and deviation features; the pool gets no weight."""
        with torch.no_grad():
            assert self.scale.running_mean is not None
            assert self.scale.running_var is not None
            count = len(weights)
            self.scale.running_mean[:count] = torch.from_numpy(mean)
            self.scale.running_var[:count] = torch.from_numpy(deviation**2)
            self.out.weight.zero_()
            self.out.weight[0, :count] = torch.from_numpy(weights)
            self.out.bias.fill_(shift)

    def train(self, mode: bool = True) -> WhisperNet:
        """The whitening stays as :meth:`warm_start` set it."""
        super().train(mode)
        self.scale.eval()
        return self

    def load_whisper(self, path: str | Path) -> None:
        """Fill stem, positions and blocks from the CTranslate2 ``model.bin``."""
        w = read_ctranslate2(path)

        def put(target: Tensor, name: str) -> None:
            with torch.no_grad():
                target.copy_(torch.from_numpy(w["encoder/" + name])[: target.shape[0]])

        for conv, name in ((self.conv1, "conv1"), (self.conv2, "conv2")):
            put(conv.weight, name + "/weight")
            assert conv.bias is not None
            put(conv.bias, name + "/bias")
        put(self.place, "position_encodings/encodings")
        for i, block in enumerate(self.blocks):
            for part, name in (
                ("norm_a", "self_attention/layer_norm"), ("norm_b", "ffn/layer_norm"),
                ("qkv", "self_attention/linear_0"), ("proj", "self_attention/linear_1"),
                ("up", "ffn/linear_0"), ("down", "ffn/linear_1"),
            ):  # fmt: skip
                layer = getattr(block, part)
                ends = ("gamma", "beta") if "norm" in part else ("weight", "bias")
                put(layer.weight, f"layer_{i}/{name}/{ends[0]}")
                put(layer.bias, f"layer_{i}/{name}/{ends[1]}")


def read_ctranslate2(path: str | Path) -> dict[str, np.ndarray]:
    """Float16 and float32 variables of a CTranslate2 model file (binary version 6)."""
    data = memoryview(Path(path).read_bytes())
    at = 0

    def number(kind: str) -> int:
        nonlocal at
        value: int = struct.unpack_from("<" + kind, data, at)[0]
        at += struct.calcsize("<" + kind)
        return value

    def text() -> str:
        nonlocal at
        size = number("H")
        value = bytes(data[at : at + size - 1]).decode()
        at += size
        return value

    if number("I") != 6:
        raise ValueError("unexpected CTranslate2 version")
    text(), number("I")
    out = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = number("B"), number("I")
        if kind in (0, 4):
            raw = np.frombuffer(data[at : at + size], np.float16 if kind == 4 else np.float32)
            out[name] = raw.reshape(shape).astype(np.float32)
        at += size
    return out


class SpeechNet(nn.Module):
    """Both branches; the logit is the mean of theirs. Input float32 [N, 64000] at 16 kHz."""

    def __init__(self, spectrum: SpectrumNet | None, whisper: WhisperNet | None) -> None:
        super().__init__()
        if spectrum is None and whisper is None:
            raise ValueError("a branch is needed")
        self.spectrum, self.whisper = spectrum, whisper

    def parts(self, x: Tensor, masks: tuple[Tensor, Tensor] | None = None) -> list[Tensor]:
        """Logit of each branch."""
        out = []
        if self.spectrum is not None:
            out.append(self.spectrum(x, masks[0] if masks else None))
        if self.whisper is not None:
            out.append(self.whisper(x, masks[1] if masks else None))
        return out

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack(self.parts(x)).mean(0)

    def by_convolution(self) -> None:
        """Switch the Fourier transforms to convolutions, for export."""
        for module in self.modules():
            if isinstance(module, Spectrum):
                module.by_convolution = True
