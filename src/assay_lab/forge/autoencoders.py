"""Small image autoencoders of many kinds, trained here, to make aligned fakes.

    python -m assay_lab.forge.autoencoders train --cache DIR --out DIR --seconds 100
    python -m assay_lab.forge.autoencoders apply --cache DIR --nets DIR --out DIR

A real crop through the decoder of a generator keeps its content, size and format;
only the generator's trace is new (Wang and Zhang, "Aligned datasets", 2025; DRCT,
ICML 2024; B-Free, CVPR 2025). The nets differ in down-factor (4, 8, 16), latent
(Gaussian noise as in KL autoencoders, or finite scalar quantisation, Mentzer et
al. 2024), kind of upsampling, depth, seed and how long an adversary trained them,
so that a detector meets the class and not one net. What is done with the pairs stands in
:mod:`assay_lab.forge.aligned`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from assay_lab.data.cache import Cache, CacheWriter
from assay_lab.data.images import picture, ppm

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shape:
    """What makes one autoencoder differ from another."""

    name: str
    down: int
    latent: str  # "noise" or "levels"
    up: str  # "nearest", "bilinear", "transposed" or "shuffle"
    channels: int
    width: int
    depth: int
    seed: int
    adversary: float  # weight of the adversarial loss in the second half


SHAPES = (
    Shape("f8-nearest-noise", 8, "noise", "nearest", 32, 24, 1, 1, 0.05),
    Shape("f4-shuffle-levels", 4, "levels", "shuffle", 12, 24, 1, 2, 0.0),
    Shape("f8-transposed-levels", 8, "levels", "transposed", 32, 24, 1, 3, 0.05),
    Shape("f4-bilinear-noise", 4, "noise", "bilinear", 12, 16, 2, 4, 0.05),
    Shape("f16-nearest-noise", 16, "noise", "nearest", 96, 24, 1, 5, 0.1),
    Shape("f4-transposed-noise", 4, "noise", "transposed", 16, 24, 1, 6, 0.0),
    Shape("f8-shuffle-noise", 8, "noise", "shuffle", 40, 16, 2, 7, 0.1),
    Shape("f4-nearest-levels", 4, "levels", "nearest", 16, 16, 1, 8, 0.1),
)


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.two.weight)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.two(F.silu(self.one(F.silu(x))))
        return x + y


class Up(nn.Module):
    """Twofold upsampling by one of four ways."""

    def __init__(self, inp: int, out: int, how: str) -> None:
        super().__init__()
        self.how = how
        if how == "transposed":
            self.conv: nn.Module = nn.ConvTranspose2d(inp, out, 4, 2, 1)
        else:
            self.conv = nn.Conv2d(inp, out * (4 if how == "shuffle" else 1), 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.how in ("nearest", "bilinear"):
            x = F.interpolate(x, scale_factor=2, mode=self.how)
        y: Tensor = self.conv(x)
        return F.pixel_shuffle(y, 2) if self.how == "shuffle" else y


class Autoencoder(nn.Module):
    """RGB in 0..1, ``[n, 3, h, w]`` with sides divisible by ``shape.down``, to the same."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        stages = int(np.log2(shape.down))
        widths = [shape.width * min(2**i, 4) for i in range(stages + 1)]
        encoder: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1)]
        for a, b in pairwise(widths):
            encoder += [nn.Conv2d(a, b, 4, 2, 1), *(Residual(b) for _ in range(shape.depth))]
        encoder += [nn.SiLU(), nn.Conv2d(widths[-1], shape.channels, 1)]
        decoder: list[nn.Module] = [nn.Conv2d(shape.channels, widths[-1], 3, padding=1)]
        for a, b in pairwise(widths[::-1]):
            decoder += [*(Residual(a) for _ in range(shape.depth)), nn.SiLU(), Up(a, b, shape.up)]
        decoder += [nn.SiLU(), nn.Conv2d(widths[0], 3, 3, padding=1)]
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder)

    def code(self, x: Tensor) -> Tensor:
        """The latent, with the disturbance that the shape asks for."""
        z: Tensor = 3 * torch.tanh(self.encoder(2 * x - 1) / 3)
        if self.shape.latent == "levels":
            return z + (torch.round(z * 2) / 2 - z).detach()
        return z + 0.1 * torch.randn_like(z)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.decoder(self.code(x))
        return 0.5 + 0.5 * y


def adversary() -> nn.Sequential:
    """A small patch discriminator (Isola et al. 2017)."""
    layers: list[nn.Module] = []
    for a, b in ((3, 24), (24, 48), (48, 64)):
        layers += [nn.utils.spectral_norm(nn.Conv2d(a, b, 4, 2, 1)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(64, 1, 3, padding=1))


def detail(x: Tensor) -> Tensor:
    """What a 3 x 3 mean leaves over: edges and texture."""
    return x - F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)


def real_rows(cache: Cache) -> list[int]:
    """Training rows that show real pictures."""
    return [i for i, r in enumerate(cache.rows) if r.use == "train" and r.label == "real"]


