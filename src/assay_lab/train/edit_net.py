"""The network that looks for edited parts: tokens of the first blocks of CLIP, and convolutions.

What the blocks of a vision transformer say of each place tells parts of another origin from
the rest (Smeu et al., DeCLIP, WACV 2025). The tower is that of the picture network, on a grid of
``SIDE`` x ``SIDE`` places; only the projection and the convolutions on it are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from assay_lab.train import image_net
from assay_lab.train.image_net import CUT, WIDTH

SIDE = 20
SIZE = SIDE * CUT
"""Side of the grid of places, and of the picture that is put in, px."""
TAPS = (2, 4, 6)
KEPT = 128
"""Principal components of each tapped block that are looked at."""
DEEP = 64


class Tokens(image_net.Features):
    """Normalised RGB ``[n, 3, SIZE, SIZE]`` to projected tokens ``[n, TAPS x KEPT, SIDE, SIDE]``.

    ``basis [taps, WIDTH, KEPT]`` and ``middle [taps, WIDTH]`` are those of principal components
    of the layer-normed tokens.
    """

    basis: Tensor
    middle: Tensor

    def __init__(self) -> None:
        super().__init__(TAPS)
        self.register_buffer("basis", torch.zeros(len(TAPS), WIDTH, KEPT))
        self.register_buffer("middle", torch.zeros(len(TAPS), WIDTH))

    def project_on(self, path: Path) -> None:
        """Take the basis and middle that are stored in ``path``."""
        held = torch.load(path, weights_only=True)
        self.basis.copy_(held["basis"].float())
        self.middle.copy_(held["middle"].float())

    def taps_of(self, x: Tensor) -> list[Tensor]:
        """Layer-normed tokens of the places, ``[n, SIDE x SIDE, WIDTH]``, of every tapped block."""
        y, found = self.tokens(x), []
        for i, block in enumerate(self.blocks, 1):
            y = block(y)
            if i in self.taps:
                found.append(F.layer_norm(y.float(), (WIDTH,))[:, 1:])
        return found

    def forward(self, x: Tensor) -> Tensor:
        parts = [(tap - self.middle[k]) @ self.basis[k] for k, tap in enumerate(self.taps_of(x))]
        return torch.cat(parts, 2).transpose(1, 2).reshape(len(x), -1, SIDE, SIDE)


def load_tower(weights: str | Path) -> Tokens:
    """The tower with its matrices rounded as they are stored.

    The grid of the picture network, the middle of CLIP's own, is stretched to this one.
    """
    net = Tokens()
    first = image_net.Features(TAPS)
    image_net.load_tower(first, weights)
    own = first.state_dict()
    place = own.pop("place")[0]
    side = image_net.SIDE
    grid = place[1:].T.reshape(1, WIDTH, side, side)
    grid = F.interpolate(grid, (SIDE, SIDE), mode="bicubic", align_corners=False)
    net.place = nn.Parameter(torch.zeros(1, SIDE * SIDE + 1, WIDTH))
    own["place"] = torch.cat([place[:1], grid.reshape(WIDTH, -1).T])[None].half().float()
    own |= {"basis": net.basis, "middle": net.middle}
    net.load_state_dict(own)
    return net.eval()


def principal(taps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Whitening basis ``[taps, WIDTH, KEPT]`` and middle ``[taps, WIDTH]`` of ``[m, WIDTH]``."""
    bases, middles = [], []
    for tokens in taps:
        values = tokens.double()
        middle = values.mean(0)
        variance, axes = torch.linalg.eigh(torch.cov((values - middle).T))
        best = torch.argsort(variance, descending=True)[:KEPT]
        bases.append(axes[:, best] / (variance[best] + 1e-3).sqrt())
        middles.append(middle)
    return torch.stack(bases).float(), torch.stack(middles).float()


class EditHead(nn.Module):
    """Projected tokens ``[n, c, SIDE, SIDE]`` to logits of places ``[n, SIDE, SIDE]`` and of
    pictures ``[n]``, positive where edited.

    Each place is seen beside the mean of the picture: what counts is what differs.
    """

    def __init__(self, deep: int = DEEP) -> None:
        super().__init__()
        channels = len(TAPS) * KEPT
        self.enter = nn.Conv2d(2 * channels, deep, 1)
        self.near = nn.Conv2d(deep, deep, 3, padding=1)
        self.far = nn.Conv2d(2 * deep, deep, 3, padding=1)
        self.place, self.picture = nn.Conv2d(deep, 1, 1), nn.Linear(2 * deep, 1)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.cat([x, x - x.mean((2, 3), keepdim=True)], 1)
        y = F.gelu(self.enter(self.drop(y)))
        y = y + F.gelu(self.near(y))
        y = torch.cat([y, y.mean((2, 3), keepdim=True).expand_as(y)], 1)
        y = F.gelu(self.far(self.drop(y)))
        places = self.place(y)[:, 0]
        flat = y.flatten(2)
        whole = self.picture(torch.cat([flat.mean(2), flat.amax(2)], 1))[:, 0]
        peak = torch.logsumexp(2 * places.flatten(1), 1) / 2 - np.log(SIDE * SIDE) / 2
        return places, whole + peak


def shares(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How much of each place a mask [h, w] covers, ``[SIDE, SIDE]`` in 0..1."""
    covered = cv2.resize(mask.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(covered, np.float32)
