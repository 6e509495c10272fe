"""A front end of the speech model: the first blocks of the Whisper encoder, frozen.

The convolutional stem and the first blocks of Whisper base (Radford et al. 2022, weights MIT)
hear four seconds of speech as a log-mel picture; what :func:`moments` says of the blocks' outputs
feeds the classifier of :mod:`assay_lab.train.speech_net`. The Fourier transform is a fixed
convolution, so that the exported graph needs nothing but samples.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay_lab.data.mel import mel_filters
from assay_lab.train.quality_net import fourier, moments

BLOCKS, SIZE, HEADS = 3, 512, 8


class Spectrum(nn.Module):
    """Power spectrum by convolution: [N, L] to [N, n_fft // 2 (+ 1), frames]; centred frames."""

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop, self.bins = n_fft, hop, n_fft // 2 + 1

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x[:, None], (self.n_fft // 2, self.n_fft // 2), mode="reflect")[:, 0]
        both = F.conv1d(x[:, None], fourier(self.n_fft), stride=self.hop)
        power = both[:, : self.bins].square() + both[:, self.bins :].square()
        return power[:, :, : power.shape[2] - 1]  # the last frame is half padding, as in Whisper


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
    """16 kHz samples [N, L], up to four seconds, to features [N, F]; the first ``BLOCKS`` of four
    blocks are kept."""

    mel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = Spectrum(400, 160)
        self.register_buffer(
            "mel", torch.from_numpy(mel_filters(16_000, 400, 80, 0.0, 8000.0)), False
        )
        self.conv1 = nn.Conv1d(80, SIZE, 3, padding=1)
        self.conv2 = nn.Conv1d(SIZE, SIZE, 3, 2, padding=1)
        self.place = nn.Parameter(torch.zeros(200, SIZE))
        self.blocks = nn.ModuleList([Block(SIZE, HEADS) for _ in range(BLOCKS)])

    def view(self, x: Tensor) -> Tensor:
        """Whisper's log-mel picture of RMS-normalised samples, [N, 80, frames]."""
        with torch.no_grad():
            x = x * (0.05 / (x.square().mean(1, keepdim=True) + 1e-12).sqrt())
            log = torch.log10(torch.matmul(self.mel, self.spectrum(x)).clamp_min(1e-10))
            log = torch.maximum(log, log.amax((1, 2), keepdim=True) - 8.0)
            return (log + 4.0) / 4.0

    def forward(self, x: Tensor) -> Tensor:
        """Moments over time of each block."""
        y = F.gelu(self.conv2(F.gelu(self.conv1(self.view(x))))).transpose(1, 2)
        y = y + self.place[: y.shape[1]]
        found = []
        for block in self.blocks:
            y = block(y)
            z = F.layer_norm(y, (SIZE,))
            found.append(moments(z.transpose(1, 2)).flatten(1))
        return torch.cat(found, 1)

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