def batches(cache: Cache, seed: int, size: int = 96, count: int = 12) -> Iterator[Tensor]:
    """Endless random crops of real training pictures, some reduced before."""
    rng = np.random.default_rng(seed)
    rows = real_rows(cache)
    while True:
        found = []
        while len(found) < count:
            rgb = picture(cache, int(rng.choice(rows)))
            if min(rgb.shape[:2]) < size:
                continue
            factor = rng.uniform(0.4, 1.0) if min(rgb.shape[:2]) > 1.5 * size else 1.0
            factor = max(float(factor), size / min(rgb.shape[:2]))
            rgb = np.asarray(
                cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8
            )
            y = int(rng.integers(0, rgb.shape[0] - size + 1))
            x = int(rng.integers(0, rgb.shape[1] - size + 1))
            found.append(rgb[y : y + size, x : x + size])
        stack = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float() / 255
        yield stack.contiguous(memory_format=torch.channels_last)


def train_one(shape: Shape, cache: Cache, seconds: float, out: Path) -> dict[str, float | int]:
    """Train by reconstruction, then against an adversary, for a fixed time; save weights twice."""
    torch.manual_seed(shape.seed)
    net = Autoencoder(shape).to(memory_format=torch.channels_last)
    critic = adversary().to(memory_format=torch.channels_last)
    one = torch.optim.AdamW(net.parameters(), 2e-3, betas=(0.8, 0.99), weight_decay=0)
    two = torch.optim.AdamW(critic.parameters(), 5e-4, betas=(0.5, 0.99), weight_decay=0)
    began, step, error, early = time.monotonic(), 0, 0.0, False
    for x in batches(cache, shape.seed):
        spent = (time.monotonic() - began) / seconds
        if spent >= 1:
            break
        for group in one.param_groups:
            group["lr"] = 2e-3 * (1 - 0.9 * spent)
        with torch.autocast("cpu", torch.bfloat16):
            y = net(x).float()
            loss = (x - y).abs().mean() + 0.7 * (detail(x) - detail(y)).abs().mean()
            if spent > 0.55 and shape.adversary:
                loss = loss - shape.adversary * critic(2 * y - 1).float().mean()
        one.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        one.step()
        if spent > 0.5 and shape.adversary:
            with torch.autocast("cpu", torch.bfloat16):
                a, b = critic(2 * x - 1).float(), critic(2 * y.detach() - 1).float()
            hinge = F.relu(1 - a).mean() + F.relu(1 + b).mean()
            two.zero_grad(set_to_none=True)
            hinge.backward()
            two.step()
        step += 1
        error = 0.98 * error + 0.02 * float(F.mse_loss(x, y.detach()))
        if spent > 0.6 and not early:
            early = True
            torch.save(net.state_dict(), out / f"{shape.name}-early.pt")
    torch.save(net.state_dict(), out / f"{shape.name}.pt")
    return {"steps": step, "psnr": round(-10 * float(np.log10(max(error, 1e-9))), 2)}


def load(folder: Path) -> dict[str, Autoencoder]:
    """Every saved net of ``folder``, in evaluation mode, by file name without suffix."""
    nets = {}
    for shape in SHAPES:
        for name in (shape.name, shape.name + "-early"):
            path = folder / f"{name}.pt"
            if path.exists():
                net = Autoencoder(shape)
                net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
                nets[name] = net.eval().to(memory_format=torch.channels_last)
    return nets


def reconstruct(net: Autoencoder, rgb: Image) -> Image:
    """``rgb`` through the net; sides are padded by reflection to what it needs."""
    h, w = rgb.shape[:2]
    step = net.shape.down
    pads = ((0, -h % step), (0, -w % step), (0, 0))
    full = np.pad(rgb, pads, mode="reflect")
    x = torch.from_numpy(full).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        y = net(x.contiguous(memory_format=torch.channels_last)).float()[0]
    out = torch.round(y.clamp(0, 1) * 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(out[:h, :w])


def main(argv: list[str] | None = None) -> None:
    """Command line: train the nets, or put every real training crop through one of them."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("what", choices=("train", "apply"))
    p.add_argument("--cache", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--nets", type=Path)
    p.add_argument("--seconds", type=float, default=100.0)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--only", nargs="*", help="names of the shapes to train")
    p.add_argument("--most", type=int, default=10**9, help="crops to put through the nets")
    a = p.parse_args(argv)
    torch.set_num_threads(a.threads)
    cv2.setNumThreads(1)
    cache = Cache(a.cache)
    a.out.mkdir(parents=True, exist_ok=True)
    if a.what == "train":
        for shape in SHAPES:
            if a.only and shape.name not in a.only:
                continue
            found = train_one(shape, cache, a.seconds, a.out)
            print(json.dumps({**asdict(shape), **found}), flush=True)
        return
    nets = list(load(a.nets or a.out).items())
    writer = CacheWriter(a.out)
    rng = np.random.default_rng(7)
    for i in rng.permutation(real_rows(cache))[: a.most].tolist():
        row = cache.rows[i]
        name, net = nets[int(rng.integers(len(nets)))]
        rgb = reconstruct(net, picture(cache, i))
        writer.add(
            ppm(rgb),
            name=row.name, label="fake", kind="reconstruction", generator=name,
            source=row.source, licence=row.licence, group=row.group, pair=row.sha256, use="train",
        )  # fmt: skip
    print(json.dumps(writer.close("assay_lab.forge.autoencoders apply")))


if __name__ == "__main__":
    main()
