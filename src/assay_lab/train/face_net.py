"""The network behind the face model: the first blocks of CLIP, adapted.

The blocks are those of the picture network, rounded to four bits as they are stored. They stay
as they are; what is trained is a low-rank addition to each matrix of the later ones (LoRA, Hu
et al. 2022), their norms, and a perceptron on every token. So a few thousand swapped faces
bend what the blocks see and cannot wash it out.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay_lab.train.image_net import SIDE, SIZE, WIDTH, Coded, Features, load_tower

__all__ = ["SIZE", "FaceNet"]

BLOCKS, ADAPTED, RANK = 6, 4, 8
"""Blocks of CLIP, how many of the last are adapted, and the rank of what is added."""
TAPS = (2, 4, 6)
HIDDEN = 96


class Adapted(nn.Module):
    """A frozen linear layer and what is learned on top of it (nothing for ``rank`` 0)."""

    weight: Tensor
    bias: Tensor
    fast: Tensor

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        # not persistent: checkpoints hold only what is trained
        self.register_buffer("weight", base.weight.detach(), persistent=False)
        self.register_buffer("bias", base.bias.detach(), persistent=False)
        self.register_buffer("fast", base.weight.detach().bfloat16(), persistent=False)
        self.rank = rank
        if rank:
            self.down = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
            self.up = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.fast if self.training else self.weight, self.bias)
        return y + F.linear(F.linear(x, self.down), self.up) if self.rank else y


class FaceNet(nn.Module):
    """One logit, and the same sum left unsummed as a map.

    Input ``[N, 3, SIZE, SIZE]`` normalised RGB. Output ``logit [N]`` (positive: manipulated or
    generated) and ``map [N, SIDE, SIDE]``: each token's share of the logit, so
    ``map.sum((1, 2)) + bias == logit`` (class activation map of Zhou et al. 2016). It says which
    places moved this network, not where a picture was changed.
    """

    def __init__(self, tower: str | Path | None = None, dropout: float = 0.2) -> None:
        """``tower``: the ONNX file of CLIP (see :func:`load_tower`); else weights are random."""
        super().__init__()
        features = Features(tuple(range(1, BLOCKS + 1)))
        self.coded: list[Coded] = load_tower(features, tower) if tower else []
        features.requires_grad_(False)
        for i, block in enumerate(features.blocks):
            rank = RANK if i >= BLOCKS - ADAPTED else 0
            for name in ("qkv", "out", "fc1", "fc2"):
                setattr(block, name, Adapted(getattr(block, name), rank))
            if rank:
                block.norm1.requires_grad_(True)
                block.norm2.requires_grad_(True)
        self.features = features
        wide = WIDTH * len(TAPS)
        self.patch, self.whole = nn.Linear(wide, HIDDEN), nn.Linear(wide, HIDDEN)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(2 * HIDDEN, 1)
        self.where = nn.Linear(HIDDEN, 1)  # training only: dense supervision by forged masks
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)

    def hidden(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the head sees of each place ``[N, SIDE ** 2, HIDDEN]``, of all ``[N, HIDDEN]``."""
        y, seen = self.features.tokens(x), []
        for i, block in enumerate(self.features.blocks, 1):
            y = block(y)
            if i in TAPS:
                seen.append(F.layer_norm(y, (WIDTH,)))
        z = torch.cat(seen, 2)
        return F.gelu(self.patch(z[:, 1:])), F.gelu(self.whole(z[:, 0]))

    def training_outputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``logit [N]`` and mask logits ``[N, SIDE, SIDE]`` of the auxiliary head."""
        places, whole = self.hidden(x)
        both = torch.cat([places.mean(1), whole], 1)
        where = self.where(places)[..., 0].unflatten(1, (SIDE, SIDE))
        return self.out(self.drop(both))[:, 0], where

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        places, whole = self.hidden(x)
        first, second = self.out.weight[0].split(HIDDEN)
        share = (places @ first + (whole @ second)[:, None]) / SIDE**2
        return share.sum(1) + self.out.bias, share.unflatten(1, (SIDE, SIDE))
